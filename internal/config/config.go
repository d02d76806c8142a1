// Package config holds everything the user decides: parsed, defaulted and validated. It is pure: the bytes of
// the file and the values of inputs come in, a Config or all faults at once come out.
package config

import (
	"slices"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
)

// Config is one upgrade as the user wants it. Parse makes it; every field is set (documented default or the user's).
type Config struct {
	// What is upgraded.
	Image      string
	Service    string
	Namespace  string
	Deployment string // "": the one whose pods the Service selects
	Container  string // "": every container whose image repository is Image's
	Manifest   string // file with a whole pod template (kind Deployment or PodTemplate) instead of image and parameters

	// Where its traffic is moved.
	Gateway     string // "httproute/NAME"; "": the one route that leads to the Service
	GatewayPods GatewayPods
	URL         string // base URL of the gateway for probes, e.g. http://shop.example.com
	SideHeader  string // response header that tells the sides apart; "": our own, set on gray's backendRef
	Confirm     Confirm
	Bypass      Policy // Refuse: calls that reach production at weight 100 stop the upgrade; Warn: said only

	// How it goes.
	Steps        []int // weights in percent, rising
	StepDuration time.Duration
	StepTimeout  time.Duration // 0: see StepLimit
	ReturnSteps  []int         // weights of production on the way back, in percent of requests on gray, falling to 0
	GrayReplicas int32         // 0: max(1, 10 % of production)
	Gray         Parameters
	Production   Parameters
	Limits       judge.Limits
	GitOps       Policy
	IgnoreHold   string // reason; runs a held image once
	OfflineTest  OfflineTest
	CloseFloor   int // percent of baseline production pods that count as usable
	Drain        time.Duration
	Timeout      time.Duration
	CloseTimeout time.Duration
	PodTimeout   time.Duration

	// Who else is asked how both sides fare.
	PrometheusURL    string // base URL; "": nobody
	PrometheusPreset Preset
	PrometheusToken  string // a secret, from the environment only
	Queries          []Query

	// Who is asked for the lines of logs.
	LokiURL    string // base URL; "": the pods themselves
	LokiQuery  string // LogQL with Placeholders
	LokiToken  string // a secret, from the environment only
	LokiTenant string // X-Scope-OrgID, from the environment only

	OfflineTestJob string // file with a Job that tests gray offline; "": the checks alone do

	// What closes gray when the runner is lost.
	Watchdog      Guard
	WatchdogAfter time.Duration // the Lease not renewed for so long: the runner is lost
	WatchdogImage string        // of gray-upgrade itself; "": there is none

	// How it runs.
	PodAccess  PodAccess
	Kubeconfig string
	Context    string
	Reach      string // flags by which a command that is offered reaches the same cluster; who read the command line sets it
	DryRun     bool
	Evidence   string // folder for evidence files

	Accounts []Account
	Checks   []Check

	secrets []string // what came from the environment: see Secrets
}

// Policy is what to do about something that is wrong but may be wanted.
type Policy string

// The policies.
const (
	Refuse Policy = "refuse"
	Warn   Policy = "warn"
)

// PodAccess is the way to a port of a pod.
type PodAccess string

// The ways. A port-forward comes out inside of the pod, so that it passes network policies and the proxies of a mesh, and
// it works from everywhere; a connection to the pod's IP costs the API server nothing.
const (
	PortForward PodAccess = "port-forward"
	Direct      PodAccess = "direct"
)

// OfflineTest says what an image on hold needs before it may try again.
type OfflineTest string

// What it needs: a pass on record, or that a person starts the failed job anew.
const (
	TestRequired OfflineTest = "required"
	RerunAccepts OfflineTest = "rerun-accepts"
)

// Guard says whether a watchdog stands by.
type Guard string

// The guards.
const (
	GuardAuto     Guard = "auto"     // where image, ServiceAccount and permissions are there
	GuardRequired Guard = "required" // without it nothing is begun
	GuardOff      Guard = "off"
)

// GatewayPods says where the gateway's own metrics are read. Zero: discovered.
type GatewayPods struct {
	Namespace string
	Selector  string
	Port      int
}

// Confirm says what a weight needs to count as served. Wait > 0: where the data plane cannot be asked at all,
// wait that long instead and say so; 0: such an upgrade is refused to go past it.
type Confirm struct{ Wait time.Duration }

// Parameters are appended to the container's args and set in its environment to put it in a mode.
type Parameters struct {
	Args []string
	Env  []EnvVar
}

// EnvVar is one plain environment variable.
type EnvVar struct{ Name, Value string }

// Account is a test account: what is added to a request to be that account. Values come from the environment
// of the job and are secrets: never printed, never stored.
type Account struct {
	Name    string
	Headers map[string]string
	Cookies map[string]string
}

// Check is one request that proves a pod, and what its answer must be.
type Check struct {
	Name     string
	Account  string // "" : every account (or none where there are none)
	Method   string // default GET
	Path     string
	Headers  map[string]string
	Body     string
	Status   int               // expected; default 200
	Header   map[string]string // expected response headers
	JSONPath string            // e.g. $.account or {.account}; with Equals
	Equals   string
	Text     string        // the body must contain it
	Within   time.Duration // time bound; default 5 s
	Side     string        // gray (default), production, both
	Repeat   bool          // probed again every 5 s while gray carries traffic; GET and HEAD only
	Port     int           // container port; default: the Service's target port
}

// On says whether the check is for a side, gray or production. One that names none is for gray.
func (c Check) On(side string) bool {
	return c.Side == side || c.Side == "both" || c.Side == "" && side == "gray"
}

// ProvesGray says whether any check is for gray. Without one a gray pod counts as proven when it is ready.
func (c Config) ProvesGray() bool {
	return slices.ContainsFunc(c.Checks, func(c Check) bool { return c.On("gray") })
}

// StepLimit is how long a weight is watched at most while there is not enough evidence.
func (c Config) StepLimit() time.Duration {
	if c.StepTimeout > 0 {
		return c.StepTimeout
	}
	return 4*c.StepDuration + time.Minute
}
