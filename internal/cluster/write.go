package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// fieldManager names our writes in managedFields.
const fieldManager = "gray-upgrade"

// conflicts bounds the retries after somebody else changed the object between our read and our write: controllers
// write its status several times a second while pods start. 16 tries, about 11 s in all.
var conflicts = wait.Backoff{Steps: 16, Duration: 20 * time.Millisecond, Factor: 1.4, Jitter: 0.2}

// errConflict says that the object changed since it was read.
var errConflict = errors.New("the object keeps changing")

// client is the part of a typed client that a write needs.
type client[T metav1.Object] interface {
	Get(ctx context.Context, name string, o metav1.GetOptions) (T, error)
	Patch(ctx context.Context, name string, pt types.PatchType, data []byte, o metav1.PatchOptions, subresources ...string) (T, error)
}

// edit is one write to one object: what it changes, given the object as read. No operations: nothing is written.
type edit[T metav1.Object] struct {
	kind        string
	name        string
	subresource []string
	ops         func(ctx context.Context, o T) ([]Op, error)
	unfenced    bool // the last write of a clean-up: takes our fence off instead of writing it
}

// write reads the object, checks the fence, and patches: the resourceVersion read must still hold, and our fence
// goes in with the change. It returns an error wrapping plan.ErrLost when a newer fence stands anywhere.
func write[T metav1.Object](ctx context.Context, c *Cluster, objects client[T], e edit[T]) error {
	err := retry.OnError(conflicts, func(err error) bool { return errors.Is(err, errConflict) }, func() error {
		return writeOnce(ctx, c, objects, e)
	})
	var failure *plan.Failure
	if err == nil || errors.As(err, &failure) {
		return err
	}
	return fmt.Errorf("write %s %s/%s: %w", e.kind, c.target.Namespace, e.name, err)
}

func writeOnce[T metav1.Object](ctx context.Context, c *Cluster, objects client[T], e edit[T]) error {
	o, err := objects.Get(ctx, e.name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	fence, err := c.fenceFor(ctx, o)
	if err != nil {
		return err
	}
	if err := c.alone(e.kind, o); err != nil {
		return err
	}
	ops, err := e.ops(ctx, o)
	if err != nil || len(ops) == 0 {
		return err
	}
	if !e.unfenced {
		ops = annotate(o, ops, plan.FenceKey(c.target.Service), strconv.FormatInt(fence, 10))
	}
	data, err := guarded(o, ops)
	if err != nil {
		return err
	}
	_, err = objects.Patch(ctx, e.name, types.JSONPatchType, data, metav1.PatchOptions{FieldManager: fieldManager}, e.subresource...)
	if apierrors.IsConflict(err) || apierrors.IsInvalid(err) {
		return conflictOr(ctx, objects, o, err)
	}
	return err
}

// alone refuses to begin on an object that the upgrade of another Service works on: two Services may lead to one
// Deployment, and what each notes on it is the way back. Where we stand on it already, we go on.
func (c *Cluster) alone(kind string, o metav1.Object) error {
	if !c.others(o) {
		return nil
	}
	other := plan.OtherFence(o.GetAnnotations(), c.target.Service)
	f := plan.Failf(plan.FaultRefused, describe(kind, o), "an upgrade of Service %s works on %s %s, too", other, kind, o.GetName())
	theirs := c.target
	theirs.Service = other
	f.Next = "wait for that upgrade, or bring it home with: " + theirs.Command("close") + "; then rerun"
	return f
}

// others says that the marks on an object are those of the upgrade of another Service.
func (c *Cluster) others(o metav1.Object) bool {
	_, here := o.GetAnnotations()[plan.FenceKey(c.target.Service)]
	return !here && plan.OtherFence(o.GetAnnotations(), c.target.Service) != ""
}

// conflictOr tells a failed test of resourceVersion from a patch that can never be valid: the API server answers
// both with 422.
func conflictOr[T metav1.Object](ctx context.Context, objects client[T], read T, cause error) error {
	now, err := objects.Get(ctx, read.GetName(), metav1.GetOptions{})
	if err != nil {
		return err
	}
	if now.GetResourceVersion() != read.GetResourceVersion() {
		return fmt.Errorf("%w: %w", errConflict, cause)
	}
	return cause
}

// fenceFor returns our fence, or plan.ErrLost when the Lease or the object carries a newer one.
func (c *Cluster) fenceFor(ctx context.Context, o metav1.Object) (int64, error) {
	fence, err := c.fence(ctx)
	if err != nil {
		return 0, err
	}
	text, ok := o.GetAnnotations()[plan.FenceKey(c.target.Service)]
	if !ok {
		return fence, nil
	}
	found, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read annotation %s: %w", plan.FenceKey(c.target.Service), err)
	}
	if found > fence {
		return 0, plan.ErrLost
	}
	return fence, nil
}

// guarded is the patch as sent: first the test that nothing changed since the read.
func guarded(o metav1.Object, ops []Op) ([]byte, error) {
	test := Op{Op: "test", Path: "/metadata/resourceVersion", Value: o.GetResourceVersion()}
	return json.Marshal(append([]Op{test}, ops...))
}

// annotate appends the operations that set an annotation; it adds the map where neither the object nor an earlier
// operation has one.
func annotate(o metav1.Object, ops []Op, key, value string) []Op {
	const path = "/metadata/annotations"
	has := o.GetAnnotations() != nil
	for _, op := range ops {
		has = has || op.Path == path
	}
	if !has {
		ops = append(ops, Op{Op: "add", Path: path, Value: map[string]string{}})
	}
	return append(ops, Op{Op: "add", Path: path + pointer(key), Value: value})
}

// unannotate removes the annotations that are there.
func unannotate(o metav1.Object, keep func(key string) bool) []Op {
	var ops []Op
	for _, key := range slices.Sorted(maps.Keys(o.GetAnnotations())) {
		if !keep(key) {
			ops = append(ops, Op{Op: "remove", Path: "/metadata/annotations" + pointer(key)})
		}
	}
	return ops
}
