package judge

import (
	"fmt"
	"math"
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
	Lines []Lines `json:"lines"`
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
	Errors float64 `json:"errors"`
	Slow   float64 `json:"slow"`
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

// weigh decides a check whose number was found to be above its limit, by the evidence that this is more than chance.
func (c Check) weigh(evidence, need float64) Check {
	if !usable(evidence, need) {
		return c.unknown("the evidence is unusable: %s", c.Why)
	}
	c.Evidence, c.Need = evidence, need
	c.Why += fmt.Sprintf("; evidence %s, %.0f needed", odds(evidence), need)
	switch {
	case evidence >= need:
		c.Verdict = Fail
	case evidence >= doubt*need:
		c.Verdict = Inconclusive
	default:
		c.Verdict = Pass
		c.Why += ": chance explains it"
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
// Statistics 2021), not multiplied.
type Sequence struct {
	window       int
	split        split
	errors, slow bets
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
	q.errors.add(b.To, share, b.OnTrial.Errors, b.Reference.Errors, causes(b.OnTrial.Errors+b.Reference.Errors))
	q.errors.learn(b.Reference.Errors, b.Reference.Requests)
	q.addSlow(b, share)
}

// AddLogs weighs one more block of the logs.
func (q *Sequence) AddLogs(b LogBlock) {
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
	q.slow.add(b.To, share, p.OnTrial.Slow, p.Reference.Slow, 1)
	q.slow.learn(p.Reference.Slow, p.Reference.Requests)
	q.pending, q.since = Block{}, b.To
}

// oneCause is how many errors of one block are taken to have one cause at most: a page that asks for ten things at once.
const oneCause = 10

// causes is how many causes so many errors of one block have at least. A block of many errors counts as so many blocks
// (the product of gains raised to 1/oneCause each: safe by Hölder's inequality while no cause makes more).
func causes(errors float64) float64 { return math.Max(1, errors/oneCause) }

// split is the share of requests that goes to the side on trial, measured. It forgets slowly, since users who stay
// where they are make it drift.
type split struct{ trial, all float64 }

// Weights of the configured share before anything is measured, and of what is remembered, in requests.
const (
	configured = 20
	remembered = 1000
)

// add takes a block and returns the share (0..1) with it.
func (m *split) add(b Block) float64 {
	if m.all == 0 {
		m.trial, m.all = float64(b.Share)/100*configured, configured
	}
	fresh := b.OnTrial.Requests + b.Reference.Requests
	keep := math.Min(1, remembered/(m.all+fresh))
	m.trial, m.all = keep*(m.trial+b.OnTrial.Requests), keep*(m.all+fresh)
	return m.trial / m.all
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
	return Evidence{Errors: q.errors.capital(), Slow: q.slow.capital()}
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
	last             time.Time
	events, requests float64 // of the reference so far
}

// bet holds the logarithms of capitals, one for each of the faults.
type bet struct{ log [len(faults)]float64 }

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
	maxBets = 200 // then no more are begun: 100 minutes of watching
)

func (b *bets) begin(now time.Time) {
	if len(b.begun) < maxBets {
		b.begun, b.last = append(b.begun, bet{}), now
	}
}

// add bets on the events of a block that have at least so many causes; share (0..1) of them are expected on trial.
func (b *bets) add(now time.Time, share, onTrial, reference, causes float64) {
	if now.Sub(b.last) >= renew {
		b.begin(now)
	}
	all := onTrial + reference
	if all <= 0 || !(share > 0 && share < 1) {
		return
	}
	known := (b.events + usual*usualWeight) / (b.requests + usualWeight)
	for i, fault := range faults {
		win, lose := odd(1+fault/known, share)
		gain := gain(onTrial/all, win, lose, causes)
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

// gain is the logarithm of what a block multiplies the capital by: the part of its events that was on trial wins by
// win, the rest of them loses by lose.
func gain(part, win, lose, causes float64) float64 {
	if causes == 1 {
		return math.Log(part*win + (1-part)*lose)
	}
	return causes * (part*math.Log(win) + (1-part)*math.Log(lose))
}

// learn takes what the reference did in a block that was bet on: the next bets rest on it.
func (b *bets) learn(events, requests float64) {
	b.events, b.requests = b.events+events, b.requests+requests
}

// firstBet is the part of the capital that is on the first bet; the rest is on all that come later.
const firstBet = 2.0 / 3

// capital is that of all bets, and what is set aside.
func (b *bets) capital() float64 {
	sum, rest := 0.0, 1.0
	for k := range b.begun {
		part := firstBet
		if k > 0 {
			part = (1 - firstBet) / float64(k*(k+1))
		}
		rest -= part
		for _, log := range b.begun[k].log {
			sum += part * math.Exp(log) / float64(len(faults))
		}
	}
	return bounded(sum + rest)
}

// bounded keeps a capital a number that JSON can hold.
func bounded(v float64) float64 { return math.Min(v, 1e12) }
