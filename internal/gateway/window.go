package gateway

import (
	"math"
	"sync"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

const (
	// leastRequests is how many answers in a row must agree. Measured on Traefik 3.7: after 40 of them, deleting gray
	// lost 0 of 3,600 requests; on status alone, 273.
	leastRequests = 40
	// mostRequests bounds how many are asked for to tell two close weights apart. A router's balancer splits exactly,
	// not by chance: 90/10 of 100 and 50/50 of 100 on Traefik 3.7.
	mostRequests = 100
	// unknownShare stands in for the share, in percent, that was served before where this process did not see it.
	unknownShare = 2
	// leastTolerance is how far, as a share, the served weight may be off at any number of requests.
	leastTolerance = 0.02
)

// lastWeight remembers which weights the data plane may still serve: those that stood since the last confirmed one.
type lastWeight struct {
	mu        sync.Mutex
	known     bool
	low, high int
}

func (l *lastWeight) note(percent int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.known {
		l.known, l.low, l.high = true, percent, percent
	}
	l.low, l.high = min(l.low, percent), max(l.high, percent)
}

func (l *lastWeight) confirmed(percent int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known, l.low, l.high = true, percent, percent
}

// window looks at the requests of one replica since a write: do they agree with the weight? Each router of a replica
// has a balancer that splits exactly over some dozens of requests, so the routers are looked at one by one; the
// replica takes a new configuration as a whole, so one router is proof enough.
type window struct {
	want    float64 // share
	before  float64 // nearest share that may still be served; negative: none
	need    float64 // requests
	turned  bool    // at a weight between: the turn has been seen, what follows is all of the new weight
	routers map[string]*stretch
}

// stretch is the recent requests of one router, oldest first.
type stretch struct{ parts []portion }

type portion struct{ gray, production float64 }

func (p portion) total() float64 { return p.gray + p.production }

func newWindow(percent int, l *lastWeight) *window {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := &window{want: float64(percent) / full, before: -1, routers: map[string]*stretch{}}
	switch percent {
	case 0:
		w.need = needForNone(l.low, l.known)
	case full:
		w.need = needForNone(full-l.high, l.known)
	default:
		w.need = between(w.want)
		w.tell(l)
	}
	return w
}

// between is how many requests show a share: ten of the smaller side.
func between(share float64) float64 { return max(leastRequests, 10/min(share, 1-share)) }

// needForNone is how many requests without the other side prove that it gets none: twice the distance of two of its
// requests at the smallest share (percent) that may still be served.
func needForNone(share int, known bool) float64 {
	if !known || share <= 0 {
		share = unknownShare
	}
	return max(leastRequests, 2*full/float64(share))
}

// tell raises the number of requests until the weight can be told from the one before.
func (w *window) tell(l *lastWeight) {
	if !l.known {
		return
	}
	nearest := math.Inf(1)
	for _, percent := range []int{l.low, l.high} {
		share := float64(percent) / full
		if d := math.Abs(share - w.want); d > 0 && d < nearest {
			nearest, w.before = d, share
		}
	}
	if w.before < 0 {
		return
	}
	apart := 3 * (math.Sqrt(w.want*(1-w.want)) + math.Sqrt(w.before*(1-w.before))) / nearest
	w.need = max(w.need, min(math.Ceil(apart*apart), mostRequests))
}

// restart forgets everything seen.
func (w *window) restart() { clear(w.routers) }

// add takes what was counted since the last call. At 0 and 100 a request of the side that must get none, a late
// answer of the old configuration for example, restarts the window.
func (w *window) add(counted []count) {
	parts := map[string]*portion{}
	strayed := false
	for _, c := range counted {
		if c.bucket {
			continue
		}
		p := parts[c.router]
		if p == nil {
			p = &portion{}
			parts[c.router] = p
		}
		if c.side == plan.Gray {
			p.gray += c.value
		} else {
			p.production += c.value
		}
		strayed = strayed || (w.want == 0 && p.gray > 0) || (w.want == 1 && p.production > 0)
	}
	if strayed {
		w.restart()
		return
	}
	for router, p := range parts {
		s := w.routers[router]
		if s == nil {
			s = &stretch{}
			w.routers[router] = s
		}
		s.parts = append(s.parts, *p)
	}
}

// agrees says whether the newest requests of some router, as many as are needed, are split as wanted, and how they
// were; where none agrees, how those of the router that comes nearest in number were.
func (w *window) agrees() (portion, bool) {
	var most portion
	for _, s := range w.routers {
		p := s.newest(w.need)
		if p.total() >= w.need && w.fits(p) {
			if w.turn() {
				return portion{}, false
			}
			return p, true
		}
		if p.total() > most.total() {
			most = p
		}
	}
	return most, false
}

// turn notes the first agreement at a weight between 0 and 100 and starts again: its window began before the turn, so
// its share lies between the old weight and the new one.
func (w *window) turn() bool {
	if w.turned || w.want == 0 || w.want == 1 {
		return false
	}
	w.turned, w.need = true, between(w.want)
	w.restart()
	return true
}

func (w *window) fits(p portion) bool {
	share := p.gray / p.total()
	off := math.Abs(share - w.want)
	tolerance := max(3*math.Sqrt(w.want*(1-w.want)/p.total()), leastTolerance)
	if w.want == 0 || w.want == 1 {
		tolerance = 0
	}
	return off <= tolerance && (w.before < 0 || off < math.Abs(share-w.before))
}

// newest adds up the newest parts until they hold n requests, and drops what is older.
func (s *stretch) newest(n float64) portion {
	var p portion
	for i := len(s.parts) - 1; i >= 0; i-- {
		p.gray += s.parts[i].gray
		p.production += s.parts[i].production
		if p.total() >= n {
			s.parts = s.parts[i:]
			break
		}
	}
	return p
}
