package loki

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/monitor"
)

func TestEveryLineComesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, h := newFake(), &heard{}
		s, n := f.side(), 0
		h.walk(t, s)
		for range 60 { // seconds
			for range 40 {
				time.Sleep(25 * time.Millisecond)
				for i := range 3 { // of one nanosecond
					f.write(0, of(fmt.Sprint("cart-", i)), numbered(n))
					n++
				}
			}
			time.Sleep(time.Nanosecond)
			h.walk(t, s)
		}
		h.once(t, n)
		assert.LessOrEqual(t, len(s.seen), 120*12, "no more is remembered than is asked for again")
	})
}

func TestAFullPageGoesOnAtOnce(t *testing.T) {
	for name, gap := range map[string]time.Duration{"one by one": time.Microsecond, "hundreds of one moment": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, h := newFake(), &heard{}
				s := f.side()
				for i := range 4321 {
					f.write(0, of("cart-1"), numbered(i))
					if i%700 == 699 {
						time.Sleep(time.Nanosecond)
					}
					time.Sleep(gap)
				}
				time.Sleep(time.Nanosecond)
				h.walk(t, s)
				h.once(t, 4321)
			})
		})
	}
}

// Lines of one time are all there is to page by: what Loki cannot be asked for is no silence.
func TestMoreLinesOfOneMomentThanCanBeAskedForAreAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, h := newFake(), &heard{}
		s := f.side()
		for i := range 5000 {
			f.write(0, of("cart-1"), numbered(i))
		}
		time.Sleep(time.Nanosecond)
		var err error
		for more := true; more; {
			more, err = s.Next(t.Context(), h.take)
		}
		require.ErrorContains(t, err, "5000 lines or more have the same time")
	})
}

func TestALateLineIsReadWithinTheLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, h := newFake(), &heard{}
		s := f.side()
		f.write(time.Second, of("cart-1"), "first")
		h.walk(t, s)
		f.write(lag, of("cart-2"), "late, of the same side")
		f.write(lag+time.Second+1, of("cart-2"), "too late")
		h.walk(t, s)
		assert.Equal(t, []string{"first", "late, of the same side"}, h.texts)
	})
}

// TestNothingIsLostOrDoubled, whatever the order in which lines come within the lag and whichever answer fails.
func TestNothingIsLostOrDoubled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2)) // a story that is the same each time
		f, h := newFake(), &heard{}
		s, n := f.side(), 0
		for range 120 {
			for range random.IntN(400) {
				f.write(time.Duration(random.Int64N(int64(lag/2/time.Millisecond)))*time.Millisecond, of(fmt.Sprint("cart-", random.IntN(3))), numbered(n))
				n++
			}
			time.Sleep(time.Second)
			f.fail(nil)
			if random.IntN(3) == 0 {
				f.fail(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "busy", http.StatusServiceUnavailable) })
			}
			for more, err := true, error(nil); more && err == nil; {
				more, err = s.Next(t.Context(), h.take)
			}
		}
		f.fail(nil)
		h.walk(t, s)
		h.once(t, n)
	})
}

func TestThatALineIsTheSameIsToldAsLokiDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, h := newFake(), &heard{}
		s := f.side()
		loud := of("cart-1")
		loud["detected_level"] = "error"
		f.write(1, of("cart-1"), "refused")
		f.write(1, loud, "refused")
		f.write(1, of("cart-2"), "refused")
		f.write(0, of("cart-1"), "refused")
		time.Sleep(time.Nanosecond)
		h.walk(t, s)
		h.walk(t, s)
		assert.Equal(t, slices.Repeat([]string{"refused"}, 4), h.texts)
	})
}

// TestTheLinesOfAContainerComeInOrder though Loki keeps them by level.
func TestTheLinesOfAContainerComeInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, h := newFake(), &heard{}
		s := f.side()
		for i := range 10 {
			labels := of("cart-1")
			labels["detected_level"] = []string{"info", "error"}[i%2]
			f.write(0, labels, fmt.Sprint(i))
			time.Sleep(time.Millisecond)
		}
		h.walk(t, s)
		assert.Equal(t, "0123456789", strings.Join(h.texts, ""))
	})
}

func TestHistoryIsTenMinutesBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, h := newFake(), &heard{}
		s := f.side()
		f.write(11*time.Minute, of("cart-0"), "too old")
		for i := range 2500 {
			f.write(9*time.Minute-time.Duration(i)*time.Millisecond, of("cart-1"), numbered(i))
		}
		require.NoError(t, s.History(t.Context(), h.take))
		for _, i := range []int{0, 1499, 1500, 2499} {
			assert.True(t, slices.Contains(h.texts, numbered(i)), i)
		}
		assert.False(t, slices.Contains(h.texts, "too old"))
		assert.LessOrEqual(t, len(h.texts), 2510)
		h = &heard{}
		h.walk(t, s)
		assert.Empty(t, h.texts, "what was read is no news")
		f.write(0, of("cart-1"), "news")
		time.Sleep(time.Nanosecond)
		h.walk(t, s)
		assert.Equal(t, []string{"news"}, h.texts)
	})
}

func TestHistoryIsBoundedByLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, h := newFake(), &heard{}
		for i := range historyLines + 5000 {
			f.write(9*time.Minute-time.Duration(i)*time.Millisecond, of("cart-1"), numbered(i))
		}
		require.NoError(t, f.side().History(t.Context(), h.take))
		assert.True(t, slices.Contains(h.texts, numbered(historyLines+4999)))
		assert.False(t, slices.Contains(h.texts, numbered(0)))
		assert.InDelta(t, historyLines, len(h.texts), mostLines)
	})
}

// TestAgeIsByTheServersClock: a line must not seem to be younger than it is.
func TestAgeIsByTheServersClock(t *testing.T) {
	for _, ahead := range []time.Duration{-time.Minute, 0, 300 * time.Millisecond, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			f, h := newFake(), &heard{}
			f.clock = ahead
			f.write(3*time.Second, of("cart-1"), "three seconds old")
			h.walk(t, f.side())
			require.Len(t, h.ages, 1)
			assert.GreaterOrEqual(t, h.ages[0], 3*time.Second)
			assert.LessOrEqual(t, h.ages[0], 4*time.Second)
		})
	}
}

// TestAPageGrowsWhileThereIsMore, and never again where that failed once: another limit is not known until it is met.
func TestAPageGrowsWhileThereIsMore(t *testing.T) {
	for most, questions := range map[int]int{0: 10, 3000: 36} {
		synctest.Test(t, func(t *testing.T) {
			f, h := newFake(), &heard{}
			s, failed := f.side(), 0
			f.most = most
			for i := range 32_000 {
				f.write(time.Second, of("cart-1"), numbered(i))
				time.Sleep(time.Microsecond)
			}
			time.Sleep(time.Second)
			for more, err := true, error(nil); more || err != nil; {
				if more, err = s.Next(t.Context(), h.take); err != nil {
					failed++
				}
			}
			h.once(t, 32_000)
			assert.LessOrEqual(t, f.questions(), questions)
			assert.Equal(t, most > 0, failed == 1)
		})
	}
}

func TestAPageThatFailsIsAskedForInHalf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, h := newFake(), &heard{}
		s := f.side()
		f.most = 600
		for i := range 1500 {
			f.write(time.Second, of("cart-1"), numbered(i))
			time.Sleep(time.Millisecond)
		}
		_, err := s.Next(t.Context(), h.take)
		require.ErrorContains(t, err, "max entries limit per query exceeded")
		for range 20 { // a page that grows fails again from time to time
			_, _ = s.Next(t.Context(), h.take)
		}
		h.once(t, 1500)
	})
}

func TestASilentServerIsAskedForFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.fail(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		begun := time.Now()
		_, err := f.side().Next(t.Context(), (&heard{}).take)
		require.ErrorContains(t, err, "no answer within 5s")
		assert.Equal(t, monitor.Patience, time.Since(begun))
		assert.Equal(t, 1, f.questions())
	})
}
