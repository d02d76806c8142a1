package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// annotationBaseline stands on the gray Deployment: the hash of the production template it was cloned from.
// It tells a production template that somebody else changed before the roll.
const annotationBaseline = plan.Domain + "/baseline"

// Hash is a stable hash of a pod template, 32 hex digits. Two templates have the same hash when a Deployment
// would not replace pods to get from one to the other: what a ReplicaSet adds to its own copy is left out.
func Hash(template *corev1.PodTemplateSpec) string {
	t := template.DeepCopy()
	t.CreationTimestamp = metav1.Time{}
	delete(t.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
	raw, err := json.Marshal(t)
	if err != nil {
		// A PodTemplateSpec is plain data: it always marshals.
		panic(fmt.Sprintf("marshal a pod template: %v", err))
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:16])
}

// undo is the way back of a roll: written in plan.AnnotationUndo by the same patch that changes the template.
type undo struct {
	Run        string `json:"run"`
	Baseline   string `json:"baseline"` // hash of the template before
	Ours       string `json:"ours"`     // hash of the template after, as the API server stored it
	ReplicaSet string `json:"replicaSet"`
	Patch      []Op   `json:"patch"` // turns ours into the baseline again; paths begin at the Deployment
}

// undoOf reads the way back; nil where there is none.
func undoOf(d *appsv1.Deployment) (*undo, error) {
	text, ok := d.Annotations[plan.AnnotationUndo]
	if !ok {
		return nil, nil
	}
	u := &undo{}
	if err := json.Unmarshal([]byte(text), u); err != nil {
		return nil, fmt.Errorf("read annotation %s of Deployment %s/%s: %w", plan.AnnotationUndo, d.Namespace, d.Name, err)
	}
	return u, nil
}

// templateOf says which template production runs. Without a way back it is the baseline, unless gray was
// cloned from another one: then somebody else changed it. An unreadable way back makes it foreign, because
// nothing may be written then.
func templateOf(production, gray *appsv1.Deployment) plan.Template {
	now := Hash(&production.Spec.Template)
	u, err := undoOf(production)
	switch {
	case err != nil:
		return plan.Foreign
	case u == nil:
		if cloned := baselineOf(gray); cloned != "" && cloned != now {
			return plan.Foreign
		}
		return plan.Baseline
	case now == u.Baseline: // first: where both are the same there is nothing to take back
		return plan.Baseline
	case now == u.Ours:
		return plan.Ours
	}
	return plan.Foreign
}

func baselineOf(gray *appsv1.Deployment) string {
	if gray == nil {
		return ""
	}
	return gray.Annotations[annotationBaseline]
}

// baseline returns production with its baseline template, also while ours is on it.
func baseline(production *appsv1.Deployment) (*appsv1.Deployment, error) {
	u, err := undoOf(production)
	if err != nil {
		return nil, err
	}
	if u == nil || Hash(&production.Spec.Template) != u.Ours {
		return production, nil
	}
	before := &appsv1.Deployment{}
	if err := apply(production, u.Patch, before); err != nil {
		return nil, fmt.Errorf("read the baseline of Deployment %s/%s: %w", production.Namespace, production.Name, err)
	}
	return before, nil
}
