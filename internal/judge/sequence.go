package judge

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// Block is a short stretch of the watch: what both sides did in it, side by side. The sequence of all blocks of a run is
// what its evidence is computed from, so a block is written down whole.
type Block struct {
	To        time.Time `json:"to"`
	Window    int       `json:"window"` // number of the window it lies in: a new one for each weight
	Share     int       `json:"share"`  // percent of requests configured to go to the side on trial
	OnTrial   Counts    `json:"onTrial"`
	Reference Counts    `json:"reference"`
}

// Counts are of requests that ended in a block. Slow took longer than a bound that was chosen before the block began.
type Counts struct {
	Requests float64 `json:"requests"`
	Errors   float64 `json:"errors,omitempty"`
	Slow     float64 `json:"slow,omitempty"`
}

// LogBlock is a short stretch of the logs: the new error templates that were written in it.
type LogBlock struct {
	To time.Time `json:"to"`
	// Share is that (0..1) of all that is written to the logs that are read which the side on trial would write if it
	// were like the other one: its share of their requests or of their pods, what is larger.
	Share float64 `json:"share"`
	Lines []Lines `json:"lines,omitempty"`
	// How many templates either side wrote for the first time, and the other one not before.
	OnTrial   int `json:"onTrial,omitempty"`
	Reference int `json:"reference,omitempty"`
}

// Lines is how often each side wrote a template that the reference did not write before.
type Lines struct {
	Template  string `json:"template"`
	OnTrial   int    `json:"onTrial,omitempty"`
	Reference int    `json:"reference,omitempty"`
}

// Evidence is the capital of bets that started with 1 against "the side on trial is like the other one": errors and slow
// answers. If it is like the other one, a capital of E or more is ever seen, at whatever moment one looks, in at most one
// run of E.
type Evidence struct {
	Errors  float64 `json:"errors"`
	Slow    float64 `json:"slow"`
	NewLogs float64 `json:"newLogs"` // that new templates turn up on the side on trial first, whatever they are
}

// budget is a family's share of the run's false alarms. Those of all families add up to 1.
type budget float64

// Most of it goes to errors, the smallest of which are hard to tell from chance; a slow or noisy image shows at once.
const (
	forErrors budget = 0.8
	forSlow   budget = 0.1
	forLogs   budget = 0.1
)

// need is the evidence it takes to fail.
func (l Limits) need(b budget) float64 { return 100 / l.FalseAlarmPercent / float64(b) }

// doubt is the part of that evidence from which on a step waits for more of it.
const doubt = 0.1

// weigh decides a check whose number was found to be above its limit, by the evidence that this is more than chance. What is
// gross is never passed for want of evidence: at a high weight it comes slowly (one bet wins at most one by the share of the
// side on trial), and more users would meet it meanwhile.
func (c Check) weigh(evidence, need float64, gross bool) Check {
	if !usable(evidence, need) {
		return c.unknown("the evidence is unusable: %s", c.Why)
	}
	c.Evidence, c.Need = evidence, need
	c.Why += fmt.Sprintf("; the odds against chance are %s : 1, it takes %.0f : 1", odds(evidence), need)
	switch {
	case evidence >= need:
		c.Verdict = Fail
	case evidence >= doubt*need:
		c.Verdict = Inconclusive
	case gross:
		c.Verdict = Inconclusive
		c.Why += ": too much to go on before it is there"
	default:
		c.Verdict = Pass
		c.Why += ": not more than chance, as far as can be told"
	}
	return c
}

// odds writes evidence: nobody reads the difference between a million and more.
func odds(v float64) string {
	switch {
	case v >= 1e6:
		return "more than 1000000"
	case v < 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// Sequence weighs the blocks of one run as they come. It is an e-process: a bet on each block whose expected gain is at
// most nothing while the side on trial is like the other one, so that the capital may be looked at after every block
// without more false alarms (Ville 1939; Ramdas, Grünwald, Vovk and Shafer, "Game-theoretic statistics and safe
// anytime-valid inference", Statistical Science 2023).
//
// What is bet on is who an error happens to. If errors are as likely on both sides, the chance that one happens to the
// side on trial is that side's share of the requests, whatever makes errors rise and fall on both of them (a dependency
// that fails, the time of day). Errors of one block may have one cause, so their gains are averaged, which is safe
// however they depend on each other (Vovk and Wang, "E-values: calibration, combination and applications", Annals of
// Statistics 2021), not multiplied. A balancer that deals requests out in turn and one client that always sends the same
// ones in the same order would make a share of their own: that is assumed not to last.
type Sequence struct {
	window       int
	split        split
	errors, slow bets
	novel        bets  // that new templates turn up on the side on trial first
	pending      Block // slow answers of blocks that are not long enough together
	since        time.Time
	templates    map[string]*template
	swing        swing
}

// template is a new error template: the capital of the bet that only the side on trial writes it.
type template struct {
	prior float64
	log   float64 // of the capital
	known bool    // the reference writes it, too
}

// NewSequence returns the evidence of a run that has not begun.
func NewSequence() *Sequence { return &Sequence{templates: map[string]*template{}} }

// slowBlock is how long a block of slow answers is: a pause of a collector or a busy node slows all requests of a pod
// for seconds, and that is one event.
const slowBlock = 2 * time.Second

// Add weighs one more block.
func (q *Sequence) Add(b Block) {
	if !counts(b.OnTrial) || !counts(b.Reference) {
		return
	}
	if b.Window != q.window {
		q.window, q.pending, q.since = b.Window, Block{}, b.To
		q.split = split{}
		q.errors.begin(b.To)
		q.slow.begin(b.To)
		q.swing.begin(b.To)
	}
	q.swing.add(b.To, b.Reference)
	share := q.split.add(b)
	q.errors.add(b.To, share, b.OnTrial.Errors, b.Reference.Errors)
	q.errors.learn(b.To, b.Reference.Errors, b.Reference.Requests)
	q.addSlow(b, share)
}

// AddLogs weighs one more block of the logs.
func (q *Sequence) AddLogs(b LogBlock) {
	q.novel.add(b.To, b.Share, float64(b.OnTrial), float64(b.Reference))
	for _, l := range b.Lines {
		q.addLines(l, b.Share)
	}
}

func counts(c Counts) bool { return usable(c.Requests, c.Errors, c.Slow) }

func (q *Sequence) addSlow(b Block, share float64) {
	p := &q.pending
	p.OnTrial.Slow += b.OnTrial.Slow
	p.Reference.Slow += b.Reference.Slow
	p.Reference.Requests += b.Reference.Requests
	if b.To.Sub(q.since) < slowBlock {
		return
	}
	q.slow.add(b.To, share, p.OnTrial.Slow, p.Reference.Slow)
	q.slow.learn(b.To, p.Reference.Slow, p.Reference.Requests)
	q.pending, q.since = Block{}, b.To
}

// split is the share of requests that goes to the side on trial, measured. It forgets slowly, since users who stay
// where they are make it drift.
type split struct{ trial, all float64 }

// Weights of the configured share before anything is measured, and of what is remembered, in requests.
const (
	configured = 20
	remembered = 1000
)

// add takes a block and returns the share (0..1) with it: never less than is configured, since what is measured lags behind a
// weight that rises.
func (m *split) add(b Block) float64 {
	wanted := float64(b.Share) / 100
	if m.all == 0 {
		m.trial, m.all = wanted*configured, configured
	}
	fresh := b.OnTrial.Requests + b.Reference.Requests
	keep := math.Min(1, remembered/(m.all+fresh))
	m.trial, m.all = keep*(m.trial+b.OnTrial.Requests), keep*(m.all+fresh)
	return math.Max(m.trial/m.all, wanted)
}

// addLines bets that only the side on trial writes a template. The first line of the other side loses all of it. The
// n-th template that turns up has 1/n(n+1) of the budget, since there may be any number of them.
func (q *Sequence) addLines(l Lines, share float64) {
	t := q.templates[l.Template]
	if t == nil {
		n := float64(len(q.templates) + 1)
		t = &template{prior: 1 / (n * (n + 1))}
		q.templates[l.Template] = t
	}
	t.known = t.known || l.Reference > 0
	if l.OnTrial > 0 && share > 0 && share < 1 {
		t.log -= math.Log(share)
	}
}

// Evidence is what there is now.
func (q *Sequence) Evidence() Evidence {
	return Evidence{Errors: q.errors.capital(), Slow: q.slow.capital(), NewLogs: q.novel.capital()}
}

// Weigh puts the evidence into a sample, whose list of templates becomes another one.
func (q *Sequence) Weigh(s *Sample) {
	e := q.Evidence()
	s.Evidence, s.OnTrial.Logs = &e, slices.Clone(s.OnTrial.Logs)
	for i, l := range s.OnTrial.Logs {
		s.OnTrial.Logs[i].Evidence = q.Template(l.Template)
	}
}

// Swing is how many times more the errors of the reference vary in time than chance makes them, 1 or more: what others do to
// both sides, which is not seen where a side is compared with the past.
func (q *Sequence) Swing() float64 { return q.swing.factor() }

// Template is the evidence that a template is written by the side on trial only.
func (q *Sequence) Template(name string) float64 {
	t := q.templates[name]
	if t == nil || t.known {
		return 0
	}
	return bounded(t.prior * math.Exp(t.log))
}

// bets are bets on who events of one kind happen to, that were begun at several times.
type bets struct {
	begun            []bet
	number           int // of all that were begun
	last             time.Time
	events, requests float64 // of the reference, what is long ago with less weight
	learned          time.Time
}

// bet holds the logarithms of capitals, one for each of the faults, and which one it is, from 0 on.
type bet struct {
	number int
	log    [len(faults)]float64
}

// faults are what is bet on: so large a share of requests more than on the reference. Half of the capital is on the
// smallest fault that matters, half on a gross one.
var faults = [...]float64{0.01, 0.06}

// usual is the share that is taken to be the reference's before anything is known of it, with the weight of so many
// requests.
const (
	usual       = 0.001
	usualWeight = 500
)

// A fault may begin late, when a bet that was begun early has lost most of its capital: new ones are begun with every
// window and every renew, with a part of the capital that was set aside for them.
const (
	renew   = 30 * time.Second
	maxBets = 100 // then the poorest is given up for a new one
)

func (b *bets) begin(now time.Time) {
	if len(b.begun) == maxBets {
		poorest := slices.MinFunc(b.begun, func(x, y bet) int { return cmp.Compare(slices.Max(x.log[:]), slices.Max(y.log[:])) })
		b.begun = slices.DeleteFunc(b.begun, func(x bet) bool { return x.number == poorest.number })
	}
	b.begun, b.last = append(b.begun, bet{number: b.number}), now
	b.number++
}

// add bets on the events of a block; share (0..1) of them are expected on trial.
func (b *bets) add(now time.Time, share, onTrial, reference float64) {
	if len(b.begun) == 0 || now.Sub(b.last) >= renew {
		b.begin(now)
	}
	all := onTrial + reference
	if all <= 0 || !(share > 0 && share < 1) {
		return
	}
	known := (b.events + usual*usualWeight) / (b.requests + usualWeight)
	for i, fault := range faults {
		win, lose := odd(1+fault/known, share)
		part := onTrial / all
		gain := math.Log(part*win + (1-part)*lose)
		for k := range b.begun {
			b.begun[k].log[i] += gain
		}
	}
}

// odd returns what a bet on an event multiplies the capital by if it is on trial, and if it is not: events are taken to be
// ratio times likelier there, and share (0..1) of them are expected there if they are not.
func odd(ratio, share float64) (win, lose float64) {
	return ratio / (ratio*share + 1 - share), 1 / (ratio*share + 1 - share)
}

// halfLife is the time in which what is known of the reference loses half of its weight.
const halfLife = 2 * time.Minute

// learn takes what the reference did in a block that was bet on: the next bets rest on it.
func (b *bets) learn(now time.Time, events, requests float64) {
	keep := 1.0
	if !b.learned.IsZero() {
		keep = math.Exp2(-max(0, now.Sub(b.learned)).Seconds() / halfLife.Seconds())
	}
	b.learned = now
	b.events, b.requests = keep*b.events+events, keep*b.requests+requests
}

// firstBet is the part of the capital that is on the first bet; the rest is on all that come later.
const firstBet = 2.0 / 3

// capital is that of all bets, and what is set aside for those to come.
func (b *bets) capital() float64 {
	if b.number == 0 {
		return 1
	}
	sum := (1 - firstBet) / float64(b.number)
	for _, bet := range b.begun {
		part := firstBet
		if n := float64(bet.number); n > 0 {
			part = (1 - firstBet) / (n * (n + 1))
		}
		for _, log := range bet.log {
			sum += part * math.Exp(log) / float64(len(faults))
		}
	}
	return bounded(sum)
}

// bounded keeps a capital a number that JSON can hold.
func bounded(v float64) float64 { return math.Min(v, 1e12) }
