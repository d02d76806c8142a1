package upgrade

import (
	"context"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// Cluster sees both sides and moves production.
type Cluster interface {
	// Observe reads both workloads and what of ours is on the user's objects. It leaves Weight, Served and Drained alone.
	Observe(ctx context.Context) (plan.Observed, error)
	// Roll makes production run the gray template's image in production mode, the way back in the same write, and
	// waits until every pod is ready. A *plan.Failure names the pod and the reason.
	Roll(ctx context.Context) error
	// Undo gives production its baseline template back. It does not wait, and it never overwrites a foreign template.
	Undo(ctx context.Context) error
	// Promote marks the point of no return on the Deployment.
	Promote(ctx context.Context, digest string) error
	// Clean takes our annotations off the Deployment and unpins the HPA.
	Clean(ctx context.Context) error
}

// Gray makes and removes the gray side.
type Gray interface {
	// Start makes gray's Deployment, Service and PDB stand with that many pods, and waits until their containers are
	// ready (not yet verified). A *plan.Failure names the pod and the reason.
	Start(ctx context.Context, replicas int32) error
	// Scale changes the number of gray pods and waits like Start.
	Scale(ctx context.Context, replicas int32) error
	// Ready waits until every verified gray pod is a ready endpoint of gray's Service.
	Ready(ctx context.Context) error
	// Digest returns the one image digest that all gray pods run.
	Digest(ctx context.Context) (string, error)
	// Lost names gray pods whose nodes do not answer now.
	Lost(ctx context.Context) []string
	// Delete removes every gray object and returns when the pods are gone.
	Delete(ctx context.Context) error
}

// Scaling keeps the HPA away from idle pods.
type Scaling interface {
	// Pin raises the HPA's minReplicas to the current size and notes the original in the same write.
	Pin(ctx context.Context) error
	// Unpin puts the original back. Nothing pinned is not an error.
	Unpin(ctx context.Context) error
}

// Watchdog closes when this process is lost. Where it is off, Stop still removes what an earlier run left.
type Watchdog interface {
	// Start makes the watchdog stand, in place of one of an earlier run. It does not wait.
	Start(ctx context.Context) error
	// Ready says whether it stands by now: its pod runs and can read the Lease. The error says why it is not, where
	// that is known.
	Ready(ctx context.Context) (bool, error)
	// Stop removes it. None is not an error. A watchdog that closes stops itself, and has some time left.
	Stop(ctx context.Context) error
}

// Gateway moves requests between the sides at the user's own route.
type Gateway interface {
	// Weight returns the percent (0..100) of requests configured to go to gray; 0 where gray is not in the route.
	Weight(ctx context.Context) (int, error)
	// Edited says whether anything of ours stands in the user's route, at whatever weight.
	Edited(ctx context.Context) (bool, error)
	// SetWeight writes it in one patch.
	SetWeight(ctx context.Context, percent int) error
	// Confirm returns when every gateway replica has been seen serving that weight, or an error wrapping
	// plan.ErrUnconfirmed that names the replica.
	Confirm(ctx context.Context, percent int) (plan.Share, error)
	// Silent returns when that side has served nothing, on any gateway replica, for the quiet time.
	Silent(ctx context.Context, side plan.Side, quiet time.Duration) error
	// Remove takes our backends, header filters and account route out of the user's route.
	Remove(ctx context.Context) error
}

// Verifier proves pods with test accounts.
type Verifier interface {
	// Gray verifies every gray pod that has not passed yet, on its own, and marks those that pass. It returns a
	// *plan.Failure with FaultImage when a gray pod fails a check.
	Gray(ctx context.Context) ([]plan.Proof, error)
	// Route checks, through the gateway, that the account route leads to gray.
	Route(ctx context.Context) ([]plan.Proof, error)
	// Production verifies every production pod directly.
	Production(ctx context.Context) ([]plan.Proof, error)
}

// Watcher watches both sides while users may be on gray.
type Watcher interface {
	// Watch collects until ctx ends and sends what must end the running step. The channel is closed at the end.
	Watch(ctx context.Context) <-chan judge.Finding
	// Begin starts a new window: who is on trial, at which weight.
	Begin(onTrial plan.Side, weight int)
	// Verdict judges the window since Begin.
	Verdict() []judge.Check
	// Sample returns the window since Begin.
	Sample() judge.Sample
	// Rate returns the requests per second of both sides together, measured over the last window; 0: not measured.
	Rate() float64
}

// Store keeps lock, fence and record.
type Store interface {
	// Acquire takes the Lease and returns the record found (zero Record where there was none). A *plan.Failure with
	// FaultRefused names the holder that lives. The context it returns ends with plan.ErrLost as its cause when the
	// Lease is lost.
	Acquire(ctx context.Context, takeover bool) (context.Context, plan.Record, error)
	// Regain takes back a Lease that was lost because it could not be renewed, where no other run has had it since; else
	// the error wraps plan.ErrLost.
	Regain(ctx context.Context) (context.Context, error)
	// Save writes the record.
	Save(ctx context.Context, r plan.Record) error
	// Release gives the Lease back; the record stays.
	Release(ctx context.Context) error
}

// Progress is told what happens, as it happens.
type Progress interface {
	// Update is called after every step begun and ended with the whole story so far.
	Update(s plan.Story)
}

// Evidence keeps every sample and decision.
type Evidence interface {
	// Record writes one line: a kind and a value that marshals to JSON.
	Record(kind string, v any)
}
