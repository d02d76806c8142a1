package main

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/gray-upgrade/gray-upgrade/internal/ci"
	"github.com/gray-upgrade/gray-upgrade/internal/cluster"
	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/forward"
	"github.com/gray-upgrade/gray-upgrade/internal/gateway"
	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/observe"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
	"github.com/gray-upgrade/gray-upgrade/internal/report"
	"github.com/gray-upgrade/gray-upgrade/internal/state"
	"github.com/gray-upgrade/gray-upgrade/internal/upgrade"
	"github.com/gray-upgrade/gray-upgrade/internal/verify"
)

// What the engine asks for, and who gives it. Nothing else in the program sees both.
var (
	_ upgrade.Cluster  = (*cluster.Cluster)(nil)
	_ upgrade.Gray     = (*cluster.Cluster)(nil)
	_ upgrade.Scaling  = (*cluster.Cluster)(nil)
	_ upgrade.Watchdog = cluster.Watchdog{}
	_ upgrade.Gateway  = (*gateway.HTTPRoute)(nil)
	_ upgrade.Verifier = (*verify.Verifier)(nil)
	_ upgrade.Watcher  = watcher{}
	_ upgrade.Store    = (*state.Lease)(nil)
	_ upgrade.Evidence = (*report.Evidence)(nil)
)

// app is one upgrade with everything it is made of.
type app struct {
	*upgrade.Upgrade
	lease    *state.Lease
	cluster  *cluster.Cluster
	dialer   *forward.Dialer
	evidence *unhurried
	failed   *atomic.Int64 // calls that the API server failed
}

// wire finds the objects of the upgrade and connects the parts. It only reads.
func wire(ctx context.Context, c config.Config, host *ci.Host, log *slog.Logger) (*app, error) {
	cl, err := connect(c, log)
	if err != nil {
		return nil, err
	}
	identity := host.Identity()
	lease := cl.lease(c.Service, identity, log)
	target, err := find(ctx, cl, c)
	switch {
	case err == nil:
	case c.Evidence == "": // a command that only looks or closes
		target, err = remembered(ctx, lease, err)
	default:
		err = missing(ctx, cl, c, log, err)
	}
	if err != nil {
		return nil, explained(cl, err)
	}
	target.Flags = cl.flags
	id := target.Service + "-" + strings.ToLower(rand.Text()[:8])
	c.Evidence = evidenceOf(c, id)
	sides := cluster.New(cluster.Options{Kube: cl.kube, Target: target, Config: c, UpgradeID: id, Fence: lease.Fence, Log: log})
	dialer := newDialer(cl, c.PodAccess)
	route := gateway.New(gateway.Options{
		Dynamic: cl.dynamic, Kube: cl.kube, Dial: dialer.Dial, Target: target, Fence: lease.Fence,
		Pods: c.GatewayPods, URL: c.URL, SideHeader: c.SideHeader, Confirm: c.Confirm, Log: log,
	})
	a := &app{lease: lease, cluster: sides, dialer: dialer, failed: cl.failed}
	evidence, err := a.openEvidence(c)
	if err != nil {
		return nil, err
	}
	verifier := newVerifier(c, sides, route, dialer, evidence, log)
	asked, err := newMonitor(c, target, log)
	if err != nil {
		return nil, err
	}
	a.Upgrade = &upgrade.Upgrade{
		Config: c, Identity: identity, UpgradeID: id, Target: target, From: productionImage(ctx, sides),
		Cluster: sides, Gray: sides, Scaling: sides, Watchdog: sides.Watchdog(), Gateway: route, Verifier: verifier, Store: lease,
		Watcher:  newWatcher(cl, c, target, sides, route, verifier, asked, evidence, log),
		Progress: progress{host: host, folder: c.Evidence, log: log}, Evidence: evidence, Log: log,
		Preflight: preflight(cl, c, sides, route, asked), Answers: answers(route, verifier),
		KeepLogs: func(context.Context) error { return nil },
		Objects:  func(ctx context.Context) (plan.Objects, error) { return objects(ctx, sides, route) },
		Joined:   sides.GrayChanges,
	}
	if a.evidence != nil {
		keep := keepLogs(c)
		a.KeepLogs = func(ctx context.Context) error { return sides.Logs(ctx, keep) }
		a.TestJob = func(ctx context.Context) (string, error) { return sides.TestJob(ctx, keep) }
	}
	return a, nil
}

// objects are those of both packages that write.
func objects(ctx context.Context, sides *cluster.Cluster, route *gateway.HTTPRoute) (plan.Objects, error) {
	all, err := sides.Objects(ctx)
	if err != nil {
		return nil, err
	}
	return all, route.AddObjects(ctx, all)
}

func newDialer(cl clients, way config.PodAccess) *forward.Dialer {
	if way == config.Direct {
		return forward.NewDirect(cl.kube)
	}
	return forward.New(cl.rest)
}

// Close gives back what wire opened.
func (a *app) Close() {
	a.dialer.Close()
	if a.evidence == nil {
		return
	}
	if err := a.evidence.Close(); err != nil {
		a.Log.Warn("write the evidence", "error", err)
	}
}

// find names the Deployment behind the Service and the route that leads to it. Several faults are told at once, but where there
// is no Service, nothing can lead to it.
func find(ctx context.Context, cl clients, c config.Config) (plan.Target, error) {
	target, err := cluster.Find(ctx, cl.kube, cl.namespace, c.Service, c.Deployment)
	if err != nil && target.Service == "" {
		return target, fromWhere(err, c)
	}
	route, routeErr := gateway.Discover(ctx, cl.dynamic, cl.namespace, c.Service, c.Gateway)
	target.Namespace, target.Service, target.Route = cl.namespace, c.Service, route
	return target, errors.Join(err, routeErr)
}

// fromWhere adds to a Service that is not there whose word the namespace was, where nobody gave one.
func fromWhere(err error, c config.Config) error {
	var f *plan.Failure
	if c.Namespace == "" && errors.As(err, &f) {
		f.Next = "give the input namespace (it was not given: this one is of the kubeconfig's context, or of the pod), or correct service, then rerun"
	}
	return err
}

// remembered is the target of an upgrade that is unfinished, for a close: its route or its Service may be what somebody
// deleted meanwhile. Without one it returns why the target was not found.
func remembered(ctx context.Context, lease *state.Lease, cause error) (plan.Target, error) {
	record, _, err := lease.Load(ctx)
	if err != nil || !record.Open || record.Target.Deployment == "" {
		return plan.Target{}, cause
	}
	return record.Target, nil
}

func productionImage(ctx context.Context, sides *cluster.Cluster) string {
	o, err := sides.Observe(ctx)
	if err != nil {
		return ""
	}
	return o.Production.Image
}

func newVerifier(c config.Config, sides *cluster.Cluster, route *gateway.HTTPRoute, dialer *forward.Dialer, evidence *report.Evidence, log *slog.Logger) *verify.Verifier {
	return verify.New(verify.Options{
		Accounts: c.Accounts, Checks: c.Checks, Secrets: c.Secrets(), SideHeader: c.SideHeader, Mark: sides.SetVerified, Port: sides.TargetPort,
		Pods: func(ctx context.Context, side plan.Side) ([]verify.Pod, error) { return podsOf(ctx, sides, side) },
		Client: func(p verify.Pod, port int) *http.Client {
			return dialer.HTTPClient(sides.Namespace(), p.Name, port)
		},
		Route: func(ctx context.Context) (verify.RouteProbe, error) {
			return accountRoute(ctx, sides, route)
		},
		Record: evidence.Record, Log: log,
	})
}

func podsOf(ctx context.Context, sides *cluster.Cluster, side plan.Side) ([]verify.Pod, error) {
	list := sides.ProductionPods
	if side == plan.Gray {
		list = sides.GrayPods
	}
	pods, err := list(ctx)
	all := make([]verify.Pod, 0, len(pods))
	for _, p := range pods {
		all = append(all, verify.Pod{Name: p.Name, IP: p.IP, UID: p.UID, Ready: p.ContainersReady, Verified: p.Verified, Restarts: p.Restarts})
	}
	return all, err
}

// observed is what watcher is made of: embedded under a name that is none of its methods.
type observed = observe.Watch

// watcher asks test accounts of the side that is on trial now.
type watcher struct {
	*observed
	production *atomic.Bool
}

// Begin starts a new window.
func (w watcher) Begin(onTrial plan.Side, weight int) {
	w.production.Store(onTrial == plan.Production)
	w.observed.Begin(onTrial, weight)
}

func newWatcher(cl clients, c config.Config, target plan.Target, sides *cluster.Cluster, route *gateway.HTTPRoute,
	verifier *verify.Verifier, asked monitor, evidence *report.Evidence, log *slog.Logger,
) watcher {
	production := &atomic.Bool{}
	probe := func(ctx context.Context) []judge.Check {
		if production.Load() {
			return verifier.ProbeProduction(ctx)
		}
		return verifier.Probe(ctx)
	}
	return watcher{production: production, observed: observe.New(observe.Options{
		Kube: cl.kube, Metrics: cl.kube.Discovery().RESTClient(), Target: target, Limits: c.Limits, Traffic: traffic(c, route), Queries: asked.watched(), Logs: asked.logs.watched(),
		Probe: probe, Selectors: selectors(sides), Renews: sides.Renews, Hide: c.Hider().Replace, Record: evidence.Record, Log: log,
	})}
}

// traffic is what the gateway has counted. Where it could never be asked, and confirm says how long to wait instead, that
// is nothing: the watch then has logs, restarts, resources and test accounts, and enough evidence only if min-requests is 0.
func traffic(c config.Config, route *gateway.HTTPRoute) func(context.Context) (gray, production judge.Traffic, err error) {
	if c.Confirm.Wait == 0 {
		return route.Traffic
	}
	asked := false
	return func(ctx context.Context) (gray, production judge.Traffic, err error) {
		gray, production, err = route.Traffic(ctx)
		asked = asked || err == nil
		if asked {
			return gray, production, err
		}
		if n, waits := route.Replicas(ctx); n > 0 || waits != nil {
			return gray, production, err
		}
		return judge.Traffic{}, judge.Traffic{}, nil
	}
}

// selectors turns the labels of both sides into selectors.
func selectors(sides *cluster.Cluster) func(ctx context.Context) (gray, production labels.Selector, err error) {
	return func(ctx context.Context) (gray, production labels.Selector, err error) {
		ofProduction, ofGray, err := sides.Selectors(ctx)
		if err != nil {
			return nil, nil, err
		}
		if gray, err = labels.Parse(ofGray); err != nil {
			return nil, nil, err
		}
		production, err = labels.Parse(ofProduction)
		return gray, production, err
	}
}

// evidenceOf is the folder of one upgrade, so that a rerun keeps what the first run left; "" for what only looks or closes.
func evidenceOf(c config.Config, upgradeID string) string {
	if c.Evidence == "" || c.DryRun {
		return ""
	}
	return filepath.Join(c.Evidence, upgradeID)
}

// openEvidence opens the evidence file of a run.
func (a *app) openEvidence(c config.Config) (*report.Evidence, error) {
	if c.Evidence == "" {
		return report.NewEvidence(discard{}, nil, time.Now), nil
	}
	if err := os.MkdirAll(c.Evidence, evidenceFolder); err != nil {
		return nil, plan.Failf(plan.FaultInput, "", "evidence: make the folder %s: %w", c.Evidence, err)
	}
	f, err := os.OpenFile(filepath.Join(c.Evidence, "evidence.jsonl"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, evidenceFile)
	if err != nil {
		return nil, plan.Failf(plan.FaultInput, "", "evidence: %w", err)
	}
	a.evidence = newUnhurried(f)
	e := report.NewEvidence(a.evidence, c.Secrets(), time.Now)
	e.Record("limits", c.Limits)
	return e, nil
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// accountRoute makes the account route stand, owned by gray's Deployment, and says how it is reached.
func accountRoute(ctx context.Context, sides *cluster.Cluster, route *gateway.HTTPRoute) (verify.RouteProbe, error) {
	owner, err := sides.GrayOwner(ctx)
	if err != nil {
		return verify.RouteProbe{}, err
	}
	token, err := route.Account(ctx, owner)
	if err != nil {
		return verify.RouteProbe{}, err
	}
	door, err := route.Door(ctx)
	if err != nil {
		return verify.RouteProbe{}, err
	}
	return verify.RouteProbe{
		URL: door.URL, Host: door.Host, Any: door.Any, Leads: door.Leads,
		Header: gateway.TokenHeader, Token: token, Client: door.Client,
	}, nil
}
