package judge

import (
	"math"
	"time"
)

// swing measures how many times more the errors of the reference vary from one stretch of time to the next than they would
// if each happened by itself: clients that ask again, a dependency that comes and goes and the time of day make it more
// than 1. It is Pearson's chi-square by degree of freedom, the usual estimate for counts (McCullagh and Nelder, Generalized
// Linear Models, 1989, 4.5.2 and 6.2.3).
type swing struct {
	begun            time.Time
	now              Counts // of the stretch that is not over
	stretches        int
	requests, errors float64
	squares          float64 // sum of errors²/requests
}

// stretch is as long as the longest window that slides: see Watch.
const stretch = 10 * time.Second

// begin leaves out what was not watched for a whole stretch.
func (w *swing) begin(now time.Time) { w.begun, w.now = now, Counts{} }

func (w *swing) add(now time.Time, c Counts) {
	w.now.Requests, w.now.Errors = w.now.Requests+c.Requests, w.now.Errors+c.Errors
	if now.Sub(w.begun) < stretch {
		return
	}
	if w.now.Requests > 0 {
		w.stretches++
		w.requests, w.errors = w.requests+w.now.Requests, w.errors+w.now.Errors
		w.squares += w.now.Errors * w.now.Errors / w.now.Requests
	}
	w.begin(now)
}

// factor is at least 1, and 1 where too little was seen.
func (w *swing) factor() float64 {
	if w.stretches < 2 || w.errors == 0 {
		return 1
	}
	chi2 := w.squares*w.requests/w.errors - w.errors
	return math.Max(1, chi2/float64(w.stretches-1))
}
