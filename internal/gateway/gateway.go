// Package gateway moves requests between production and gray in the user's own Gateway API HTTPRoute, and asks the
// data plane what it serves. The object's status is no proof of that: Traefik with its default settings still sent
// requests to gray 1.9 s after the status of weight 0 was confirmed.
package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

const (
	group = "gateway.networking.k8s.io"

	defaultConfirmTimeout = 30 * time.Second
	// writeTries bounds how often a write that met another one is made anew on a fresh copy. Gateways write the
	// status of a route right after each change, so a first conflict is common; a tenth one is not.
	writeTries = 10
	writePause = 20 * time.Millisecond
)

var (
	httpRoutes = schema.GroupVersionResource{Group: group, Version: "v1", Resource: "httproutes"}
	grpcRoutes = schema.GroupVersionResource{Group: group, Version: "v1", Resource: "grpcroutes"}
	gateways   = schema.GroupVersionResource{Group: group, Version: "v1", Resource: "gateways"}
)

// Options are what an HTTPRoute works with.
type Options struct {
	Dynamic dynamic.Interface
	Kube    kubernetes.Interface
	// Dial connects to a port of a pod: the gateway's replicas are asked one by one.
	Dial   func(ctx context.Context, namespace, pod string, port int) (net.Conn, error)
	Target plan.Target
	// Fence reads the Lease and returns our fence, or plan.ErrLost. Every write calls it.
	Fence          func(ctx context.Context) (int64, error)
	Pods           config.GatewayPods // zero: discovered
	URL            string             // its host stands in where the route names no host to probe with; "": none
	SideHeader     string             // the user's own header that tells the sides apart; "": ours is set on gray's answers
	Confirm        config.Confirm
	ConfirmTimeout time.Duration // 0: 30 s
	Log            *slog.Logger
}

// HTTPRoute is the route of one upgrade. It is safe for concurrent use.
type HTTPRoute struct {
	o        Options
	splitter splitter
	pods     *replicas
	traffic  *traffic
	last     lastWeight
}

// New makes it. Nothing is read before the first call.
func New(o Options) *HTTPRoute {
	if o.ConfirmTimeout == 0 {
		o.ConfirmTimeout = defaultConfirmTimeout
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := splitter{target: o.Target}
	if o.SideHeader == "" {
		s.header = plan.SideHeader
	}
	h := &HTTPRoute{o: o, splitter: s}
	h.pods = newReplicas(o, h.get)
	h.traffic = newTraffic()
	return h
}

// Weight returns the percent (0..100) of the Service's requests that the route sends to gray; 0 where gray is not in
// the route, or where somebody deleted it. Where rules differ it is the highest. It is what is configured, not what is
// served: Confirm sees that.
func (h *HTTPRoute) Weight(ctx context.Context) (int, error) {
	u, err := h.get(ctx)
	if apierrors.IsNotFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return h.splitter.weight(u)
}

// Edited says whether our edit stands in the route, at whatever weight.
func (h *HTTPRoute) Edited(ctx context.Context) (bool, error) {
	u, err := h.get(ctx)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	rules, err := rulesOf(u)
	if err != nil {
		return false, err
	}
	split := slices.ContainsFunc(rules, func(r rule) bool { return isSplit(h.splitter.pairs(r.backends)) })
	return split || len(h.splitter.bare(u)) > 0, nil
}

// SetWeight writes the weight into every rule that leads to the Service: one read, one look at the Lease, one patch.
// Where the route says so already nothing is written; one that somebody deleted sends gray nothing.
func (h *HTTPRoute) SetWeight(ctx context.Context, percent int) error {
	if percent < 0 || percent > full {
		return fmt.Errorf("set the weight of %s: %d is no percent", h.where(), percent)
	}
	err := h.write(ctx, func(u *unstructured.Unstructured, fence int64) (patch, error) {
		before, err := h.splitter.weight(u)
		if err != nil {
			return nil, err
		}
		h.last.note(before)
		return h.splitter.set(u, percent, fence)
	})
	if percent == 0 && apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("set the weight of %s to %d: %w", h.where(), percent, err)
	}
	h.o.Log.Debug("weight set", "object", h.where(), "weight", percent)
	return nil
}

// Remove takes our backends, header filters, annotations and account route away. What is gone already stays gone. It
// does not look at the weight: whoever calls it has brought the users home.
func (h *HTTPRoute) Remove(ctx context.Context) error {
	err := h.write(ctx, func(u *unstructured.Unstructured, _ int64) (patch, error) { return h.splitter.unset(u) })
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("take gray out of %s: %w", h.where(), err)
	}
	return h.removeAccount(ctx)
}

// write makes the patch of a fresh copy and sends it, again and again while others write in between.
func (h *HTTPRoute) write(ctx context.Context, edit func(u *unstructured.Unstructured, fence int64) (patch, error)) error {
	for try := 1; ; try++ {
		err := h.writeOnce(ctx, edit)
		if err == nil || !errors.Is(err, errStale) || try == writeTries {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Duration(try-1) * writePause):
		}
	}
}

// errStale says that the object was changed between our read and our patch.
var errStale = errors.New("changed by somebody else meanwhile")

func (h *HTTPRoute) writeOnce(ctx context.Context, edit func(u *unstructured.Unstructured, fence int64) (patch, error)) error {
	u, err := h.get(ctx)
	if err != nil {
		return err
	}
	fence, err := h.fence(ctx, u)
	if err != nil {
		return err
	}
	p, err := edit(u, fence)
	if err != nil || len(p) == 0 {
		return err
	}
	return h.send(ctx, u, p)
}

// fence is our fence, or plan.ErrLost where the object carries a newer one.
func (h *HTTPRoute) fence(ctx context.Context, u *unstructured.Unstructured) (int64, error) {
	fence, err := h.o.Fence(ctx)
	if err != nil {
		return 0, err
	}
	key := plan.FenceKey(h.o.Target.Service)
	text, found := u.GetAnnotations()[key]
	if !found {
		return fence, nil
	}
	theirs, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read annotation %s of %s: %w", key, where(u), err)
	}
	if theirs > fence {
		return 0, fmt.Errorf("%s carries fence %d, ours is %d: %w", where(u), theirs, fence, plan.ErrLost)
	}
	return fence, nil
}

// send patches the object as read; errStale when it is another one by now. A failed test and a refused value are both
// answered with 422, so the version tells.
func (h *HTTPRoute) send(ctx context.Context, u *unstructured.Unstructured, p patch) error {
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	routes := h.routes()
	_, err = routes.Patch(ctx, u.GetName(), types.JSONPatchType, body, metav1.PatchOptions{})
	switch {
	case apierrors.IsConflict(err):
		return errStale
	case !apierrors.IsInvalid(err):
		return err
	}
	now, getErr := routes.Get(ctx, u.GetName(), metav1.GetOptions{})
	if getErr == nil && now.GetResourceVersion() != u.GetResourceVersion() {
		return errStale
	}
	return err
}

// goneWait is how long a gateway is given to forget a route that somebody deleted: what it still serves is counted under a
// name that nothing leads to any more. Traefik's delay between two configurations is 2 s.
const goneWait = 10 * time.Second

// gone says that somebody deleted the route.
func (h *HTTPRoute) gone(ctx context.Context) bool {
	_, err := h.get(ctx)
	return apierrors.IsNotFound(err)
}

func (h *HTTPRoute) get(ctx context.Context) (*unstructured.Unstructured, error) {
	return h.routes().Get(ctx, h.o.Target.Route, metav1.GetOptions{})
}

func (h *HTTPRoute) routes() dynamic.ResourceInterface {
	return h.o.Dynamic.Resource(httpRoutes).Namespace(h.o.Target.Namespace)
}

func (h *HTTPRoute) where() string {
	return fmt.Sprintf("HTTPRoute %s/%s", h.o.Target.Namespace, h.o.Target.Route)
}
