package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

const (
	full      = 100
	maxWeight = 1_000_000 // of a backendRef, Gateway API

	// notesPrefix begins the annotation that holds what is needed to take our edit back; the Service's name ends it,
	// because two services may share a route.
	notesPrefix = "weights." + plan.Domain + "/"
)

// splitter edits one HTTPRoute for one upgrade. It is pure: objects in, patches out.
//
// In each rule that leads to the Service, every weight is brought to a scale of 100 per unit (all shares stay what
// they were), then production's weight is split between production and gray, gray right behind it:
//
//	[shop 3, other 1]  --20 %-->  [shop 240, shop-gray 60, other 100]
//
// Taking it back divides what stands by that scale, so what somebody else changed meanwhile stays.
type splitter struct {
	target plan.Target
	header string // response header set to "gray" on gray's backendRef; "": none
}

// note is what one rule was before our edit, beyond what stands in it.
type note struct {
	Unit   int64          `json:"unit,omitempty"`   // common divisor of the rule's weights, taken out; 0: 1
	Absent map[int]string `json:"absent,omitempty"` // places and names of the backends that had no weight
}

func (s splitter) notesKey() string { return notesPrefix + s.target.Service }

// weight returns the percent of the Service's requests that go to gray: that of the rule where it is highest. It is 0
// (or 100) only where no rule sends anything to gray (or to production).
func (s splitter) weight(u *unstructured.Unstructured) (int, error) {
	rules, err := rulesOf(u)
	if err != nil {
		return 0, err
	}
	highest, lowest := 0, full
	for _, r := range rules {
		for _, p := range s.pairs(r.backends) {
			if p.total() == 0 {
				continue // no requests, whatever the split
			}
			highest, lowest = max(highest, p.percent()), min(lowest, p.percent())
		}
	}
	if highest == full && lowest < full {
		highest = full - 1 // somebody gave a rule back to production: it is not without users
	}
	return highest, nil
}

// leads says whether any rule sends requests to the Service (or to its gray counterpart) at a weight above 0.
func (s splitter) leads(u *unstructured.Unstructured) (bool, error) {
	rules, err := rulesOf(u)
	if err != nil {
		return false, err
	}
	for _, r := range rules {
		for _, p := range s.pairs(r.backends) {
			if p.total() > 0 {
				return true, nil
			}
		}
	}
	return false, nil
}

// set returns the patch that makes percent of the Service's requests go to gray; an empty one where they do. Gray is
// not put into a route only to get nothing.
func (s splitter) set(u *unstructured.Unstructured, percent int, fence int64) (patch, error) {
	before, err := rulesOf(u)
	if err != nil {
		return nil, err
	}
	notes, err := s.notes(u)
	if err != nil {
		return nil, err
	}
	var changes patch
	for _, r := range before {
		edited, noted, err := s.setRule(r, percent)
		if err != nil {
			return nil, err
		}
		if noted != nil {
			notes[r.key] = *noted
		}
		changes = append(changes, r.diff(edited)...)
	}
	if len(changes) == 0 {
		return nil, nil
	}
	return s.guarded(u, changes, fence, notes)
}

// unset returns the patch that takes every edit of ours out of the route; an empty one where there is none.
func (s splitter) unset(u *unstructured.Unstructured) (patch, error) {
	rules, err := rulesOf(u)
	if err != nil {
		return nil, err
	}
	notes, err := s.notes(u)
	if err != nil {
		return nil, err
	}
	var changes patch
	for _, r := range rules {
		changes = append(changes, r.diff(s.unsetRule(r, notes[r.key]))...)
	}
	changes = append(changes, s.bare(u)...)
	if len(changes) == 0 {
		return nil, nil
	}
	return append(versionTest(u), changes...), nil
}

func (s splitter) setRule(r rule, percent int) ([]backend, *note, error) {
	pairs := s.pairs(r.backends)
	split := isSplit(pairs)
	if len(pairs) == 0 || sum(pairs) == 0 || (!split && percent == 0) {
		return r.backends, nil, nil
	}
	scaled, noted := r.backends, (*note)(nil)
	if !split {
		if other := s.foreignSplit(r); other != "" {
			return nil, nil, plan.Failf(plan.FaultRefused, r.where,
				"rule %d is being split by another upgrade (backend %s): run one after the other", r.index, other)
		}
		var err error
		if scaled, noted, err = scale(r); err != nil {
			return nil, nil, err
		}
	}
	var out []backend
	pairs = s.pairs(scaled)
	for i, b := range scaled {
		if p, leads := pairAt(pairs, i); leads {
			production, gray := p.split(percent)
			out = append(out, b.withWeight(production), s.grayOf(b, gray))
		} else if !s.isGray(b) {
			out = append(out, b)
		}
	}
	return out, noted, nil
}

// unsetRule divides by the scale; where somebody else's edit no longer divides, the shares stay and the scale with them.
func (s splitter) unsetRule(r rule, n note) []backend {
	pairs := s.pairs(r.backends)
	if !isSplit(pairs) {
		return r.backends
	}
	merged := make([]backend, 0, len(r.backends))
	divides := true
	for i, b := range r.backends {
		if s.isGray(b) {
			continue
		}
		if p, ok := pairAt(pairs, i); ok {
			b = b.withWeight(p.total())
		}
		divides = divides && b.weight()%full == 0
		merged = append(merged, b)
	}
	if !divides {
		return merged
	}
	for i, b := range merged {
		w := b.weight() / full * max(n.Unit, 1)
		if n.Absent[i] == b.name() && w == 1 {
			merged[i] = b.withoutWeight()
			continue
		}
		merged[i] = b.withWeight(w)
	}
	return merged
}

// scale brings a rule's weights to 100 per unit.
func scale(r rule) ([]backend, *note, error) {
	n := &note{Absent: map[int]string{}}
	var unit int64
	for i, b := range r.backends {
		unit = gcd(unit, b.weight())
		if _, set := b["weight"]; !set {
			n.Absent[i] = b.name()
		}
	}
	if unit > 1 {
		n.Unit = unit
	}
	out := make([]backend, 0, len(r.backends))
	for _, b := range r.backends {
		w := b.weight() / unit * full
		if w > maxWeight {
			return nil, nil, plan.Failf(plan.FaultInput, r.where,
				"rule %d: weight %d of backend %s is too fine to be split in percent (largest weight %d): use smaller weights of the same shares",
				r.index, b.weight(), b.name(), maxWeight)
		}
		out = append(out, b.withWeight(w))
	}
	return out, n, nil
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// foreignSplit names a backend that the upgrade of another Service put into the rule, "" for none.
func (s splitter) foreignSplit(r rule) string {
	for _, service := range r.noted {
		other := splitter{target: plan.Target{Namespace: s.target.Namespace, Service: service}}
		if service != s.target.Service && isSplit(other.pairs(r.backends)) {
			return other.target.GrayService()
		}
	}
	return ""
}

// notes reads our annotation: notes by rule.
func (s splitter) notes(u *unstructured.Unstructured) (map[string]note, error) {
	notes := map[string]note{}
	text, found := u.GetAnnotations()[s.notesKey()]
	if !found {
		return notes, nil
	}
	if err := json.Unmarshal([]byte(text), &notes); err != nil {
		return nil, fmt.Errorf("read annotation %s of %s: %w", s.notesKey(), where(u), err)
	}
	return notes, nil
}

// guarded adds what every write carries: the tests, the fence and the notes.
func (s splitter) guarded(u *unstructured.Unstructured, changes patch, fence int64, notes map[string]note) (patch, error) {
	text, err := json.Marshal(notes)
	if err != nil {
		return nil, err
	}
	p := versionTest(u)
	if u.GetAnnotations() == nil {
		p = append(p, op{Op: "add", Path: "/metadata/annotations", Value: map[string]any{}})
	}
	return append(append(p,
		op{Op: "add", Path: annotationPath(plan.FenceKey(s.target.Service)), Value: strconv.FormatInt(fence, 10)},
		op{Op: "add", Path: annotationPath(s.notesKey()), Value: string(text)},
	), changes...), nil
}

// bare takes our annotations off, and the map with the last one.
func (s splitter) bare(u *unstructured.Unstructured) patch {
	all := u.GetAnnotations()
	var p patch
	left := len(all)
	for _, key := range []string{plan.FenceKey(s.target.Service), s.notesKey()} {
		if _, found := all[key]; found {
			p = append(p, op{Op: "remove", Path: annotationPath(key)})
			left--
		}
	}
	if len(p) > 0 && left == 0 {
		return patch{{Op: "remove", Path: "/metadata/annotations"}}
	}
	return p
}

// keyOf names a rule by what it matches, so that rules put before it change nothing; rules of equal matches share
// their name, and only the first of them is ever reached.
func keyOf(matches any) string {
	text, _ := json.Marshal(matches) //nolint:errchkjson // it came out of JSON
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:4])
}
