package cluster

import (
	"context"
	"encoding/json"
	"fmt"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// minimum is the note on a pinned HPA: the user's minReplicas, and what we raised it to, so that a change that
// somebody makes meanwhile is told from ours.
type minimum struct {
	Was    int32 `json:"was"`
	Pinned int32 `json:"pinned"`
}

// scaler is the HPA of the production Deployment; nil where there is none.
func (c *Cluster) scaler(ctx context.Context) (*autoscalingv2.HorizontalPodAutoscaler, error) {
	list, err := c.kube.AutoscalingV2().HorizontalPodAutoscalers(c.target.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list HorizontalPodAutoscalers of namespace %s: %w", c.target.Namespace, err)
	}
	for i, h := range list.Items {
		if h.Spec.ScaleTargetRef.Kind == "Deployment" && h.Spec.ScaleTargetRef.Name == c.target.Deployment {
			return &list.Items[i], nil
		}
	}
	return nil, nil
}

// Pin raises the HPA's minReplicas to production's current size and notes the original in the same write. No HPA is
// not an error; minReplicas is never lowered.
func (c *Cluster) Pin(ctx context.Context) error {
	h, err := c.scaler(ctx)
	if err != nil || h == nil {
		return err
	}
	d, err := c.production(ctx)
	if err != nil {
		return err
	}
	size := sight{deployment: d}.replicas()
	return c.writeScaler(ctx, h.Name, false, func(h *autoscalingv2.HorizontalPodAutoscaler) ([]Op, error) {
		note, pinned, err := noteOf(h)
		if err != nil {
			return nil, err
		}
		to := min(size, h.Spec.MaxReplicas)
		if !pinned || least(h) != note.Pinned { // pinned, and the user has changed it since
			note.Was = least(h)
		}
		if least(h) >= to {
			return nil, nil
		}
		note.Pinned = to
		text, err := json.Marshal(note)
		if err != nil {
			return nil, err
		}
		return annotate(h, []Op{{Op: "add", Path: "/spec/minReplicas", Value: to}}, plan.AnnotationMinimum, string(text)), nil
	})
}

// Unpin puts the original back, unless somebody changed minReplicas after us: theirs stays. Nothing pinned is not an
// error.
func (c *Cluster) Unpin(ctx context.Context) error {
	h, err := c.scaler(ctx)
	if err != nil || h == nil || !touched(h) {
		return err
	}
	return c.writeScaler(ctx, h.Name, true, func(h *autoscalingv2.HorizontalPodAutoscaler) ([]Op, error) {
		note, pinned, err := noteOf(h)
		if err != nil {
			return nil, err
		}
		ops := unannotate(h, c.foreignKey)
		switch {
		case pinned && least(h) == note.Pinned:
			ops = append(ops, Op{Op: "replace", Path: "/spec/minReplicas", Value: note.Was})
		case pinned:
			c.log.Warn("minReplicas was changed by somebody else meanwhile and stays", "hpa", h.Name, "minReplicas", least(h), "before", note.Was)
		}
		return ops, nil
	})
}

func (c *Cluster) writeScaler(ctx context.Context, name string, unfenced bool, ops func(*autoscalingv2.HorizontalPodAutoscaler) ([]Op, error)) error {
	return write(ctx, c, c.kube.AutoscalingV2().HorizontalPodAutoscalers(c.target.Namespace), edit[*autoscalingv2.HorizontalPodAutoscaler]{
		kind: "HorizontalPodAutoscaler", name: name, unfenced: unfenced,
		ops: func(_ context.Context, h *autoscalingv2.HorizontalPodAutoscaler) ([]Op, error) { return ops(h) },
	})
}

func noteOf(h *autoscalingv2.HorizontalPodAutoscaler) (minimum, bool, error) {
	var m minimum
	text, ok := h.Annotations[plan.AnnotationMinimum]
	if !ok {
		return m, false, nil
	}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return m, false, fmt.Errorf("read annotation %s of %s: %w", plan.AnnotationMinimum, describe("HorizontalPodAutoscaler", h), err)
	}
	return m, true, nil
}

func least(h *autoscalingv2.HorizontalPodAutoscaler) int32 {
	if h.Spec.MinReplicas == nil {
		return 1 // the API's default
	}
	return *h.Spec.MinReplicas
}
