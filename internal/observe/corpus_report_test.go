package observe

import (
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/gray-upgrade/gray-upgrade/internal/golden"
	"github.com/gray-upgrade/gray-upgrade/internal/judge"
)

// tallied is how all runs ended.
type tallied struct {
	mu  sync.Mutex
	all []outcome
}

func (y *tallied) add(o outcome) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.all = append(y.all, o)
}

// group is where a run is counted.
type group string

const (
	ofFaults    group = "faults of gray"
	ofAccidents group = "not gray's fault"
	ofClean     group = "nothing is wrong"
	ofSmall     group = "touches less than 1 % of requests"
	ofFew       group = "too small, too late or too blurred to tell"
)

func (o outcome) group() group {
	switch {
	case o.want == promoted:
		return ofClean
	case o.want == excused:
		return ofAccidents
	case o.share < 0.01:
		return ofSmall
	case o.few:
		return ofFew
	}
	return ofFaults
}

// wrong says that the image was blamed for nothing.
func (o outcome) wrong() bool { return o.end == blamed && (o.want != blamed || o.early) }

// missed says that a fault that the bar speaks of was not found.
func (o outcome) missed() bool { return o.group() == ofFaults && o.end != blamed }

func (y *tallied) count(is func(outcome) bool) int {
	n := 0
	for _, o := range y.all {
		if is(o) {
			n++
		}
	}
	return n
}

// of are the runs for which is holds.
func (y *tallied) of(is func(outcome) bool) *tallied {
	return &tallied{all: slices.DeleteFunc(slices.Clone(y.all), func(o outcome) bool { return !is(o) })}
}

// check holds the corpus against the bar: each fault that touches 1 % of gray's requests or more is found, and of a
// hundred images that are blamed at least 99 have a fault.
func (y *tallied) check(t *testing.T) {
	t.Helper()
	for _, o := range y.all {
		assert.False(t, o.missed(), "missed: %s", o)
	}
	wrong := y.of(outcome.wrong)
	assert.LessOrEqual(t, 100*len(wrong.all), y.count(outcome.blamed), "blamed for nothing: %s", wrong.list(outcome.wrong))
}

func (o outcome) blamed() bool { return o.end == blamed }

// report prints the tables; the full form writes them down.
func (y *tallied) report(t *testing.T) {
	t.Helper()
	slices.SortStableFunc(y.all, func(a, b outcome) int { return int(a.seed) - int(b.seed) })
	text := y.rates() + "\n" + y.table() + "\nMissed:\n\n" + y.list(outcome.missed) + "\nBlamed for nothing:\n\n" + y.list(outcome.wrong)
	t.Log("\n" + text)
	if os.Getenv("JUDGE") == "full" {
		golden.Section(t, "../../docs/verdict.md", "corpus", text)
	}
}

// rates are those that the bar is about.
func (y *tallied) rates() string {
	faults := y.of(func(o outcome) bool { return o.group() == ofFaults })
	found, wrong, blames := faults.count(outcome.blamed), y.count(outcome.wrong), y.count(outcome.blamed)
	good := y.of(func(o outcome) bool { return o.want != blamed })
	every := y.of(func(o outcome) bool { return o.want == blamed })
	return fmt.Sprintf("- Recall: %s of the faults that touch 1 %% of gray's requests or more were blamed on the image; of all faults that were drawn, those that are called too small to tell among them, %s.\n"+
		"- Precision: %s of the images that were blamed had a fault.\n"+
		"- False alarms: %s of the images without a fault were blamed; %d of them before weight 100, where the budget holds.\n"+
		"- From a fault's start to its finding: %s.\n",
		part(found, len(faults.all)), part(every.count(outcome.blamed), len(every.all)), part(blames-wrong, blames), part(good.count(outcome.blamed), len(good.all)),
		good.count(func(o outcome) bool { return o.blamed() && o.weight < 100 }),
		faults.times("median %s, 95th percentile %s"))
}

func part(n, of int) string {
	if of == 0 {
		return "none of none"
	}
	return fmt.Sprintf("%.1f %% (%d of %d)", 100*float64(n)/float64(of), n, of)
}

// times writes the median and the 95th percentile of the time from a fault's start to its finding.
func (y *tallied) times(format string) string {
	var all []time.Duration
	for _, o := range y.all {
		if o.end == blamed && !o.early {
			all = append(all, o.after)
		}
	}
	if len(all) == 0 {
		return fmt.Sprintf(format, "", "")
	}
	slices.Sort(all)
	at := func(q float64) string {
		return fmt.Sprintf("%.1f s", all[int(math.Ceil(q*float64(len(all)-1)))].Seconds())
	}
	return fmt.Sprintf(format, at(0.5), at(0.95))
}

// table is Markdown: the kinds by group, then what the bar does not speak of.
func (y *tallied) table() string {
	var b strings.Builder
	b.WriteString("| kind | runs | blamed | closed without blame | not enough evidence | passed | median | p95 |\n|---|---|---|---|---|---|---|---|\n")
	for _, g := range []group{ofFaults, ofAccidents, ofClean} {
		mine := y.of(func(o outcome) bool { return o.group() == g })
		mine.row(&b, "**"+string(g)+"**")
		for _, k := range kinds() {
			if one := mine.of(func(o outcome) bool { return o.name == k.name }); len(one.all) > 0 {
				one.row(&b, k.name)
			}
		}
	}
	for _, g := range []group{ofSmall, ofFew} {
		y.of(func(o outcome) bool { return o.group() == g }).row(&b, "**faults: "+string(g)+"**")
	}
	return b.String()
}

func (y *tallied) row(b *strings.Builder, name string) {
	fmt.Fprintf(b, "| %s | %d |", name, len(y.all))
	for _, e := range []end{blamed, excused, thin, promoted} {
		if n := y.count(func(o outcome) bool { return o.end == e }); n > 0 {
			fmt.Fprintf(b, " %d |", n)
		} else {
			b.WriteString(" |")
		}
	}
	if len(y.all) > 0 && y.all[0].want == blamed {
		b.WriteString(y.times(" %s | %s |\n"))
	} else {
		b.WriteString(" | |\n")
	}
}

// list names runs, one a line.
func (y *tallied) list(is func(outcome) bool) string {
	var b strings.Builder
	for _, o := range y.of(is).all {
		fmt.Fprintf(&b, "- %s\n", o)
	}
	if b.Len() == 0 {
		return "none\n"
	}
	return b.String()
}

// String is a line of Markdown about a run.
func (o outcome) String() string {
	touched := ""
	if o.touched > 0 {
		touched = fmt.Sprintf("; about %.0f requests touched, %.1f %%", o.touched, 100*o.share)
	}
	return strings.TrimSpace(fmt.Sprintf("%s, seed %d: %s at weight %d, %.0f s after it began (%s%s). %s",
		o.name, o.seed, o.end, o.weight, o.after.Seconds(), o.drawn, touched, o.because()))
}

// because are the checks that say something about how it ended, of each rule the last one.
func (o outcome) because() string {
	said := map[string]string{}
	for _, c := range o.checks {
		if c.Verdict != judge.Pass || strings.Contains(c.Why, "chance") || c.Name == "memory" {
			said[c.Name] = c.Why
		}
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(said)) {
		all = append(all, name+": "+said[name])
	}
	return strings.Join(all, " / ")
}
