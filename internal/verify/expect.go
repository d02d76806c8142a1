package verify

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
)

// expect compares an answer with what a check wants. Both texts are empty where it is right; else they say, ready for a
// person, what was expected and what came: the first difference in the order status, headers, JSON, text.
func expect(t trial, a answer, m mask) (want, got string) {
	c := t.check
	if a.status != statusOf(c) {
		return wantStatus(c), fmt.Sprintf("%d (%s)", a.status, m.excerpt(a.body))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Header)) {
		if values := a.header.Values(name); !slices.Contains(values, c.Header[name]) {
			return fmt.Sprintf("header %s: %s", name, quoted(c.Header[name])), m.header(values)
		}
	}
	if c.JSONPath != "" {
		value, err := t.path.find(a.body)
		if err != nil {
			return wantJSON(c), fmt.Sprintf("%s (%s)", m.text(err.Error()), m.excerpt(a.body))
		}
		if value != c.Equals {
			return wantJSON(c), m.quoted(value)
		}
	}
	if c.Text != "" && !bytes.Contains(a.body, []byte(c.Text)) {
		return "the text " + quoted(c.Text), m.excerpt(a.body)
	}
	return "", ""
}

func wantJSON(c config.Check) string { return fmt.Sprintf("%s = %s", c.JSONPath, quoted(c.Equals)) }

func wantStatus(c config.Check) string { return fmt.Sprintf("status %d", statusOf(c)) }

func statusOf(c config.Check) int {
	if c.Status == 0 {
		return defaultStatus
	}
	return c.Status
}
