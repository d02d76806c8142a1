package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// Lengths in runes that foreign text is cut to. An object's name has 253 at most.
const (
	nameLength   = 253
	imageLength  = 300
	cellLength   = 300
	reasonLength = 1000
)

// verdict says in one line what happened to the service, and the sign that goes before it. It holds foreign text.
func verdict(s plan.Story) (sign, line string) {
	service := named(s.Target)
	switch s.Outcome {
	case "":
		return "⏳", fmt.Sprintf("running: %s at %d %% on gray: %s", service, s.Weight, now(s))
	case plan.Promoted:
		return "✅", fmt.Sprintf("promoted: all users of %s are on %s, gray is gone", service, short(s.To))
	case plan.Unchanged:
		return "✅", fmt.Sprintf("unchanged: %s runs %s already; %s", service, short(s.To), unchanged(s.Entries))
	case plan.Planned:
		return "📋", fmt.Sprintf("planned: %s to %s in %d steps, nothing was changed", service, short(s.To), len(s.Plan.Steps))
	case plan.Passed:
		return "✅", fmt.Sprintf("passed: %s passed its offline test for %s, no user met it; it may try again", short(s.To), service)
	case plan.RolledBack:
		if offline(s) {
			return "❌", fmt.Sprintf("offline test failed: no user of %s met %s%s", service, short(s.To), strings.Replace(held(s), " and is", ", which is", 1))
		}
		return "❌", fmt.Sprintf("rolled back: %s; %s failed%s", users(s, short(s.From)), short(s.To), held(s))
	case plan.Closed:
		if s.Failure == nil {
			return "✅", fmt.Sprintf("closed: %s; %s", users(s, "production"), brought(s.Entries))
		}
		return "⚠️", fmt.Sprintf("closed: %s; not the image's fault, no hold, a rerun is fine", users(s, "production"))
	case plan.Undecided:
		if s.Failure != nil && s.Failure.Fault == plan.FaultInfrastructure {
			return "⚠️", fmt.Sprintf("inconclusive: %s was not changed, what was asked for could not be seen; a rerun is fine", service)
		}
		return "⚠️", fmt.Sprintf("inconclusive: %s; not enough evidence to go on, no hold, a rerun is fine", users(s, "production"))
	case plan.Interrupted:
		return "⚠️", fmt.Sprintf("interrupted: %s; no hold, a rerun is fine", users(s, "production"))
	case plan.Invalid:
		return "❌", fmt.Sprintf("invalid: %s was not changed, the input must be mended first", service)
	case plan.Refused:
		return "⛔", fmt.Sprintf("refused: this run did not upgrade %s", service)
	case plan.Stuck:
		if !found(s) {
			return "🛑", fmt.Sprintf("A PERSON MUST ACT: the close of %s could not begin, nobody knows how many of its users are on gray", service)
		}
		return "🛑", fmt.Sprintf("A PERSON MUST ACT: the close of %s is not confirmed, %d %% of its requests are configured for gray", service, s.Weight)
	}
	return "❓", fmt.Sprintf("%s: %s", s.Outcome, service)
}

// unchanged says what was done to learn that nothing was to be done.
func unchanged(entries []plan.Entry) string {
	started := func(e plan.Entry) bool { return e.Step.Kind == plan.StartGray }
	switch {
	case slices.ContainsFunc(entries, started):
		return "gray was started without users to learn the image's digest, and was removed again"
	case len(entries) > 0:
		return "what an earlier run left was closed, nothing else was done"
	}
	return "nothing was done"
}

// brought says of a close that was asked for what it did. Whether an image is on hold, it neither knows nor changes.
func brought(entries []plan.Entry) string {
	if len(entries) == 0 {
		return "there was nothing left to close"
	}
	return "what an earlier run left was brought home"
}

// held says of a failed image whether it is on hold: a digest that is not known cannot be.
func held(s plan.Story) string {
	if s.Held == "" {
		return "; its digest could not be learned, so nothing is on hold: give the image by digest"
	}
	return " and is on hold until it passes an offline test"
}

// offline says whether the run was an offline test, which no user meets.
func offline(s plan.Story) bool {
	return slices.ContainsFunc(s.Plan.Steps, func(p plan.Step) bool { return p.Kind == plan.RecordPass })
}

// users says where they are, by the weight that is configured and not by what the outcome promises.
func users(s plan.Story, side string) string {
	service := named(s.Target)
	if !found(s) {
		return fmt.Sprintf("%s was not looked at, and not changed", service)
	}
	if s.Weight != 0 {
		return fmt.Sprintf("%d %% of the requests of %s are still configured for gray", s.Weight, service)
	}
	if s.ClosedIn > 0 {
		return fmt.Sprintf("all users of %s are on %s, gray was closed in %s s", service, side, number(s.ClosedIn))
	}
	return fmt.Sprintf("all users of %s are on %s", service, side)
}

// found says whether the run got as far as the objects of its service; without, nothing is known of its users.
func found(s plan.Story) bool { return s.Target.Deployment != "" }

// named is the service as people call it, as far as it is known.
func named(t plan.Target) string {
	switch {
	case t.Service == "":
		return "the service"
	case t.Namespace == "":
		return t.Service
	}
	return t.Namespace + "/" + t.Service
}

// now names the running step, or the last one that ended.
func now(s plan.Story) string {
	if len(s.Entries) == 0 {
		return "starting"
	}
	return s.Entries[len(s.Entries)-1].Step.String()
}

// short is an image as people call it: no registry and folders, twelve digits of the digest.
func short(image string) string {
	name, digest, _ := strings.Cut(clean(image, imageLength), "@")
	name = name[strings.LastIndex(name, "/")+1:]
	if algorithm, hex, ok := strings.Cut(digest, ":"); ok {
		return name + "@" + algorithm + ":" + hex[:min(len(hex), 12)]
	}
	return name
}

// number prints what a person reads of a number: whole ones, or two significant digits, and never NaN or Inf.
func number(f float64) string {
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return "not measured"
	case math.Abs(f) >= 10:
		return strconv.FormatFloat(f, 'f', 0, 64)
	}
	return strconv.FormatFloat(f, 'g', 2, 64)
}

// measure is a number with its unit.
func measure(f float64, unit string) string {
	return strings.TrimSpace(number(f) + " " + unit)
}

// highest is the top of the scale on which both sides are drawn: at least 1 %, less is flat.
func highest(t *judge.Trend) float64 {
	most := 1.0
	for _, v := range slices.Concat(t.OnTrial, t.Reference) {
		most = max(most, sound(v))
	}
	return most
}

// flat says that nothing happened on either side.
func flat(t *judge.Trend) bool {
	return !slices.ContainsFunc(slices.Concat(t.OnTrial, t.Reference), func(v float64) bool { return sound(v) > 0 })
}

// sound is a number that can be drawn.
func sound(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return max(0, v)
}

// course draws how a number of one side went, on the scale of both.
func course(t *judge.Trend, onTrial bool) string {
	if t == nil || flat(t) {
		return ""
	}
	values, most := t.Reference, highest(t)
	if onTrial {
		values = t.OnTrial
	}
	bars := []rune("▁▂▃▄▅▆▇█")
	line := make([]rune, 0, len(values))
	for _, v := range values {
		line = append(line, bars[int(math.Round(sound(v)/most*float64(len(bars)-1)))])
	}
	return fmt.Sprintf("%s (█ = %s %s)", string(line), number(most), t.Unit)
}

// percent is gray's share of the requests served, or "" where none were seen.
func percent(s plan.Share) string {
	if p, seen := s.Percent(); seen {
		return strconv.FormatFloat(p, 'f', 1, 64)
	}
	return ""
}

// span is a length of time for people: 0.4 s, 12.5 s, 2m5s, 1h2m3s.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return ""
	case d < time.Minute:
		return strconv.FormatFloat(math.Round(10*d.Seconds())/10, 'f', -1, 64) + " s"
	}
	return d.Round(time.Second).String()
}

// clock is the time of day; the date stands once on top.
func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("15:04:05")
}

// took is how long an entry lasted, or "" while it runs.
func took(begin, end time.Time) string {
	if begin.IsZero() || end.IsZero() {
		return ""
	}
	return span(end.Sub(begin))
}

// result is the verdict of a step in few words. A check that saw too little does not stop a step by itself (that is the
// engine's to decide, and it would leave an error), but it is said.
func result(s plan.Story, e plan.Entry) string {
	w := judge.Worst(e.Checks)
	switch {
	case w == judge.Fail, e.Error != "" && len(e.Checks) > 0 && w == judge.Inconclusive:
		return string(w)
	case e.Error != "" && s.Outcome != plan.Unchanged:
		return "failed"
	case e.End.IsZero():
		return "running"
	case len(e.Checks) == 0:
		return "done"
	case w == judge.Inconclusive:
		return missed(e.Checks)
	}
	return string(judge.Pass)
}

// missed says which checks of a step saw too little.
func missed(checks []judge.Check) string {
	var names []string
	words := "done"
	for _, c := range checks {
		switch {
		case c.Verdict == judge.Pass:
			words = "passed"
		case c.Verdict == judge.Inconclusive && !c.Absent:
			names = append(names, clean(c.Name, cellLength))
		}
	}
	return words + "; not measured: " + strings.Join(names, ", ")
}

// wrong is why a step went wrong, but for what stands on top already.
func wrong(s plan.Story, e plan.Entry) string {
	if s.Failure != nil && e.Error == s.Failure.What {
		return "as said on top"
	}
	return e.Error
}

// maxNotes is how many notes of one step are shown.
const maxNotes = 10

// notes are those of a step, but for the one that says its error once more.
func notes(e plan.Entry) []string {
	all := slices.DeleteFunc(slices.Clone(e.Notes), func(note string) bool { return note == "closing: "+e.Error })
	if len(all) > maxNotes {
		return append(all[:maxNotes:maxNotes], fmt.Sprintf("and %d more notes", len(all)-maxNotes))
	}
	return all
}

// rank orders verdicts, what a reader must see first.
func rank(v judge.Verdict) int {
	switch v {
	case judge.Fail:
		return 0
	case judge.Inconclusive:
		return 1
	case judge.Pass:
		return 2
	}
	return 3
}
