package judge

import (
	"math"
	"time"
)

// TimeToTell returns about how long it takes to fail an image that answers that share (0..1) more of its requests with an
// error than production, at so many requests a second of both sides together and a weight of gray in percent. usually is the
// share of errors of production; less than one in a thousand is taken as that. ok is false where no evidence can arrive:
// one of the sides has no requests. It is the time in which the logarithm of the capital grows to what is needed on
// average; half of the runs take less (compare TestTimeToTell, which simulates them).
func TimeToTell(share, usually, rate float64, weight int, l Limits) (d time.Duration, ok bool) {
	gray := float64(weight) / 100
	usually = math.Max(usual, usually)
	if !(rate > 0) || !(share > 0) || !(usually < 1) || gray <= 0 || gray >= 1 {
		return 0, false
	}
	// Of one block: errors of gray and of production.
	mine := rate * gray * (usually + share) * typicalBlock.Seconds()
	theirs := rate * (1 - gray) * usually * typicalBlock.Seconds()
	best := 0.0
	for _, fault := range faults {
		win, lose := odd(1+fault/usually, gray)
		part, all := mine/(mine+theirs), mine+theirs
		growth := all * (part*math.Log(win) + (1-part)*math.Log(lose))
		if all > 1 {
			growth = math.Log(part*win + (1-part)*lose)
		}
		best = math.Max(best, growth)
	}
	capital := l.need(forErrors) * float64(len(faults)) / firstBet
	seconds := math.Log(capital) / best * typicalBlock.Seconds()
	if !(best > 0) || seconds > (30*24*time.Hour).Seconds() {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)), true
}

// typicalBlock is how often the watch asks the gateway.
const typicalBlock = 250 * time.Millisecond

// Hidden says where a limit for the 99th percentile cannot be seen: it lies inside a coarse bucket of the gateway's histogram, in
// milliseconds. What is in that bucket is taken to be spread evenly over it, so that a service that is faster than the limit may
// seem slower. ok is false where the limit is near a bound, or there is none.
func Hidden(l Limits, h []Bucket) (from, to float64, ok bool) {
	if l.P99 <= 0 || !sound(h) {
		return 0, 0, false
	}
	bound := l.P99.Seconds()
	for _, b := range h[:len(h)-1] {
		if b.Le >= bound {
			to = b.Le
			break
		}
		from = b.Le
	}
	if to == 0 || !wide(from, to) || to-bound <= nearBound*to || bound-from <= nearBound*from {
		return 0, 0, false
	}
	return 1000 * from, 1000 * to, true
}

// nearBound is how near the bound of a bucket a limit must be to be as good as on it.
const nearBound = 0.05
