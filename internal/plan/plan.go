// Package plan says what to do next, given what is wanted and what is seen. It is pure: it reads no cluster, no
// clock and no file, so the plan can be printed, stored and tested by enumeration.
package plan

import (
	"errors"
	"fmt"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
)

// Side is one of the two sides of an upgrade. Sides stay put, images move.
type Side string

// The sides.
const (
	Production Side = "production"
	Gray       Side = "gray"
)

// Other is the side beside this one; what is neither has none, and is returned.
func (s Side) Other() Side {
	switch s {
	case Gray:
		return Production
	case Production:
		return Gray
	}
	return s
}

// Phase groups steps for people.
type Phase string

// The phases of an upgrade, in order, that of an offline test, and the one that ends a failed one.
const (
	PhasePreflight Phase = "preflight"
	PhaseStart     Phase = "start gray"
	PhaseVerify    Phase = "verify gray"
	PhaseShift     Phase = "shift traffic"
	PhaseGrow      Phase = "grow gray"
	PhaseAll       Phase = "all traffic to gray"
	PhaseRoll      Phase = "roll production"
	PhaseReturn    Phase = "return traffic"
	PhaseRemove    Phase = "remove gray"
	PhaseOffline   Phase = "offline test"
	PhaseClose     Phase = "close"
)

// Kind says what a step makes true.
type Kind string

// The kinds of steps of an upgrade, of an offline test and of a close. Each may be run again: doing it twice is doing it once.
const (
	StartGray        Kind = "start-gray"        // gray Deployment, Service and PDB stand with Replicas pods
	Identify         Kind = "identify"          // the digest that gray runs is known, neither held nor already in production
	GrowGray         Kind = "grow-gray"         // gray has at least Replicas pods, more where the measured load asks for it
	VerifyGray       Kind = "verify-gray"       // every gray pod has passed every account and is Ready
	VerifyRoute      Kind = "verify-route"      // the account route leads to gray, and nothing else does
	Guard            Kind = "guard"             // the watchdog stands by: it closes when the runner is lost
	ShiftTraffic     Kind = "shift-traffic"     // the data plane serves Weight
	Watch            Kind = "watch"             // Duration has passed at this weight and the verdict is a pass
	PinScaling       Kind = "pin-scaling"       // the HPA cannot take production's idle pods away
	Silence          Kind = "silence"           // Side has served nothing for the drain window
	Roll             Kind = "roll"              // production runs the new template, every pod ready
	VerifyProduction Kind = "verify-production" // every production pod has passed its checks, asked directly
	Promote          Kind = "promote"           // the point of no return is marked on the Deployment
	RemoveGray       Kind = "remove-gray"       // our rules, the gray objects and our annotations are gone

	RunTest    Kind = "run-test"    // the user's own test Job has succeeded against gray
	RecordPass Kind = "record-pass" // the pass of gray's digest is on record

	UndoRoll Kind = "undo-roll" // production's template is the baseline again
	Await    Kind = "await"     // nothing to write now: look again shortly
)

// Step is one line of a plan.
type Step struct {
	Kind     Kind          `json:"kind"`
	Phase    Phase         `json:"phase"`
	Weight   int           `json:"weight,omitempty"`
	Replicas int32         `json:"replicas,omitempty"`
	Side     Side          `json:"side,omitempty"` // Silence: who must be silent; Watch: who is on trial
	Duration time.Duration `json:"duration,omitempty"`
	Balance  bool          `json:"balance,omitempty"` // Watch: gray's share equals its share of the pods, so requests by node must agree
	Why      string        `json:"why,omitempty"`
}

// Plan is the whole upgrade in order.
type Plan struct {
	Steps []Step `json:"steps"`
}

// Template says which pod template a workload runs.
type Template string

// The templates. Foreign is one that is neither the baseline nor ours: it is never overwritten.
const (
	Baseline Template = "baseline"
	Ours     Template = "ours"
	Foreign  Template = "foreign"
)

// Workload is one side as seen now. Ready counts ready endpoints of the side's Service whose pods run
// Template, never Deployment.status.
type Workload struct {
	Exists   bool     `json:"exists"`
	Template Template `json:"template,omitempty"`
	Image    string   `json:"image,omitempty"`
	Digest   string   `json:"digest,omitempty"` // sha256:... that its pods run; "" where they disagree or none runs
	Replicas int32    `json:"replicas"`         // wanted
	Ready    int32    `json:"ready"`
	Old      int32    `json:"old,omitempty"`   // ready endpoints of another template (mid-roll)
	Whole    bool     `json:"whole,omitempty"` // every wanted pod runs Template and is ready, none of another is left
	Paused   bool     `json:"paused,omitempty"`
	Unserved bool     `json:"unserved,omitempty"` // production: its Service is not there
	Unready  int32    `json:"unready,omitempty"`  // verified pods whose container with the image is not ready, and that nobody takes away
}

// Observed is the cluster as seen now: nothing in it is remembered from an earlier act.
type Observed struct {
	Production Workload `json:"production"`
	Gray       Workload `json:"gray"`
	Weight     int      `json:"weight"`  // configured, percent on gray
	Served     int      `json:"served"`  // as the data plane serves it; -1: not confirmed
	Drained    bool     `json:"drained"` // gray has served nothing for the drain window, at served weight 0
	Promoted   bool     `json:"promoted"`
	Touched    bool     `json:"touched"` // anything of ours is left on the user's objects (rules, annotations, pinned HPA)
	Current    string   `json:"current"` // hash of production's template without the image's tag and digest
	Wanted     string   `json:"wanted"`  // the same hash of the template that production is to run
	Held       string   `json:"held"`    // hash of what a hold is on: of the wanted template without tags, labels and annotations
	MaxPods    int32    `json:"maxPods"` // the HPA's upper bound, or Production.Replicas
	Surge      int32    `json:"surge"`   // pods that production adds while it rolls, as its Deployment says

	// Pulled is the digest of the new image that any gray pod reports, whether or not one got ready; "" where none does.
	Pulled string `json:"pulled,omitempty"`
}

// Reason says why a close was begun.
type Reason string

// The reasons.
const (
	ReasonAnomaly        Reason = "anomaly"        // the image's fault
	ReasonInfrastructure Reason = "infrastructure" // not the image's fault
	ReasonInterrupted    Reason = "interrupted"    // a signal, a lost runner, a person's close
)

// Outcome is how a run ended.
type Outcome string

// The outcomes.
const (
	Promoted    Outcome = "promoted"
	Unchanged   Outcome = "unchanged"
	RolledBack  Outcome = "rolled-back"  // the image's fault: closed, hold, offline test needed
	Closed      Outcome = "closed"       // infrastructure fault or drift: closed, no hold
	Undecided   Outcome = "inconclusive" // not enough evidence: closed, no hold
	Interrupted Outcome = "interrupted"
	Invalid     Outcome = "invalid"
	Refused     Outcome = "refused"
	Stuck       Outcome = "stuck" // close is not confirmed: a person must act
	Planned     Outcome = "planned"
	Passed      Outcome = "passed" // an offline test: the image may try again
)

// Fault says whose fault a failure is.
type Fault string

// The faults.
const (
	FaultImage          Fault = "image"
	FaultInfrastructure Fault = "infrastructure"
	FaultEvidence       Fault = "not enough evidence"
	FaultInput          Fault = "input"
	FaultRefused        Fault = "refused"
	FaultInterrupted    Fault = "interrupted"
)

// Failure is a failed run in the four lines a person needs: what happened (with numbers), where, what was already
// done, what to do next. Edge packages fill Fault, What and Where; the engine adds the rest.
type Failure struct {
	Fault  Fault         `json:"fault"`
	Step   Step          `json:"step"`
	What   string        `json:"what"`
	Where  string        `json:"where,omitempty"`
	Done   string        `json:"done,omitempty"`
	Next   string        `json:"next,omitempty"`
	Checks []judge.Check `json:"checks,omitempty"`
	Err    error         `json:"-"`
}

// Error is the first line: what happened.
func (f *Failure) Error() string { return f.What }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Failf makes a failure of the given fault; a %w in the format becomes its cause.
func Failf(fault Fault, where, format string, args ...any) *Failure {
	err := fmt.Errorf(format, args...)
	return &Failure{Fault: fault, What: err.Error(), Where: where, Err: errors.Unwrap(err)}
}

// ErrLost is returned by every write after the Lease went to somebody else: stop, write nothing more, not even a close.
var ErrLost = errors.New("the lease was taken over by another run")

// ErrMoved is wrapped where pods of one template run different images: the tag was moved meanwhile.
var ErrMoved = errors.New("the tag was moved meanwhile")

// ErrUnconfirmed is returned when the data plane could not be seen serving a weight in time.
var ErrUnconfirmed = errors.New("the weight is not confirmed")
