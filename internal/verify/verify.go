// Package verify proves pods with test accounts: each pod asked on its own, each answer compared with what the user
// expects, and a pod that gives a wrong one compared with the other side before the image is blamed.
package verify

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// Pod is one pod of a side.
type Pod struct {
	Name     string
	UID      string
	IP       string
	Ready    bool  // its containers are; what readiness gates say does not count
	Verified bool  // its gate of ours is open
	Restarts int32 // of all its containers together
}

// Options says who asks which pods what.
type Options struct {
	Accounts []config.Account
	Checks   []config.Check
	// Secrets are the values that are never shown, as config.Config.Secrets returns them. Nil: every value of every account.
	Secrets []string

	// Pods returns the pods of a side that are not being deleted.
	Pods func(ctx context.Context, side plan.Side) ([]Pod, error)
	// Client returns a client that reaches that port of that pod, whatever host a request names.
	Client func(pod Pod, port int) *http.Client
	// Port returns the port of the pods that a check asks which names none.
	Port func(ctx context.Context) (int, error)
	// Mark opens a gray pod's gate (ok) or says why it stays closed. A pod that is gone is no error.
	Mark func(ctx context.Context, pod string, ok bool, message string) error
	// Route makes the account route stand and says how it is reached.
	Route func(ctx context.Context) (RouteProbe, error)
	// SideHeader is the response header that tells the sides apart. "" or plan.SideHeader: ours, "gray" on gray's answers
	// alone; any other is the user's, whose values differ between the sides.
	SideHeader string

	Record func(kind string, v any)
	Log    *slog.Logger
}

// RouteProbe is how the account route is reached through the gateway.
type RouteProbe struct {
	URL    string                 // base, such as http://shop.example.com
	Host   string                 // Host header; "": the URL's
	Any    config.Check           // a request that the route leads to the Service; zero: one of /
	Leads  func(path string) bool // whether the route leads GETs of a path to the Service; nil: all
	Header string                 // request header that carries the token
	Token  string
	Client *http.Client
}

// Verifier verifies pods. It is safe for concurrent use; two verifications of gray wait for each other.
type Verifier struct {
	Options
	secrets   []string
	mask      mask
	marking   sync.Mutex
	proven    map[string]int32 // by UID: restarts of a pod when it passed; guarded by marking
	retry     time.Duration    // between the two tries of a request that got no answer
	reach     time.Duration    // how long a connection to a pod may take, beyond the time of the check
	routeWait time.Duration    // how long a new account route may take to be served
	replace   time.Duration    // how long pods of production may take to be ready

	mu      sync.Mutex
	turn    int            // which pods the next round of probes begins with
	missing map[string]int // rounds in a row in which the pod of that UID could not be reached
}

// New returns a Verifier.
func New(o Options) *Verifier {
	if o.SideHeader == "" {
		o.SideHeader = plan.SideHeader
	}
	if o.Record == nil {
		o.Record = func(string, any) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	secrets := o.Secrets
	if secrets == nil {
		secrets = valuesOf(o.Accounts)
	}
	return &Verifier{
		Options: o, secrets: secrets, mask: newMask(secrets), missing: map[string]int{}, proven: map[string]int32{},
		retry: time.Second, reach: 15 * time.Second, routeWait: 20 * time.Second, replace: 30 * time.Second,
	}
}

// maxRounds bounds how often Gray begins anew for pods that restarted or joined while others were asked.
const maxRounds = 5

// Gray verifies every gray pod whose containers are ready and that has not passed yet, each on its own, and opens the
// gate of those that pass. Without a check for gray, readiness is the proof. A pod that restarts while it is asked, or
// after it passed, is asked again; one that is gone by the end is not held against the image; one whose containers are not ready yet is left
// for the next call: its gate is closed.
//
// A *plan.Failure lists every pod that failed: FaultImage where production passes the same request in the same moment (or,
// for a wrong answer, cannot be asked), FaultInfrastructure where production fails too or the pod could not be reached.
func (v *Verifier) Gray(ctx context.Context) ([]plan.Proof, error) {
	trials, err := v.trials(appliesTo(plan.Gray))
	if err != nil {
		return nil, err
	}
	v.marking.Lock()
	defer v.marking.Unlock()
	pods, err := v.pods(ctx, plan.Gray)
	if err != nil {
		return nil, err
	}
	var proofs []plan.Proof
	marked := map[string]bool{} // by UID: a list may be older than a mark
	for range maxRounds {
		todo := slices.DeleteFunc(slices.Clone(pods), func(p Pod) bool { return !p.Ready || v.stands(p, marked) })
		if len(todo) == 0 {
			return proofs, someVerified(pods, marked)
		}
		results := v.round(ctx, plan.Gray, todo, trials)
		if err := ctx.Err(); err != nil {
			return proofs, err
		}
		if pods, err = v.pods(ctx, plan.Gray); err != nil {
			return proofs, err
		}
		results = stillThere(results, pods)
		proofs = append(proofs, proofsOf(results)...)
		if err := v.settle(ctx, results, pods, marked); err != nil {
			return proofs, err
		}
		if pods, err = v.pods(ctx, plan.Gray); err != nil {
			return proofs, err
		}
	}
	return proofs, plan.Failf(plan.FaultInfrastructure, "", "gray pods come and restart faster than they can be verified: %d rounds were not enough", maxRounds)
}

// stands says that a pod has passed, and that its containers are still those that did, as far as this process knows.
func (v *Verifier) stands(p Pod, marked map[string]bool) bool {
	restarts, known := v.proven[p.UID]
	return (p.Verified || marked[p.UID]) && (!known || restarts == p.Restarts)
}

// settle opens the gate of every pod that passed and has not restarted since (these it adds to marked), and says why at
// those that failed.
func (v *Verifier) settle(ctx context.Context, results []result, now []Pod, marked map[string]bool) error {
	failure := v.blame(ctx, plan.Gray, bad(results))
	for _, pod := range podsOf(results) {
		message, ok := verdict(pod, results)
		if i := index(now, pod); ok && now[i].Restarts != pod.Restarts {
			continue // not the process that was asked
		}
		if err := v.Mark(ctx, pod.Name, ok, message); err != nil {
			return fmt.Errorf("mark pod %s: %w", pod.Name, err)
		}
		marked[pod.UID], v.proven[pod.UID] = ok, pod.Restarts
		v.Log.Info("verified", "pod", pod.Name, "side", plan.Gray, "pass", ok)
	}
	if failure != nil {
		return failure
	}
	return nil
}

// verdict says in one line whether a pod passed everything that it was asked.
func verdict(pod Pod, results []result) (message string, ok bool) {
	asked := 0
	for _, r := range results {
		if r.pod.UID != pod.UID {
			continue
		}
		if r.state != passed {
			return r.line(), false
		}
		asked++
	}
	return fmt.Sprintf("passed %d checks", asked), true
}

// Production verifies every production pod directly with the checks for production. Pods that are not ready are waited for,
// 30 s: one may just be replaced, and whoever comes in its place is asked, too.
func (v *Verifier) Production(ctx context.Context) ([]plan.Proof, error) {
	trials, err := v.trials(appliesTo(plan.Production))
	if err != nil {
		return nil, err
	}
	var proofs []plan.Proof
	asked := map[string]bool{} // by UID
	for range maxRounds {
		pods, err := v.wholeProduction(ctx)
		if err != nil {
			return proofs, err
		}
		todo := slices.DeleteFunc(slices.Clone(pods), func(p Pod) bool { return asked[p.UID] })
		if len(todo) == 0 {
			return proofs, nil
		}
		results := v.round(ctx, plan.Production, todo, trials)
		if err := ctx.Err(); err != nil {
			return append(proofs, proofsOf(results)...), err
		}
		if pods, err = v.pods(ctx, plan.Production); err != nil {
			return proofs, err
		}
		results = stillThere(results, pods)
		proofs = append(proofs, proofsOf(results)...)
		if failure := v.blame(ctx, plan.Production, bad(results)); failure != nil {
			return proofs, failure
		}
		for _, p := range todo {
			asked[p.UID] = true
		}
	}
	return proofs, plan.Failf(plan.FaultInfrastructure, "", "production pods come and go faster than they can be verified: %d rounds were not enough", maxRounds)
}

// wholeProduction returns production's pods when all are ready.
func (v *Verifier) wholeProduction(ctx context.Context) ([]Pod, error) {
	for until := time.Now().Add(v.replace); ; {
		pods, err := v.pods(ctx, plan.Production)
		if err != nil {
			return nil, err
		}
		late := slices.IndexFunc(pods, func(p Pod) bool { return !p.Ready })
		switch {
		case len(pods) > 0 && late < 0:
			return pods, nil
		case time.Now().Before(until):
		case len(pods) == 0:
			return nil, plan.Failf(plan.FaultInfrastructure, "", "production has no pod to verify")
		default:
			return nil, plan.Failf(plan.FaultInfrastructure, "Pod "+pods[late].Name, "pod %s of production is not ready to be verified", pods[late].Name)
		}
		if !pause(ctx, v.retry) {
			return nil, ctx.Err()
		}
	}
}

// pause waits; false: ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (v *Verifier) pods(ctx context.Context, side plan.Side) ([]Pod, error) {
	pods, err := v.Pods(ctx, side)
	if err != nil {
		return nil, fmt.Errorf("list the pods of %s: %w", side, err)
	}
	return pods, nil
}

// someVerified is an error where nothing was judged: no pod has passed, and none can be asked.
func someVerified(pods []Pod, marked map[string]bool) error {
	if slices.ContainsFunc(pods, func(p Pod) bool { return p.Verified || marked[p.UID] }) {
		return nil
	}
	return plan.Failf(plan.FaultInfrastructure, "", "no gray pod can be verified: %d found, none with its containers ready", len(pods))
}
