package plan

import (
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
)

// Target names the objects of one upgrade, all in one namespace.
type Target struct {
	Namespace  string `json:"namespace"`
	Deployment string `json:"deployment"`
	Service    string `json:"service"`
	Route      string `json:"route"` // HTTPRoute

	// Flags reach the same cluster again, as they are appended to a command: " --context prod". They are of who prints it, and
	// not recorded.
	Flags string `json:"-"`
}

// GrayDeployment is the name of gray's Deployment.
func (t Target) GrayDeployment() string { return GrayName(t.Deployment) }

// GrayService is the name of gray's Service.
func (t Target) GrayService() string { return GrayName(t.Service) }

// Watchdog is the name of the watchdog's Job.
func (t Target) Watchdog() string { return WatchdogName(t.Deployment) }

// TestJob is the name of the Job of an offline test.
func (t Target) TestJob() string { return TestJobName(t.Deployment) }

// Identity says which run writes: shown to whoever is refused because of it. No field is secret.
type Identity struct {
	Run   string `json:"run"`             // unique for a job and its attempt
	URL   string `json:"url,omitempty"`   // page of the job
	Actor string `json:"actor,omitempty"` // who started it
	Rerun string `json:"rerun,omitempty"` // what Run of this job's earlier attempts begins with; "": this is the first one
}

// Hold is the quarantine of an image that failed: digest and template are refused until a pass is recorded.
type Hold struct {
	Digest   string    `json:"digest"`   // sha256:...
	Template string    `json:"template"` // hash of the gray pod template
	Image    string    `json:"image"`
	At       time.Time `json:"at"`
	Why      string    `json:"why"` // at most 300 bytes
	Run      string    `json:"run"`
	URL      string    `json:"url,omitempty"`
}

// Ended is one line of the history of a service: how a run ended.
type Ended struct {
	Outcome Outcome   `json:"outcome"`
	Image   string    `json:"image"`
	Digest  string    `json:"digest,omitempty"`
	Config  string    `json:"config,omitempty"` // hash of what was asked for
	Run     string    `json:"run"`
	At      time.Time `json:"at"`
	Reason  string    `json:"reason,omitempty"` // at most 300 bytes; a hold that was ignored comes first
}

// Pass is a recorded offline test.
type Pass struct {
	Digest string    `json:"digest"`
	By     string    `json:"by"`
	Why    string    `json:"why"`
	At     time.Time `json:"at"`
}

// Record is what is kept in the cluster between runs: names and hashes, never env values. It stays far below
// 64 KiB: the history and passes keep their last 20 entries, holds their last 50.
type Record struct {
	Version   int      `json:"version"` // 1
	Identity  Identity `json:"identity"`
	UpgradeID string   `json:"upgradeID,omitempty"`
	Target    Target   `json:"target"`
	Image     string   `json:"image,omitempty"`
	Digest    string   `json:"digest,omitempty"`
	Template  string   `json:"template,omitempty"`
	Config    string   `json:"config,omitempty"`
	Step      string   `json:"step,omitempty"` // the running step, in words
	Open      bool     `json:"open"`           // an upgrade is under way or was cut
	Closing   Reason   `json:"closing,omitempty"`
	Ignored   string   `json:"ignored,omitempty"` // the hold that the running upgrade goes past, and why; at most 300 bytes
	Holds     []Hold   `json:"holds,omitempty"`
	Passes    []Pass   `json:"passes,omitempty"`
	History   []Ended  `json:"history,omitempty"`
}

// Share is what the data plane served in one window.
type Share struct {
	Gray       float64 `json:"gray"`       // requests
	Production float64 `json:"production"` // requests
	Replicas   int     `json:"replicas"`   // gateway replicas that were asked
	Probed     bool    `json:"probed,omitempty"`
}

// Percent is gray's part of the requests served; false where none were seen.
func (s Share) Percent() (float64, bool) {
	all := s.Gray + s.Production
	if all <= 0 {
		return 0, false
	}
	return 100 * s.Gray / all, true
}

// Entry is one line of what happened, kept in memory and in the evidence: a step begun and ended, or a note.
type Entry struct {
	Step   Step          `json:"step"`
	Begin  time.Time     `json:"begin"`
	End    time.Time     `json:"end"`
	Weight int           `json:"weight"` // configured when it ended
	Served *Share        `json:"served,omitempty"`
	Checks []judge.Check `json:"checks,omitempty"`
	Notes  []string      `json:"notes,omitempty"`
	Error  string        `json:"error,omitempty"`
}

// Proof is the result of one check for one account on one pod (or on the route).
type Proof struct {
	Pod     string        `json:"pod"` // "route" for the account route
	Side    Side          `json:"side"`
	Account string        `json:"account"`
	Check   string        `json:"check"`
	Verdict judge.Verdict `json:"verdict"`
	Got     string        `json:"got,omitempty"`
	Want    string        `json:"want,omitempty"`
	Took    time.Duration `json:"took"`
}

// Story is one run as told to people: the summary and the report are made of it and of nothing else.
type Story struct {
	Identity  Identity  `json:"identity"`
	UpgradeID string    `json:"upgradeID"`
	Target    Target    `json:"target"`
	From      string    `json:"from"` // image before
	To        string    `json:"to"`   // image asked for, with digest once known
	Begin     time.Time `json:"begin"`
	End       time.Time `json:"end"`
	Plan      Plan      `json:"plan"`
	Foresight string    `json:"foresight,omitempty"` // of a run that only planned: how long a bad image takes to be found
	Warnings  []string  `json:"warnings,omitempty"`  // on top of the summary
	Entries   []Entry   `json:"entries"`
	Proofs    []Proof   `json:"proofs,omitempty"`
	Failure   *Failure  `json:"failure,omitempty"`
	Outcome   Outcome   `json:"outcome,omitempty"` // "" while it runs
	// Watched is the window in which the run failed, as it was then; nil: it did not fail, or no user could be on gray.
	Watched  *judge.Sample `json:"watched,omitempty"`
	Met      judge.Traffic `json:"met,omitzero"`   // what gray answered over all windows, as the gateway counted it; no latencies
	Held     string        `json:"held,omitempty"` // digest that this run put on hold; "": none
	Weight   int           `json:"weight"`
	Highest  int           `json:"highest"`            // weight that was written
	ClosedIn float64       `json:"closedIn,omitempty"` // seconds from the finding to the confirmed weight 0
	PeakPods int32         `json:"peakPods,omitempty"`
	Evidence string        `json:"evidence,omitempty"`
	Compared int           `json:"compared,omitempty"` // objects that were compared before and after; 0: they were not
	Changes  []Change      `json:"changes,omitempty"`  // fields of theirs that differ
}
