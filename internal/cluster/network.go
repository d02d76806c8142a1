package cluster

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// networkPolicies warns of policies that know production pods by a label that gray ones carry with another value: gray
// would be less open, or less closed, than production. What cannot be listed is a warning of the permissions.
func (c *Cluster) networkPolicies(ctx context.Context, m *material, gray *appsv1.Deployment) []string {
	list, err := c.kube.NetworkingV1().NetworkPolicies(c.target.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil
	}
	var warnings []string
	for _, p := range list.Items {
		warnings = append(warnings, missesGray(&p, m.production.Spec.Template.Labels, gray.Spec.Template.Labels)...)
	}
	return warnings
}

func missesGray(p *networkingv1.NetworkPolicy, production, gray map[string]string) []string {
	misses := func(s *metav1.LabelSelector) bool { return s != nil && matches(s, production) && !matches(s, gray) }
	var warnings []string
	if misses(&p.Spec.PodSelector) {
		warnings = append(warnings, fmt.Sprintf("NetworkPolicy %s applies to production pods and not to gray ones: let its podSelector match both (gray pods: %s)",
			p.Name, difference(production, gray)))
	}
	for _, peer := range peers(p) {
		if peer.NamespaceSelector == nil && misses(peer.PodSelector) {
			return append(warnings, fmt.Sprintf("NetworkPolicy %s opens other pods to production pods and not to gray ones: let its peers match both (gray pods: %s)",
				p.Name, difference(production, gray)))
		}
	}
	return warnings
}

func peers(p *networkingv1.NetworkPolicy) []networkingv1.NetworkPolicyPeer {
	var all []networkingv1.NetworkPolicyPeer
	for _, rule := range p.Spec.Ingress {
		all = append(all, rule.From...)
	}
	for _, rule := range p.Spec.Egress {
		all = append(all, rule.To...)
	}
	return all
}

// difference is the labels of gray that production does not have, as a selector.
func difference(production, gray map[string]string) string {
	changed := map[string]string{}
	for key, value := range gray {
		if production[key] != value {
			changed[key] = value
		}
	}
	return metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: changed})
}
