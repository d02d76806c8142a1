package gateway

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// backend is one entry of backendRefs as it stands in the object.
type backend map[string]any

// rule is one rule of a route.
type rule struct {
	index    int
	key      string // names the rule in our notes
	where    string // the route, for messages
	noted    []string
	backends []backend
}

// rulesOf reads the rules of a route. The backends are those of the object: change copies only.
func rulesOf(u *unstructured.Unstructured) ([]rule, error) {
	list, _, err := unstructured.NestedSlice(u.Object, "spec", "rules")
	if err != nil {
		return nil, fmt.Errorf("read the rules of %s: %w", where(u), err)
	}
	noted := notedServices(u)
	var rules []rule
	same := map[string]int{} // rules of equal matches are told apart by their order
	for i, item := range list {
		fields, ok := item.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("read rule %d of %s: not an object", i, where(u))
		}
		r := rule{index: i, key: keyOf(fields["matches"]), where: where(u), noted: noted}
		if same[r.key]++; same[r.key] > 1 {
			r.key += "-" + strconv.Itoa(same[r.key])
		}
		refs, _, err := unstructured.NestedSlice(fields, "backendRefs")
		if err != nil {
			return nil, fmt.Errorf("read the backends of rule %d of %s: %w", i, where(u), err)
		}
		for _, ref := range refs {
			b, ok := ref.(map[string]any)
			if !ok {
				return nil, fmt.Errorf("read the backends of rule %d of %s: not an object", i, where(u))
			}
			r.backends = append(r.backends, b)
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// notedServices are the Services whose upgrades have edited the route.
func notedServices(u *unstructured.Unstructured) []string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(u.GetAnnotations())) {
		if service, found := strings.CutPrefix(key, notesPrefix); found {
			all = append(all, service)
		}
	}
	return all
}

func where(u *unstructured.Unstructured) string {
	return fmt.Sprintf("%s %s/%s", u.GetKind(), u.GetNamespace(), u.GetName())
}

func (b backend) text(field, fallback string) string {
	if s, ok := b[field].(string); ok && s != "" {
		return s
	}
	return fallback
}

func (b backend) name() string { return b.text("name", "") }

// number reads a JSON number, which decoders make an int64 or a float64 of.
func (b backend) number(field string, fallback int64) int64 {
	switch n := b[field].(type) {
	case int64:
		return n
	case float64:
		return int64(n)
	}
	return fallback
}

// weight is 1 where none is set (Gateway API).
func (b backend) weight() int64 { return b.number("weight", 1) }

func (b backend) withWeight(w int64) backend {
	c := maps.Clone(b)
	c["weight"] = w
	return c
}

func (b backend) withoutWeight() backend {
	c := maps.Clone(b)
	delete(c, "weight")
	return c
}

// is says whether the backend is that Service of the namespace.
func (b backend) is(namespace, service string) bool {
	return b.name() == service && b.text("kind", "Service") == "Service" && b.text("group", "") == "" &&
		b.text("namespace", namespace) == namespace
}

// same says whether two entries name the same backend, at whatever weight.
func (b backend) same(o backend) bool {
	for _, field := range []string{"group", "kind", "namespace", "name"} {
		if b.text(field, "") != o.text(field, "") {
			return false
		}
	}
	return b.number("port", 0) == o.number("port", 0)
}

func (s splitter) isProduction(b backend) bool { return b.is(s.target.Namespace, s.target.Service) }
func (s splitter) isGray(b backend) bool       { return b.is(s.target.Namespace, s.target.GrayService()) }

// pair is a production backend of a rule and its gray one, if it has one.
type pair struct {
	at         int // place of production in the rule
	production backend
	gray       backend
}

// pairs finds them. Gray stands right behind production, unless somebody has moved it: then the ports tell.
func (s splitter) pairs(all []backend) []pair {
	var pairs []pair
	taken := map[int]bool{}
	for i, b := range all {
		if !s.isProduction(b) {
			continue
		}
		p := pair{at: i, production: b}
		for _, j := range append([]int{i + 1}, indices(all)...) {
			if j < len(all) && !taken[j] && s.isGray(all[j]) && all[j].number("port", 0) == b.number("port", 0) {
				p.gray, taken[j] = all[j], true
				break
			}
		}
		pairs = append(pairs, p)
	}
	return pairs
}

func indices(all []backend) []int {
	is := make([]int, len(all))
	for i := range is {
		is[i] = i
	}
	return is
}

func pairAt(pairs []pair, i int) (pair, bool) {
	for _, p := range pairs {
		if p.at == i {
			return p, true
		}
	}
	return pair{}, false
}

// isSplit says whether our edit stands in the rule.
func isSplit(pairs []pair) bool {
	return slices.ContainsFunc(pairs, func(p pair) bool { return p.gray != nil })
}

func sum(pairs []pair) int64 {
	var n int64
	for _, p := range pairs {
		n += p.total()
	}
	return n
}

func (p pair) total() int64 {
	if p.gray == nil {
		return p.production.weight()
	}
	return p.production.weight() + p.gray.weight()
}

// percent is gray's share; 0 and full only where the other side gets nothing less than all.
func (p pair) percent() int {
	if p.gray == nil || p.gray.weight() == 0 {
		return 0
	}
	if p.production.weight() == 0 {
		return full
	}
	rounded := (p.gray.weight()*full + p.total()/2) / p.total()
	return int(min(max(rounded, 1), full-1))
}

// split divides the pair's weight. It is exact on our own scale; where somebody else's edit left another one, gray
// gets a little less rather than more, and something where both can.
func (p pair) split(percent int) (production, gray int64) {
	total := p.total()
	gray = total * int64(percent) / full
	if gray == 0 && percent > 0 && total > 1 {
		gray = 1
	}
	return total - gray, gray
}

// grayOf is production's backend turned to gray: the same port and filters, and our header on its answers.
func (s splitter) grayOf(production backend, weight int64) backend {
	b := backend(runtime.DeepCopyJSON(production))
	b["name"], b["weight"] = s.target.GrayService(), weight
	if s.header == "" {
		return b
	}
	ours := map[string]any{"name": s.header, "value": string(plan.Gray)}
	filters, _ := b["filters"].([]any)
	for _, f := range filters {
		filter, _ := f.(map[string]any)
		if modifier, ok := filter["responseHeaderModifier"].(map[string]any); ok {
			set, _ := modifier["set"].([]any)
			set = slices.DeleteFunc(set, func(h any) bool {
				header, _ := h.(map[string]any)
				name, _ := header["name"].(string)
				return strings.EqualFold(name, s.header)
			})
			modifier["set"] = append(set, ours) // the filter may stand once only
			return b
		}
	}
	b["filters"] = append(filters, map[string]any{
		"type":                   "ResponseHeaderModifier",
		"responseHeaderModifier": map[string]any{"set": []any{ours}},
	})
	return b
}
