package observe

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/drain"
	"github.com/gray-upgrade/gray-upgrade/internal/judge"
)

// maxKept is how much is kept of the line that is an example of its template, in bytes.
const maxKept = 300

// table counts error events by their group in the miner, which bounds it.
type table struct {
	entries map[int]*entry
	cut     int // events that found no room
}

// entry is without its Template: the group may become a part of another one.
type entry struct{ judge.LogTemplate }

// maxPods is how many of the pods that wrote a template are named.
const maxPods = 5

func newTable() *table { return &table{entries: map[int]*entry{}} }

// add counts an event.
func (t *table) add(group int, line, pod string, now time.Time) {
	if group == 0 {
		t.cut++
		return
	}
	if e := t.entries[group]; e != nil {
		e.Count++
		e.writtenBy(pod)
		return
	}
	t.entries[group] = &entry{judge.LogTemplate{Count: 1, Line: cut(line, maxKept), Pod: pod, Pods: []string{pod}, First: now}}
}

func (e *entry) writtenBy(pods ...string) {
	for _, pod := range pods {
		if len(e.Pods) < maxPods && !slices.Contains(e.Pods, pod) {
			e.Pods = append(e.Pods, pod)
		}
	}
}

// takeBack uncounts an event that turned out to be of another group.
func (t *table) takeBack(group int) {
	e := t.entries[group]
	if e == nil {
		return
	}
	if e.Count--; e.Count == 0 {
		delete(t.entries, group)
	}
}

// merge takes the templates of another table.
func (t *table) merge(from *table) {
	for group, e := range from.entries {
		if t.entries[group] == nil {
			copied := *e
			t.entries[group] = &copied
		}
	}
	t.cut += from.cut
}

// settle moves what was counted for groups that have become one to that one.
func (t *table) settle(miner *drain.Miner) {
	for group, e := range t.entries {
		root := miner.Root(group)
		if root == group {
			continue
		}
		delete(t.entries, group)
		into := t.entries[root]
		switch {
		case into == nil:
			t.entries[root] = e
		case e.First.Before(into.First):
			e.Count += into.Count
			e.writtenBy(into.Pods...)
			t.entries[root] = e
		default:
			into.Count += e.Count
			into.writtenBy(e.Pods...)
		}
	}
}

// compare returns what the side on trial wrote, what is not known first, oldest first, at most so many; and of what is
// known, the templates among those: no other matters to a verdict.
func compare(trial, known *table, miner *drain.Miner, limit int) (written, shared []judge.LogTemplate) {
	trial.settle(miner)
	known.settle(miner)
	var news, old []int
	for group := range trial.entries {
		if known.entries[group] != nil {
			old = append(old, group)
		} else {
			news = append(news, group)
		}
	}
	byAge := func(a, b int) int {
		return cmp.Or(trial.entries[a].First.Compare(trial.entries[b].First), cmp.Compare(a, b))
	}
	slices.SortFunc(news, byAge)
	slices.SortFunc(old, byAge)
	all := append(news, old...)
	for _, group := range all[:min(len(all), limit)] {
		name := miner.Name(group)
		written = append(written, trial.entries[group].named(name))
		if k := known.entries[group]; k != nil {
			shared = append(shared, k.named(name))
		}
	}
	return written, shared
}

func (e *entry) named(template string) judge.LogTemplate {
	t := e.LogTemplate
	t.Template, t.Pods = template, slices.Clone(t.Pods)
	return t
}

// cut shortens a text to so many bytes, never inside a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.TrimSpace(strings.ToValidUTF8(s[:n], "")) + "…"
}
