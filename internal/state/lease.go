// Package state keeps the lock, the fence and the record of the upgrades of one service in one Lease: one object, one
// resourceVersion, nothing that could diverge.
//
// The clocks of two runs are never compared. Whether a holder lives is judged by its renewals as this process sees
// them, against this process's own clock.
package state

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	leases "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/utils/ptr"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// Defaults of a Lease: 15 s, renewed every 2 s, so that seven renewals may fail before it ends.
const (
	defaultDuration = 15 * time.Second
	defaultRenew    = 2 * time.Second
)

// Annotations on the Lease.
const (
	annotationRecord = plan.Domain + "/record" // plan.Record as JSON
	annotationHolder = plan.Domain + "/holder" // plan.Identity of the holder as JSON
)

// Options says which service is locked, and as whom.
type Options struct {
	Kube      kubernetes.Interface
	Namespace string
	Service   string
	Flags     string // of the commands that are offered: plan.Target.Flags
	Identity  plan.Identity
	Log       *slog.Logger
	Duration  time.Duration // how long a Lease outlives its last renewal; 0: 15 s
	Renew     time.Duration // time between renewals; 0: 2 s
}

// Command is a command on the same service, as it is offered to people.
func (o Options) Command(words string) string {
	return plan.Target{Namespace: o.Namespace, Service: o.Service, Flags: o.Flags}.Command(words)
}

// Lease is the lock on the upgrades of one service. A Lease made by New holds nothing before Acquire.
type Lease struct {
	Options
	client leases.LeaseInterface
	write  sync.Mutex // one update of ours at a time

	mu      sync.Mutex
	held    bool
	uid     types.UID // of the Lease object that was acquired
	fence   int32
	claim   claim
	foreign bool      // what stands in the record's place could not be read: it is left as it is
	renewed time.Time // when the last successful renewal was sent
	cancel  context.CancelCauseFunc
	stop    context.CancelFunc // ends the renewals
	kept    sync.WaitGroup     // the renewals
}

// New returns the Lease of a service, not yet acquired.
func New(o Options) *Lease {
	if o.Duration == 0 {
		o.Duration = defaultDuration
	}
	if o.Renew == 0 {
		o.Renew = defaultRenew
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Lease{Options: o, client: o.Kube.CoordinationV1().Leases(o.Namespace)}
}

// maxName keeps the Lease's name as short as that of a Service, so that it can stand in a label.
const maxName = 63

// Name is the name of the Lease of a service: gray-upgrade-SERVICE; past 63 characters cut and given a hash, so that
// two long names never meet.
func Name(service string) string {
	const prefix = "gray-upgrade-"
	if len(prefix)+len(service) <= maxName {
		return prefix + service
	}
	sum := sha256.Sum256([]byte(service))
	hash := "-" + hex.EncodeToString(sum[:4])
	return prefix + service[:maxName-len(prefix)-len(hash)] + hash
}

func (l *Lease) name() string  { return Name(l.Service) }
func (l *Lease) where() string { return "Lease " + l.Namespace + "/" + l.name() }

// epoch is when fences begin to count: 2026-01-01.
const epoch = 1767225600

// nextFence is the fence of whoever takes the Lease as it stands: one more than the last. A Lease that was deleted
// and made again goes on above every fence that its predecessor can have given out, because it starts at its own
// creation time in seconds, as the API server's clock says, and a Lease does not change hands every second. Without
// that, objects that carry an older, higher fence could never be closed. Seconds since 2026 fit until 2094.
func nextFence(have *coordinationv1.Lease) int32 {
	born := have.CreationTimestamp.Unix() - epoch
	return max(ptr.Deref(have.Spec.LeaseTransitions, 0), int32(max(born, 0))) + 1 //nolint:gosec // until 2094
}

// mine says whether this Lease object is still the one that we acquired.
func (l *Lease) mine(have *coordinationv1.Lease) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held && have.UID == l.uid && holder(have) == l.Identity.Run && ptr.Deref(have.Spec.LeaseTransitions, 0) == l.fence
}

// holder is the run that holds a Lease, "" where none does.
func holder(have *coordinationv1.Lease) string { return ptr.Deref(have.Spec.HolderIdentity, "") }
