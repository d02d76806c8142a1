package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// kinds are what a namespace of a service may hold; what controllers make of them (ReplicaSets, pods, EndpointSlices) is
// on the allow-list or follows from them.
var kinds = []schema.GroupVersionResource{
	{Group: "apps", Version: "v1", Resource: "deployments"},
	{Version: "v1", Resource: "services"},
	{Version: "v1", Resource: "configmaps"},
	{Version: "v1", Resource: "secrets"},
	{Version: "v1", Resource: "serviceaccounts"},
	{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"},
	{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"},
	{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"},
	{Group: "batch", Version: "v1", Resource: "jobs"},
	{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"},
}

// Snapshot is every object of the namespace without what an upgrade may change: status, managed fields,
// generation, resourceVersion, the Deployment's revision, and the Lease.
func (s *Shop) Snapshot(ctx context.Context) (map[string]string, error) {
	all := map[string]string{}
	for _, kind := range kinds {
		list, err := s.Dynamic.Resource(kind).Namespace(s.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		for i := range list.Items {
			u := &list.Items[i]
			if kind.Resource == "leases" && strings.HasPrefix(u.GetName(), "gray-upgrade-") {
				continue
			}
			all[kind.Resource+"/"+u.GetName()] = stable(u)
		}
	}
	return all, nil
}

func stable(u *unstructured.Unstructured) string {
	for _, field := range [][]string{
		{"status"}, {"metadata", "managedFields"}, {"metadata", "generation"}, {"metadata", "resourceVersion"},
		{"metadata", "annotations", "deployment.kubernetes.io/revision"},
	} {
		unstructured.RemoveNestedField(u.Object, field...)
	}
	if len(u.GetAnnotations()) == 0 {
		unstructured.RemoveNestedField(u.Object, "metadata", "annotations")
	}
	text, _ := json.MarshalIndent(u.Object, "", " ")
	return string(text)
}

// Diff names every line that differs between two snapshots.
func Diff(before, after map[string]string) []string {
	var all []string
	names := slices.Sorted(maps.Keys(before))
	for name := range after {
		if _, ok := before[name]; !ok {
			names = append(names, name)
		}
	}
	for _, name := range names {
		all = append(all, lines(name, before[name], after[name])...)
	}
	return all
}

func lines(name, before, after string) []string {
	if before == after {
		return nil
	}
	old, now := strings.Split(before, "\n"), strings.Split(after, "\n")
	var all []string
	for _, l := range old {
		if !slices.Contains(now, l) {
			all = append(all, fmt.Sprintf("%s: - %s", name, strings.TrimSpace(l)))
		}
	}
	for _, l := range now {
		if !slices.Contains(old, l) {
			all = append(all, fmt.Sprintf("%s: + %s", name, strings.TrimSpace(l)))
		}
	}
	if len(all) == 0 {
		return []string{name + ": the order or the number of its lines differs"}
	}
	return all
}
