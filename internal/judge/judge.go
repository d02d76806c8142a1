// Package judge decides whether the numbers of the side on trial are as good as those of the side it is
// compared with. It is pure: numbers in, verdicts out; no clock, no I/O, no randomness.
package judge

import "time"

// Verdict is the answer of one check. There are three: what was not seen is never a pass.
type Verdict string

// The three verdicts.
const (
	Pass         Verdict = "pass"
	Fail         Verdict = "fail"
	Inconclusive Verdict = "inconclusive"
)

// Check is one rule applied to one window: what was measured, the limit, and why the verdict is what it is.
// Got and Limit share Unit. Why is one sentence with numbers, ready for a person; it may hold foreign text
// (log lines, pod names), which the printing side must escape.
type Check struct {
	Name    string  `json:"name"`
	Verdict Verdict `json:"verdict"`
	Got     float64 `json:"got"`
	Limit   float64 `json:"limit"`
	Unit    string  `json:"unit,omitempty"`
	Why     string  `json:"why,omitempty"`
	Where   string  `json:"where,omitempty"` // pod or object, where one is to blame
	// OnTrial and Reference are what each side did, for people: "3.4 %". "" where it was not measured.
	OnTrial   string `json:"onTrial,omitempty"`
	Reference string `json:"reference,omitempty"`
	// Evidence that what is above the limit is more than chance, and what it takes to fail; 0: it was not weighed.
	Evidence float64 `json:"evidence,omitempty"`
	Need     float64 `json:"need,omitempty"`
	// Trend is how it went in the window; nil where that was not kept.
	Trend *Trend `json:"trend,omitempty"`
	// Lines are the most telling log templates, at most three.
	Lines []LogTemplate `json:"lines,omitempty"`
	// Infrastructure says that a failed check is not the image's fault.
	Infrastructure bool `json:"infrastructure,omitempty"`
	// Absent marks a rule whose source does not exist here (no metrics.k8s.io, a gateway without a latency
	// histogram, nothing to compare with): it is inconclusive and said, but Worst and Missing leave it out, because
	// waiting would not bring it.
	Absent bool `json:"absent,omitempty"`
	// Silent says that nobody answered: whose fault that is, is not known from it alone.
	Silent bool `json:"silent,omitempty"`
	// Awaits says that more evidence is on its way: the step waits for it, and goes on without it. See Awaited.
	Awaits bool `json:"awaits,omitempty"`
}

// The checks that make a step wait longer while they are inconclusive: see Missing.
const (
	NameRequests     = "requests"
	NameErrors       = "errors"
	NameLatency      = "p99"
	NameRestarts     = "restarts"
	NameReady        = "ready"
	NameNewErrorLogs = "new-error-logs"
)

// Other checks that the report knows by name. The last one is of the watch: the repeated checks of accounts that passed.
const (
	NameRouting      = "routing"
	NameMemoryGrowth = "memory-growth"
	NameAccounts     = "accounts"
)

// Finding is something the watch saw that must end the running step at once.
type Finding struct {
	At     time.Time `json:"at"`
	Checks []Check   `json:"checks"`
	// Infrastructure says that what was seen is not the image's fault (a broken monitor, an evicted node):
	// gray is closed, and no hold is written.
	Infrastructure bool `json:"infrastructure,omitempty"`
}

// Bucket is one bucket of a cumulative latency histogram: Count requests took at most Le seconds.
// The last bucket has Le = +Inf.
type Bucket struct {
	Le    float64 `json:"le"`
	Count float64 `json:"count"`
}

// Traffic is what the gateway counted for one side: cumulative, never falling (the provider hides counter
// resets). Errors are 5xx answers, whoever made them.
type Traffic struct {
	Requests float64  `json:"requests"`
	Errors   float64  `json:"errors"`
	Latency  []Bucket `json:"latency,omitempty"`
}

// Restart is a container of the side that ended, or was killed, inside the window.
type Restart struct {
	Pod       string `json:"pod"`
	Container string `json:"container"`
	Reason    string `json:"reason"` // as Kubernetes says it: Error, OOMKilled, Completed, ...
	ExitCode  int32  `json:"exitCode"`
	Foreign   bool   `json:"foreign,omitempty"` // the container does not run what is upgraded: a sidecar
}

// LogTemplate is a log line with its variable parts cut out, at error level, and how often it was written
// in the window.
type LogTemplate struct {
	Template string `json:"template"`
	Count    int    `json:"count"`
	Line     string `json:"line"` // one line of it as written, cut to a stated length
	Pod      string `json:"pod"`
	// Pods are those that wrote it, at most five, Pod first; First is when it was first seen.
	Pods  []string  `json:"pods,omitempty"`
	First time.Time `json:"first,omitzero"`
	// Evidence that the reference does not write it: see Sequence.Template. 0 where Sample.Evidence is nil.
	Evidence float64 `json:"evidence,omitempty"`
}

// Numbers is what one side did in one window.
type Numbers struct {
	Name     string        `json:"name"`               // "gray" or "production"
	Window   time.Duration `json:"window,omitempty"`   // length of the window of Traffic; 0: the sample's
	Pods     int           `json:"pods"`               // serving pods
	NotReady []string      `json:"notReady,omitempty"` // pods that served and whose containers are not ready any more
	Taken    []string      `json:"taken,omitempty"`    // pods that served and that somebody deleted or evicted in the window
	Traffic  Traffic       `json:"traffic"`            // difference over the window
	Swing    float64       `json:"swing,omitempty"`    // of a past reference: see Sequence.Swing; 0: not known
	Restarts []Restart     `json:"restarts,omitempty"`
	Streams  int           `json:"streams"`          // containers whose log was read
	Unread   int           `json:"unread,omitempty"` // containers whose log was not: there are too many, or no line of it came
	Logs     []LogTemplate `json:"logs,omitempty"`
	LogsCut  int           `json:"logsCut,omitempty"` // error lines whose template found no room in the table
	// Lines and Bytes are what those containers wrote in the window of Traffic, since their pod served. A side of which
	// containers are Unread wrote more.
	Lines  int            `json:"lines"`
	Bytes  int            `json:"bytes"`
	Levels map[string]int `json:"levels,omitempty"` // Lines by the level that they state: unstated, debug, info, warn, error
	// What was not looked at since the window began: lines that came too fast, and lines of which only the begin was.
	LogsDropped int     `json:"logsDropped,omitempty"`
	LinesCut    int     `json:"linesCut,omitempty"`
	Usage       []Usage `json:"usage,omitempty"` // by pod, in the order of their names
}

// Usage is what metrics.k8s.io said of one pod: of its containers that run what is upgraded.
type Usage struct {
	Pod      string    `json:"pod"`
	Limit    float64   `json:"limit,omitempty"`    // of their memory together, in bytes; 0: one has none
	Warming  bool      `json:"warming,omitempty"`  // new: its readings are left out
	Readings []Reading `json:"readings,omitempty"` // oldest first, since it is warm
}

// Reading is what a pod used at one time.
type Reading struct {
	At     time.Time `json:"at"`            // by the cluster's clock
	Ago    int       `json:"ago,omitempty"` // 0: in the sample's window since its begin; 1: in the one before; and so on
	Memory float64   `json:"memory"`        // bytes
	CPU    float64   `json:"cpu"`           // cores, mean since the reading before
	// First says that it is the first one that was seen in its window, and tells of the time before, too: it is not compared,
	// and no point of growth, but it is one of those that say what the memory of its pod goes up and down by.
	First bool `json:"first,omitempty"`
	// Load is how many requests a second a pod of its side served in that window, when that is over; 0: it is not, or there
	// were none.
	Load float64 `json:"load,omitempty"`
}

// Sample is one window seen from the gateway, the pods and their logs. On trial is the side that carries the
// new version now (gray on the way up, production on the way back); Reference is the other side in the
// same window, or, when it has no traffic of its own, what it did last (ReferenceIsPast). Reference.Logs are all
// the templates that are known, not only those of the window.
type Sample struct {
	Window          int       `json:"window"` // number of the window since the run began: a new one for each weight and side
	From            time.Time `json:"from"`
	To              time.Time `json:"to"`
	OnTrial         Numbers   `json:"onTrial"`
	Reference       Numbers   `json:"reference"`
	Weight          int       `json:"weight"` // percent of requests configured to go to gray
	ReferenceIsPast bool      `json:"referenceIsPast,omitempty"`
	NoResources     bool      `json:"noResources,omitempty"` // metrics.k8s.io is not there: said, never passed
	NoTraffic       bool      `json:"noTraffic,omitempty"`   // the gateway's metrics could not be read in this window
	// Evidence is that of the run until now, where both sides have users at once. Without it (nil) the counts of the window
	// are compared with those of the past, and no rate of false alarms can be stated.
	Evidence *Evidence `json:"evidence,omitempty"`
	Queries  []Series  `json:"queries,omitempty"` // of a monitoring server, since the window began
}

// Limits are the user's thresholds. Defaults returns the documented ones.
type Limits struct {
	ErrorPercent float64       `json:"errorPercent"` // percentage points of errors above the reference
	P99          time.Duration `json:"p99"`          // absolute limit of the 99th percentile; 0: twice the reference and 100 ms above it
	MemoryRatio  float64       `json:"memoryRatio"`  // memory by pod, on trial / reference
	CPURatio     float64       `json:"cpuRatio"`     // CPU seconds by request, on trial / reference
	NewErrorLogs int           `json:"newErrorLogs"` // error-level templates that the reference does not write
	Restarts     int           `json:"restarts"`
	MinRequests  int           `json:"minRequests"` // below it a window is not enough evidence
	// FalseAlarmPercent is how many of a hundred upgrades to an image that is no worse may be closed by chance, by all
	// that is weighed in sequence together.
	FalseAlarmPercent float64 `json:"falseAlarmPercent"`
}
