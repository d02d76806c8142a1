package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Op is one operation of a JSON patch (RFC 6902).
type Op struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// pointer joins path segments to a JSON pointer (RFC 6901).
func pointer(segments ...string) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(s))
	}
	return b.String()
}

// tree turns a value into maps, lists and scalars. Numbers keep their digits: a user ID may be above 2^53.
func tree(v any) (any, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var t any
	return t, d.Decode(&t)
}

// diff returns the operations that turn one tree into the other, as few and as deep as they can be, so that
// the patch and its inverse hold no value that did not change.
func diff(path string, from, to any) []Op {
	switch f := from.(type) {
	case map[string]any:
		if t, ok := to.(map[string]any); ok {
			return diffMaps(path, f, t)
		}
	case []any:
		if t, ok := to.([]any); ok {
			return diffLists(path, f, t)
		}
	}
	if reflect.DeepEqual(from, to) {
		return nil
	}
	return []Op{{Op: "replace", Path: path, Value: to}}
}

func diffMaps(path string, from, to map[string]any) []Op {
	var ops []Op
	for _, key := range slices.Sorted(maps.Keys(from)) {
		at := path + pointer(key)
		if value, ok := to[key]; ok {
			ops = append(ops, diff(at, from[key], value)...)
		} else {
			ops = append(ops, Op{Op: "remove", Path: at})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(to)) {
		if _, ok := from[key]; !ok {
			ops = append(ops, Op{Op: "add", Path: path + pointer(key), Value: to[key]})
		}
	}
	return ops
}

func diffLists(path string, from, to []any) []Op {
	var ops []Op
	both := min(len(from), len(to))
	for i := range both {
		ops = append(ops, diff(path+pointer(strconv.Itoa(i)), from[i], to[i])...)
	}
	for i := len(from) - 1; i >= both; i-- { // from the end, so that the indexes before it stay true
		ops = append(ops, Op{Op: "remove", Path: path + pointer(strconv.Itoa(i))})
	}
	for i := both; i < len(to); i++ {
		ops = append(ops, Op{Op: "add", Path: path + pointer(strconv.Itoa(i)), Value: to[i]})
	}
	return ops
}

// apply runs the operations that diff makes (add, remove, replace) on a copy of the value and decodes the
// result into out.
func apply(v any, ops []Op, out any) error {
	doc, err := tree(v)
	if err != nil {
		return err
	}
	for _, op := range ops {
		segments := strings.Split(op.Path, "/")[1:]
		for i, s := range segments {
			segments[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(s)
		}
		if doc, err = applyOne(doc, segments, op); err != nil {
			return fmt.Errorf("%s %s: %w", op.Op, op.Path, err)
		}
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, out)
}

func applyOne(doc any, segments []string, op Op) (any, error) {
	if len(segments) == 0 {
		return op.Value, nil
	}
	switch d := doc.(type) {
	case map[string]any:
		return applyMap(d, segments, op)
	case []any:
		return applyList(d, segments, op)
	}
	return nil, fmt.Errorf("nothing at %q", segments[0])
}

func applyMap(d map[string]any, segments []string, op Op) (any, error) {
	key := segments[0]
	if len(segments) == 1 && op.Op == "remove" {
		delete(d, key)
		return d, nil
	}
	child, err := applyOne(d[key], segments[1:], op)
	d[key] = child
	return d, err
}

func applyList(d []any, segments []string, op Op) (any, error) {
	i, err := strconv.Atoi(segments[0])
	if err != nil || i < 0 || i > len(d) || (i == len(d) && op.Op != "add") {
		return nil, fmt.Errorf("no element %q in a list of %d", segments[0], len(d))
	}
	switch {
	case len(segments) == 1 && op.Op == "remove":
		return slices.Delete(d, i, i+1), nil
	case len(segments) == 1 && op.Op == "add":
		return slices.Insert(d, i, op.Value), nil
	case i == len(d):
		return nil, fmt.Errorf("no element %q in a list of %d", segments[0], len(d))
	}
	d[i], err = applyOne(d[i], segments[1:], op)
	return d, err
}
