package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Objects are the objects that an upgrade works on, each field by its path, as they are compared before and after.
type Objects map[string]map[string]string

// Change is a field that differs. Before or After is "" where the field is not there; what may be a secret is not shown.
type Change struct {
	Object string `json:"object"` // Deployment web
	Field  string `json:"field"`  // spec.replicas
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// Add puts in an object: labels, annotations and spec, each of plain JSON. The Deployment's revision is left out, its
// controller counts it.
func (o Objects) Add(kind, name string, labels, annotations map[string]string, spec any) error {
	annotations = maps.Clone(annotations)
	delete(annotations, "deployment.kubernetes.io/revision")
	data, err := json.Marshal(map[string]any{"labels": labels, "annotations": annotations, "spec": spec})
	if err != nil {
		return fmt.Errorf("compare %s %s: %w", kind, name, err)
	}
	var tree any
	if err := json.Unmarshal(data, &tree); err != nil {
		return fmt.Errorf("compare %s %s: %w", kind, name, err)
	}
	fields := map[string]string{"": "there"}
	flatten(fields, "", tree)
	o[kind+" "+name] = fields
	return nil
}

// flatten notes every leaf under its path. Members of a list go by their name, where they have one.
func flatten(fields map[string]string, path string, tree any) {
	switch t := tree.(type) {
	case map[string]any:
		for key, value := range t {
			flatten(fields, strings.TrimPrefix(path+"."+key, "."), value)
		}
	case []any:
		for i, value := range t {
			member := strconv.Itoa(i)
			if m, ok := value.(map[string]any); ok {
				if name, ok := m["name"].(string); ok {
					member = name
				}
			}
			flatten(fields, path+"["+member+"]", value)
		}
	case nil:
	default:
		text, _ := json.Marshal(t) // a leaf of JSON
		fields[path] = string(text)
	}
}

// Changes compares two looks at the same objects, in the order of their names.
func Changes(before, after Objects) []Change {
	var all []Change
	for _, object := range either(before, after) {
		old, now := before[object], after[object]
		if (old == nil) != (now == nil) {
			all = append(all, Change{Object: object, Before: old[""], After: now[""]})
			continue
		}
		for _, field := range either(old, now) {
			if old[field] != now[field] {
				all = append(all, Change{Object: object, Field: field, Before: shownOf(field, old[field]), After: shownOf(field, now[field])})
			}
		}
	}
	return all
}

func either[V any](a, b map[string]V) []string {
	keys := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(keys)
	return slices.Compact(keys)
}

// shownOf hides what people put secrets into.
func shownOf(field, value string) string {
	for _, part := range []string{".env[", ".args[", ".command["} {
		if value != "" && strings.Contains(field, part) && !strings.HasSuffix(field, ".name") {
			return "(not shown)"
		}
	}
	return value
}
