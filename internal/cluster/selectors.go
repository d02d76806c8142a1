package cluster

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// Selection is an object that selects pods of the namespace by label, beside the upgraded Service.
type Selection struct {
	Kind     string
	Name     string
	Selector *metav1.LabelSelector
}

func (s Selection) String() string { return s.Kind + " " + s.Name }

func matches(selector *metav1.LabelSelector, set map[string]string) bool {
	s, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && s.Matches(labels.Set(set))
}

// grayLabels are the labels of gray pods: every key the production Service selects by gets a gray value; then the
// keys of every other selector that selects production pods and would still select gray ones. What cannot be kept
// off that way (a selector of all pods, Exists) is returned in caught.
func grayLabels(from map[string]string, service *corev1.Service, others []Selection) (gray map[string]string, caught []Selection) {
	gray = maps.Clone(from)
	for key := range service.Spec.Selector {
		gray[key] = grayValue(from[key])
	}
	for _, o := range others {
		if !matches(o.Selector, from) || !matches(o.Selector, gray) {
			continue
		}
		for _, key := range valueKeys(o.Selector) {
			gray[key] = grayValue(from[key])
		}
	}
	gray[plan.LabelSide] = string(plan.Gray)
	gray[plan.LabelService] = service.Name
	for _, o := range others {
		if matches(o.Selector, gray) {
			caught = append(caught, o)
		}
	}
	return gray, caught
}

func grayValue(value string) string {
	if value == "" {
		return string(plan.Gray) // a label value must begin with a letter or a digit
	}
	return plan.GrayName(value)
}

// valueKeys are the keys whose value the selector asks for.
func valueKeys(s *metav1.LabelSelector) []string {
	keys := slices.Sorted(maps.Keys(s.MatchLabels))
	for _, e := range s.MatchExpressions {
		if e.Operator == metav1.LabelSelectorOpIn {
			keys = append(keys, e.Key)
		}
	}
	return keys
}

// rewriteSelfReferences makes affinity and spread terms that mean "pods like me" mean gray pods: a clone that
// still repels production pods would not be scheduled like production is, and would push on its pods.
func rewriteSelfReferences(spec *corev1.PodSpec, namespace string, from, to map[string]string) {
	for _, term := range affinityTerms(spec.Affinity) {
		if termMeans(term, namespace) {
			rewriteSelector(term.LabelSelector, from, to)
		}
	}
	for i := range spec.TopologySpreadConstraints {
		rewriteSelector(spec.TopologySpreadConstraints[i].LabelSelector, from, to)
	}
}

func affinityTerms(a *corev1.Affinity) []*corev1.PodAffinityTerm {
	if a == nil {
		return nil
	}
	var terms []*corev1.PodAffinityTerm
	add := func(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm) {
		for i := range required {
			terms = append(terms, &required[i])
		}
		for i := range preferred {
			terms = append(terms, &preferred[i].PodAffinityTerm)
		}
	}
	if a.PodAffinity != nil {
		add(a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution, a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if a.PodAntiAffinity != nil {
		add(a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution, a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	return terms
}

// termMeans says whether the term looks at pods of the namespace at all.
func termMeans(term *corev1.PodAffinityTerm, namespace string) bool {
	if len(term.Namespaces) == 0 && term.NamespaceSelector == nil {
		return true
	}
	return term.NamespaceSelector != nil || slices.Contains(term.Namespaces, namespace)
}

func rewriteSelector(s *metav1.LabelSelector, from, to map[string]string) {
	if s == nil || !matches(s, from) {
		return
	}
	for key := range s.MatchLabels {
		s.MatchLabels[key] = to[key]
	}
	for _, e := range s.MatchExpressions {
		if i := slices.Index(e.Values, from[e.Key]); i >= 0 && e.Operator == metav1.LabelSelectorOpIn {
			e.Values[i] = to[e.Key]
		}
	}
}
