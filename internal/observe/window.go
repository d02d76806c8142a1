package observe

import (
	"maps"
	"slices"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// sliding are the windows judged beside that since Begin, so that what goes wrong late in a long step is not thinned
// out by the time when all was well. No window reaches back before Begin.
var sliding = []time.Duration{2 * time.Second, rateWindow}

// rateWindow is what Rate is measured over.
const rateWindow = 10 * time.Second

// seenIn notes the sample of checks.
func seenIn(s judge.Sample, checks []judge.Check) []judge.Seen {
	all := make([]judge.Seen, 0, len(checks))
	for _, c := range checks {
		all = append(all, judge.Seen{Check: c, Sample: s})
	}
	return all
}

// checksOf are the checks alone.
func checksOf(seen []judge.Seen) []judge.Check {
	var all []judge.Check
	for _, s := range seen {
		all = append(all, s.Check)
	}
	return all
}

// Begin starts a new window: who is on trial, at which weight of gray (percent).
func (w *Watch) Begin(onTrial plan.Side, weight int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.remember()
	w.beginQueries()
	if onTrial != w.window.onTrial {
		// What either side wrote before the sides changed is no news on the new side.
		w.of(onTrial.Other()).known.merge(w.of(onTrial).known)
	}
	turned := onTrial != w.window.onTrial
	w.window = newWindow(w.window.number+1, onTrial, weight)
	if side := w.of(onTrial); turned || side.users.IsZero() {
		side.users = time.Time{}
		if w.carries() {
			side.users = time.Now()
		}
	}
	clear(w.lines)
	w.novel = [2]int{}
	for _, s := range []*side{&w.gray, &w.prod} {
		clear(s.read)
		if w.Logs == nil { // else it takes a line to know that lines come
			maps.Copy(s.read, s.open)
		}
	}
	signal(w.pods)
	signal(w.kick)
}

// past is what a side did in the last window in which it had traffic, and in all windows until then in which the same side
// was on trial.
type past struct {
	judge.Numbers

	onTrial plan.Side
	all     judge.Traffic
	long    time.Duration
}

// reference is what the past says of a side that has no traffic now: what all windows brought together, because the last one
// alone may be short, and too quiet to say how many errors are usual; but the last one where more of its requests failed,
// because what began to fail for both sides is not the image's fault.
func (p past) reference() (t judge.Traffic, long time.Duration) {
	if p.Traffic.Errors*p.all.Requests > p.all.Errors*p.Traffic.Requests {
		return p.Traffic, p.Window
	}
	return p.all, p.long
}

// then is the past after one window more; little says that it had too few requests to compare with by itself. What a side did
// on trial is told by one window.
func (p past) then(n past, little bool) past {
	n.all, n.long = n.Traffic, n.Window
	if p.onTrial == n.onTrial && string(n.onTrial) != n.Name {
		n.all, n.long = together(p.all, n.Traffic), p.long+n.Window
		if little {
			n.Numbers = p.Numbers
		}
		return n
	}
	if little {
		return p
	}
	return n
}

// remember keeps what each side did in the window that ends, if it had traffic worth comparing with.
func (w *Watch) remember() {
	from, to, ok := w.between(0)
	if !ok {
		return
	}
	for _, s := range []*side{&w.gray, &w.prod} {
		n := past{Numbers: judge.Numbers{Name: string(s.name)}, onTrial: w.window.onTrial}
		n.Window, n.Traffic = to.at.Sub(from.at), difference(from.of(s.name), to.of(s.name))
		if n.Traffic.Requests == 0 {
			continue
		}
		s.loads[w.window.number] = n.Traffic.Requests / n.Window.Seconds() / float64(max(1, len(s.usages(w.window.number))))
		n.Usage = s.usages(w.window.number)
		if before, had := w.past[s.name]; had {
			n = before.then(n, n.Traffic.Requests < float64(w.Limits.MinRequests))
		} else {
			n.all, n.long = n.Traffic, n.Window
		}
		w.past[s.name] = n
	}
}

// Verdict judges the window since Begin. What was found at once in it stays failed.
func (w *Watch) Verdict() []judge.Check {
	w.mu.Lock()
	defer w.mu.Unlock() // to the end: what is recorded stands in the order in which it was seen
	sample := w.sample(time.Now())
	found, probed := slices.Clone(w.window.found), slices.Clone(w.window.probed)
	checks := judge.Judge(sample, w.Limits)
	for _, f := range checksOf(found) {
		i := slices.IndexFunc(checks, func(c judge.Check) bool { return same(c, f) })
		switch {
		case i < 0:
			checks = append(checks, f)
		case checks[i].Verdict != judge.Fail:
			checks[i] = f
		}
	}
	checks = w.window.trend.Explain(append(checks, probeChecks(probed, checksOf(found))...))
	w.Record("verdict", judge.Judged{Checks: checks, Sample: sample, Found: found})
	return checks
}

// Sample returns the window since Begin.
func (w *Watch) Sample() judge.Sample {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sample(time.Now())
}

// look judges all windows as they are now and returns what is new: first what is the image's fault, then what is not.
func (w *Watch) look(now time.Time) []judge.Finding {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.carries() {
		return nil
	}
	w.addLogBlock(now)
	whole := w.sample(now)
	seen := seenIn(whole, judge.AtOnce(whole, w.Limits))
	for _, d := range sliding {
		if whole.To.Sub(whole.From) > d {
			late := whole
			w.measure(&late, now, d)
			seen = append(seen, seenIn(late, judge.TrafficAtOnce(late, w.Limits))...)
		}
	}
	seen = append(seen, seenIn(whole, judge.Failed(w.window.probed))...)
	seen = append(seen, seenIn(whole, w.blind(now))...)
	news := w.news(seen)
	if now.Sub(w.window.recorded) >= time.Second || len(news) > 0 {
		w.window.recorded = now
		w.Record("sample", brief(whole))
	}
	return w.findings(now, news)
}

// news returns what was not found before in this window, and remembers it. What blames nobody does not hide what blames the
// image by the same rule: a sidecar may end before the image does.
func (w *Watch) news(seen []judge.Seen) []judge.Seen {
	var news []judge.Seen
	for _, s := range seen {
		if !slices.ContainsFunc(w.window.found, func(f judge.Seen) bool {
			return same(s.Check, f.Check) && (s.Check.Infrastructure || !f.Check.Infrastructure)
		}) {
			w.window.found = append(w.window.found, s)
			news = append(news, s)
		}
	}
	return news
}

// same says whether two checks are of the same rule; a probe's belong to a pod.
func same(a, b judge.Check) bool {
	if judge.Rule(a.Name) {
		return a.Name == b.Name
	}
	return a.Name == b.Name && a.Where == b.Where
}

// findings makes at most two findings of the news: one that blames the image, one that does not.
func (w *Watch) findings(now time.Time, news []judge.Seen) []judge.Finding {
	var all []judge.Finding
	for _, infrastructure := range []bool{false, true} {
		mine := slices.DeleteFunc(slices.Clone(news), func(s judge.Seen) bool { return s.Check.Infrastructure != infrastructure })
		if len(mine) == 0 {
			continue
		}
		f := judge.Finding{At: now, Checks: w.window.trend.Explain(checksOf(mine)), Infrastructure: infrastructure}
		w.recordFound(f, mine)
		all = append(all, f)
	}
	return all
}

// recordFound writes a finding down, one line for each window that it was seen in.
func (w *Watch) recordFound(f judge.Finding, seen []judge.Seen) {
	for len(seen) > 0 {
		sample := seen[0].Sample
		elsewhere := func(s judge.Seen) bool { return !s.Sample.From.Equal(sample.From) }
		f.Checks = checksOf(slices.DeleteFunc(slices.Clone(seen), elsewhere))
		w.Record("finding", judge.Found{Finding: f, Sample: sample})
		seen = slices.DeleteFunc(slices.Clone(seen), func(s judge.Seen) bool { return !elsewhere(s) })
	}
}

// carries says whether users are on the side on trial.
func (w *Watch) carries() bool { return w.shareOnTrial() > 0 }

// sample builds the sample since Begin.
func (w *Watch) sample(now time.Time) judge.Sample {
	s := judge.Sample{Window: w.window.number, Weight: w.window.weight, NoResources: w.noResources, Queries: w.series()}
	trial, ref := w.of(w.window.onTrial), w.of(w.window.onTrial.Other())
	s.OnTrial, s.Reference = w.numbers(trial), w.numbers(ref)
	w.measure(&s, now, 0)
	s.OnTrial.Streams, s.Reference.Streams = len(trial.read), len(ref.read)
	s.OnTrial.Unread, s.Reference.Unread = trial.unread(), ref.unread()
	if ref.read0 {
		s.Reference.Streams = max(1, s.Reference.Streams) // its templates are remembered for the whole watch
	}
	s.OnTrial.Logs, s.Reference.Logs = compare(w.window.logs, ref.known, w.miner, max(50, w.Limits.NewErrorLogs+1))
	s.OnTrial.LogsCut, s.Reference.LogsCut = w.window.logs.cut, ref.known.cut
	if w.concurrent() {
		w.sequence.Weigh(&s)
	}
	return s
}

// measure puts what was served and written in the last d before now into a sample, since Begin for 0. All else of it is the
// same for any d.
func (w *Watch) measure(s *judge.Sample, now time.Time, d time.Duration) {
	trial, ref := w.of(w.window.onTrial), w.of(w.window.onTrial.Other())
	from, to, ok := w.between(d)
	s.From, s.To = w.window.begin, now
	if ok {
		s.From, s.To = from.at, to.at
	}
	s.NoTraffic = !ok || now.Sub(to.at) > blindAfter
	late := time.Time{}
	if d > 0 {
		late = s.From
	}
	for side, n := range map[*side]*judge.Numbers{trial: &s.OnTrial, ref: &s.Reference} {
		n.Window, n.Traffic = to.at.Sub(from.at), difference(from.of(side.name), to.of(side.name))
		w.tellWritten(n, side, late)
	}
	w.usePast(s)
}

// usePast takes the reference's numbers from when it last had traffic, where it is to have none now.
func (w *Watch) usePast(s *judge.Sample) {
	ref := w.window.onTrial.Other()
	idle := ref == plan.Production && w.window.weight == 100 || ref == plan.Gray && w.window.weight == 0
	if !idle && s.Reference.Traffic.Requests > 0 {
		return
	}
	past, ok := w.past[ref]
	if !ok {
		if idle {
			s.Reference.Traffic = judge.Traffic{} // stragglers are no reference
		}
		return
	}
	s.ReferenceIsPast = true
	s.Reference.Traffic, s.Reference.Window = past.reference()
	s.Reference.Usage = past.Usage
	s.Reference.Swing = w.sequence.Swing()
}

// numbers is what one side did since Begin, but for what measure puts in.
func (w *Watch) numbers(s *side) judge.Numbers {
	n := judge.Numbers{Name: string(s.name), Restarts: slices.Clone(w.window.restarts[s.name]), Taken: slices.Clone(w.window.taken[s.name])}
	grace := notReadyAfter
	if s.name != w.window.onTrial {
		grace = 0 // what takes the pods of both sides takes one of gray's first in one of two cases
	}
	n.Pods, n.NotReady = s.serving(time.Now(), grace, n.Restarts)
	n.Usage = s.usages(w.window.number)
	return n
}
