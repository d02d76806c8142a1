package observe

import (
	"slices"
	"strings"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
)

// maxTemplates bounds a table of templates; lines of further kinds are only counted.
const maxTemplates = 1000

// table counts error lines by template.
type table struct {
	entries map[string]*entry
	cut     int // lines that found no room
}

type entry struct {
	judge.LogTemplate
	first time.Time
}

func newTable() *table { return &table{entries: map[string]*entry{}} }

// add counts a line.
func (t *table) add(template, line, pod string, now time.Time) {
	if e := t.entries[template]; e != nil {
		e.Count++
		return
	}
	if len(t.entries) >= maxTemplates {
		t.cut++
		return
	}
	t.entries[template] = &entry{
		LogTemplate: judge.LogTemplate{Template: template, Count: 1, Line: cut(line, maxKept), Pod: pod},
		first:       now,
	}
}

// merge takes the templates of another table, beyond the bound: two full ones make one of twice the size.
func (t *table) merge(from *table) {
	for name, e := range from.entries {
		if t.entries[name] == nil {
			copied := *e
			t.entries[name] = &copied
		}
	}
	t.cut += from.cut
}

// compare returns what the side on trial wrote, what is not known first, oldest first, at most so many; and of what is
// known, the templates among those: no other matters to a verdict.
func compare(trial, known *table, limit int) (written, shared []judge.LogTemplate) {
	var news, old []*entry
	for name, e := range trial.entries {
		if known.entries[name] != nil {
			old = append(old, e)
		} else {
			news = append(news, e)
		}
	}
	byAge := func(a, b *entry) int {
		if c := a.first.Compare(b.first); c != 0 {
			return c
		}
		return strings.Compare(a.Template, b.Template)
	}
	slices.SortFunc(news, byAge)
	slices.SortFunc(old, byAge)
	for _, e := range append(news, old...) {
		if len(written) == limit {
			break
		}
		written = append(written, e.LogTemplate)
		if k := known.entries[e.Template]; k != nil {
			shared = append(shared, k.LogTemplate)
		}
	}
	return written, shared
}
