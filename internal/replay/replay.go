// Package replay judges the evidence of a run again, offline: with the limits that it had, which must give the same
// verdicts, or with others, to see what they would have done.
package replay

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
)

// Schema is the version of the evidence's lines (docs/evidence.md): the one that is written, and can be replayed.
const Schema = 2

// Window is one weight with one side on trial, as it ended then and as it ends now.
type Window struct {
	Number  int
	OnTrial string
	Weight  int // percent of requests configured to go to gray
	From    time.Time
	Then    End
	Now     End
}

// End is how a window ended, or was ended, and when. Open: the evidence stops before it does.
type End struct {
	At       time.Time
	Open     bool
	AtOnce   bool // by a finding, not at the end of the step
	Verdict  judge.Verdict
	Deciding []judge.Check // those that made the verdict
}

// goesOn says that the window was not over: what has too little evidence waits.
func (e End) goesOn() bool { return e.Open || e.Verdict == judge.Inconclusive }

// Result is what a replay found.
type Result struct {
	Limits      judge.Limits // it was replayed with
	Changed     bool         // they are not those of the run
	Windows     []Window
	Blocks      int      // weighed, of traffic and of logs
	Samples     int      // judged
	Cut         bool     // the last line was not written in full, and is left out
	Differences []string // from what was recorded, at most maxDifferences; only where the limits are those of the run
}

// maxDifferences bounds what a file that does not fit tells of it.
const maxDifferences = 20

// maxLine is the longest line of evidence in bytes: a sample holds at most fifty log lines of a stated length.
const maxLine = 16 << 20

// Replay reads evidence (JSON lines, schema 2: see docs/evidence.md) and judges it again. change is given the limits of
// the run and returns those to judge with. A last line that a killed run did not write in full is left out. The error says
// which line cannot be replayed, and why.
func Replay(r io.Reader, change func(judge.Limits) (judge.Limits, error)) (Result, error) {
	p := player{sequence: judge.NewSequence(), change: change}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	lines.Split(whole)
	for lines.Scan() {
		p.number++
		if p.result.Cut = torn(lines.Bytes()); p.result.Cut {
			break // it is the last one
		}
		if err := p.line(lines.Bytes()); err != nil {
			return Result{}, fmt.Errorf("line %d: %w", p.number, err)
		}
	}
	if err := lines.Err(); err != nil {
		return Result{}, fmt.Errorf("line %d: %w", p.number+1, err)
	}
	p.sameEnds()
	if p.run == nil {
		return Result{}, errors.New("there is no line of kind \"limits\" in it: it is no evidence of an upgrade that was watched")
	}
	return p.result, nil
}

// whole splits like bufio.ScanLines, and leaves each line its end.
func whole(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i+1], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

// torn says that a line is what a killed run leaves: the last one, without its end, and no JSON.
func torn(line []byte) bool { return !bytes.HasSuffix(line, []byte("\n")) && !json.Valid(line) }

// player goes through the lines.
type player struct {
	change   func(judge.Limits) (judge.Limits, error)
	number   int
	run      *judge.Limits // limits of the run
	sequence *judge.Sequence
	result   Result
}

func (p *player) line(text []byte) error {
	var l struct {
		T    time.Time       `json:"t"`
		Kind string          `json:"kind"`
		V    json.RawMessage `json:"v"`
	}
	if err := json.Unmarshal(text, &l); err != nil {
		return fmt.Errorf("it is no line of evidence: %w", err)
	}
	if p.number == 1 && l.Kind != "header" {
		return errors.New("the first line is not of kind \"header\": it is no evidence file of gray-upgrade")
	}
	switch l.Kind {
	case "header":
		return p.header(l.V)
	case "limits":
		return p.limits(l.V)
	case "block":
		return decode(l.V, p.block)
	case "log-block":
		return decode(l.V, p.logBlock)
	case "sample":
		return decode(l.V, func(s judge.Sample) { p.sample(s) })
	case "finding":
		return decode(l.V, p.finding)
	case "verdict":
		return decode(l.V, func(j judge.Judged) { p.verdict(l.T, j) })
	}
	return nil // what is done, and not what is seen
}

func decode[T any](text json.RawMessage, take func(T)) error {
	var v T
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	take(v)
	return nil
}

func (p *player) header(text json.RawMessage) error {
	var h struct{ Schema int }
	if err := json.Unmarshal(text, &h); err != nil {
		return err
	}
	if h.Schema != Schema {
		return fmt.Errorf("its schema is %d, this version of gray-upgrade replays schema %d: use the version that wrote it", h.Schema, Schema)
	}
	return nil
}

func (p *player) limits(text json.RawMessage) error {
	var run judge.Limits
	err := json.Unmarshal(text, &run)
	if err != nil {
		return err
	}
	p.run = &run
	p.result.Limits, err = p.change(run)
	p.result.Changed = p.result.Limits != run
	return err
}

func (p *player) block(b judge.Block) {
	p.result.Blocks++
	p.sequence.Add(b)
}

func (p *player) logBlock(b judge.LogBlock) {
	p.result.Blocks++
	p.sequence.AddLogs(b)
}

// weigh puts the evidence as it is computed now into a sample, and says where it is not what was recorded.
func (p *player) weigh(s judge.Sample) judge.Sample {
	p.result.Samples++
	if s.Evidence == nil {
		return s
	}
	then, logs := *s.Evidence, s.OnTrial.Logs
	p.sequence.Weigh(&s)
	p.compare("evidence of errors", then.Errors, s.Evidence.Errors)
	p.compare("evidence of slow answers", then.Slow, s.Evidence.Slow)
	p.compare("evidence of new log templates", then.NewLogs, s.Evidence.NewLogs)
	for i, l := range logs {
		p.compare("evidence of a new log line", l.Evidence, s.OnTrial.Logs[i].Evidence)
	}
	return s
}

func (p *player) compare(what string, then, now float64) {
	if math.Abs(then-now) > 1e-6*math.Max(then, now) {
		p.differ("%s: %g, recorded %g", what, now, then)
	}
}

func (p *player) differ(format string, args ...any) {
	if len(p.result.Differences) < maxDifferences && !p.result.Changed {
		p.result.Differences = append(p.result.Differences, fmt.Sprintf("line %d: ", p.number)+fmt.Sprintf(format, args...))
	}
}

// window is the one that a sample belongs to.
func (p *player) window(s judge.Sample) *Window {
	all := p.result.Windows
	if n := len(all); n > 0 && all[n-1].Number == s.Window {
		return &all[n-1]
	}
	open := End{Open: true}
	p.result.Windows = append(all, Window{Number: s.Window, OnTrial: s.OnTrial.Name, Weight: s.Weight, From: s.From, Then: open, Now: open})
	return &p.result.Windows[len(all)]
}

// sample judges what the watch looked at: it may end the window now.
func (p *player) sample(s judge.Sample) []judge.Check {
	s = p.weigh(s)
	bad := judge.AtOnce(s, p.result.Limits)
	if w := p.window(s); w.Now.goesOn() && len(bad) > 0 {
		w.Now = End{At: s.To, AtOnce: true, Verdict: judge.Fail, Deciding: bad}
	}
	return bad
}

// finding ended the window then. What a probe or the watch itself found has no rule: it is taken as it is.
func (p *player) finding(f judge.Found) {
	bad := p.sample(f.Sample)
	w := p.window(f.Sample)
	if w.Then.goesOn() {
		w.Then = End{At: f.At, AtOnce: true, Verdict: judge.Fail, Deciding: f.Checks}
	}
	for _, c := range f.Checks {
		switch {
		case !judge.Rule(c.Name):
			if w.Now.goesOn() {
				w.Now = End{At: f.At, AtOnce: true, Verdict: judge.Fail, Deciding: []judge.Check{c}}
			}
		case !slices.ContainsFunc(bad, func(b judge.Check) bool { return b.Name == c.Name }):
			p.differ("%s does not fail, recorded: %s", c.Name, c.Why)
		}
	}
}

// verdict ended the step, unless it was ended before. A step may be judged more than once, until it has enough evidence.
func (p *player) verdict(at time.Time, j judge.Judged) {
	s := p.weigh(j.Sample)
	w, checks := p.window(s), judge.Judge(s, p.result.Limits)
	for _, c := range j.Checks {
		if !judge.Rule(c.Name) { // an account, a monitor: taken as it is
			checks = append(checks, c)
		}
	}
	if !w.Then.AtOnce {
		w.Then = ended(at, j.Checks, *p.run)
	}
	if !w.Now.AtOnce {
		w.Now = ended(at, checks, p.result.Limits)
	}
	for _, c := range checks {
		i := slices.IndexFunc(j.Checks, func(o judge.Check) bool { return o.Name == c.Name })
		found := slices.ContainsFunc(j.Found, func(f judge.Seen) bool { return f.Check.Name == c.Name })
		if !found && (i < 0 || j.Checks[i].Verdict != c.Verdict) {
			p.differ("%s: %s, which is not what was recorded: %s", c.Name, c.Verdict, c.Why)
		}
	}
}

// sameEnds says which windows end otherwise than they did.
func (p *player) sameEnds() {
	for _, w := range p.result.Windows {
		if w.Then.Verdict != w.Now.Verdict || w.Then.AtOnce != w.Now.AtOnce {
			p.differ("window %d: %s, recorded %s", w.Number, w.Now, w.Then)
		}
	}
}

// ended is the end that checks make.
func ended(at time.Time, checks []judge.Check, l judge.Limits) End {
	if bad := judge.Failed(checks); len(bad) > 0 {
		return End{At: at, Verdict: judge.Fail, Deciding: bad}
	}
	if missing := judge.Missing(checks, l); len(missing) > 0 {
		return End{At: at, Verdict: judge.Inconclusive, Deciding: missing}
	}
	return End{At: at, Verdict: judge.Pass}
}
