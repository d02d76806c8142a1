package gateway

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// op is one operation of a JSON patch (RFC 6902).
type op struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitzero"`
}

type patch []op

// versionTest makes a patch fail on any other version of the object than the one it was made for.
func versionTest(u *unstructured.Unstructured) patch {
	return patch{{Op: "test", Path: "/metadata/resourceVersion", Value: u.GetResourceVersion()}}
}

func annotationPath(key string) string {
	return "/metadata/annotations/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}

// diff turns the rule's backends into the edited ones. Every backend that is touched is tested by its name, not only
// by its place; the others are not mentioned.
func (r rule) diff(edited []backend) patch {
	var p patch
	before := r.backends
	at := 0 // place in the list as the patch has left it so far
	path := func(field string) string { return fmt.Sprintf("/spec/rules/%d/backendRefs/%d%s", r.index, at, field) }
	test := func(b backend) op { return op{Op: "test", Path: path("/name"), Value: b.name()} }
	for len(before) > 0 || len(edited) > 0 {
		switch {
		case len(before) > 0 && len(edited) > 0 && before[0].same(edited[0]):
			if changes := change(before[0], edited[0], path); len(changes) > 0 {
				p = append(append(p, test(before[0])), changes...)
			}
			before, edited = before[1:], edited[1:]
			at++
		case len(before) > 0 && !slices.ContainsFunc(edited, before[0].same):
			p = append(p, test(before[0]), op{Op: "remove", Path: path("")})
			before = before[1:]
		default:
			p = append(p, op{Op: "add", Path: path(""), Value: map[string]any(edited[0])})
			if i := slices.IndexFunc(before, edited[0].same); i >= 0 { // it moves to the front
				p = append(p, op{Op: "remove", Path: fmt.Sprintf("/spec/rules/%d/backendRefs/%d", r.index, at+1+i)})
				before = slices.Delete(slices.Clone(before), i, i+1)
			}
			edited = edited[1:]
			at++
		}
	}
	return p
}

// change is the patch of one backend: its weight alone where nothing else differs.
func change(from, to backend, path func(string) string) patch {
	if !reflect.DeepEqual(from.withoutWeight(), to.withoutWeight()) {
		return patch{{Op: "replace", Path: path(""), Value: map[string]any(to)}}
	}
	_, had := from["weight"]
	_, has := to["weight"]
	switch {
	case had && !has:
		return patch{{Op: "remove", Path: path("/weight")}}
	case has && !had:
		return patch{{Op: "add", Path: path("/weight"), Value: to.weight()}}
	case from.weight() != to.weight():
		return patch{{Op: "replace", Path: path("/weight"), Value: to.weight()}}
	}
	return nil
}
