package observe

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// kinds are all that the corpus is made of: faults of gray, what is not gray's fault, and good images.
func kinds() []kind {
	return append(append(faults(), accidents()...), clean()...)
}

// faults are of gray.
func faults() []kind {
	return []kind{
		{name: "error burst", want: blamed, draw: func(s *service) {
			s.failing(always(s.between(0.3, 1)), (*request).onGray)
			s.until = s.from + s.seconds(5, 20)
		}},
		{name: "3 to 10 % of errors", want: blamed, draw: func(s *service) {
			s.failing(always(s.between(0.03, 0.1)), (*request).onGray)
		}},
		{name: "1 to 2 % of errors", want: blamed, draw: func(s *service) {
			s.rate = s.scale(50, 500)
			s.failing(always(s.between(0.01, 0.02)), (*request).onGray)
		}},
		{name: "errors below the limit", want: blamed, draw: func(s *service) {
			s.rate = s.scale(50, 500)
			s.failing(always(s.between(0.001, 0.004)), (*request).onGray)
		}},
		{name: "errors of one path", want: blamed, draw: func(s *service) {
			paths, share := 2+s.r.IntN(19), s.between(0.5, 1)
			s.failing(always(share), func(q *request) bool { return q.gray && q.path < paths })
			s.touches = always(share * float64(paths) / 100)
		}},
		{name: "errors of some users", want: blamed, draw: func(s *service) {
			some := 20 + s.r.IntN(181)
			s.failing(always(1), func(q *request) bool { return q.gray && q.user < some })
			s.touches = always(float64(some) / users)
		}},
		{name: "errors of one pod", want: blamed, draw: func(s *service) {
			share := s.between(0.5, 1)
			s.failing(always(share), (*request).onFirstGray)
			s.touches = s.ofOnePod(share)
		}},
		{name: "errors under the full load", want: blamed, draw: func(s *service) {
			share := s.between(0.05, 0.5)
			s.onlyFull, s.many, s.from = true, true, 0 // few requests end the upgrade before
			s.failing(always(share), func(q *request) bool { return q.gray && s.weight == 100 })
		}},
		{name: "slow", want: blamed, draw: func(s *service) {
			s.slowing(always(1), (*request).onGray)
		}},
		{name: "slow tail", want: blamed, draw: func(s *service) {
			s.rate = s.scale(50, 500)
			s.slowing(always(s.scale(0.012, 0.1)), (*request).onGray)
		}},
		{name: "one slow pod", want: blamed, draw: func(s *service) {
			s.slowing(always(1), (*request).onFirstGray)
			s.touches = s.ofOnePod(1)
		}},
		{name: "memory leak", want: blamed, draw: func(s *service) {
			s.many = true
			speed := s.scale(1, 20) * (1 << 20)
			s.leak = func(int) float64 { return speed * (s.at() - s.from).Seconds() }
			room := s.between(512, 2048) * (1 << 20)
			s.begins = func(ctx context.Context) {
				if pause(ctx, time.Duration(room/speed*1e9)) {
					s.ends(ctx, "app", "OOMKilled", 137)
				}
			}
		}},
		{name: "CPU burn", want: blamed, draw: func(s *service) {
			more := s.between(3, 8)
			s.rate, s.many = s.scale(50, 500), true
			s.during = func(q *request) {
				if q.gray {
					q.cpu *= more
				}
			}
		}},
		{name: "crash loop", want: blamed, draw: func(s *service) {
			every := s.seconds(5, 30)
			s.begins = func(ctx context.Context) {
				for pause(ctx, every) {
					s.ends(ctx, "app", "Error", 1)
				}
			}
		}},
		{name: "out of memory", want: blamed, draw: func(s *service) {
			s.begins = func(ctx context.Context) { s.ends(ctx, "app", "OOMKilled", 137) }
		}},
		{name: "a pod that hangs", want: blamed, draw: func(s *service) {
			s.begins = func(context.Context) {
				s.lock(func() {
					s.gray[0].down = true
					s.send("MODIFIED", unready(podOf(plan.Gray, s.gray[0].name), corev1.ConditionFalse, corev1.ConditionFalse))
				})
			}
		}},
		{name: "new stack trace", want: blamed, draw: func(s *service) {
			share := s.between(0.01, 0.05)
			s.touches = always(share)
			s.during = func(q *request) {
				if q.gray && s.chance(share) {
					q.line = fmt.Sprintf(`{"level":"ERROR","msg":"cart %d: index out of range","error":{"type":"IndexError"}}`, q.user)
				}
			}
		}},
		{name: "log storm", want: blamed, draw: func(s *service) {
			lines, templates := s.between(5, 50), 1+s.r.IntN(20)
			s.begins = func(ctx context.Context) {
				for i := 0; pause(ctx, time.Duration(1e9/lines)); i++ {
					s.write("cart-gray-1/app", "ERROR "+word(i%templates)+" is not configured")
				}
			}
		}},
		{name: "wrong answers with status 200", want: blamed, draw: func(s *service) {
			s.wrong = func() bool { return true }
		}},
	}
}

func (q *request) onGray() bool      { return q.gray }
func (q *request) onFirstGray() bool { return q.gray && q.pod == 0 }

// failing makes a share of certain requests fail.
func (s *service) failing(share func(weight int) float64, which func(q *request) bool) {
	s.touches, s.usual = share, s.errors
	s.during = func(q *request) {
		if which(q) && s.chance(share(s.weight)) {
			q.fail()
		}
	}
}

// slowing makes a share of certain requests take one to three times longer than what is too slow by the documented limit:
// twice the 99th percentile and 100 ms above it. One request in a hundred is above that percentile anyway.
func (s *service) slowing(share func(weight int) float64, which func(q *request) bool) {
	s.touches, s.usual, s.many, s.slowly = share, 0.01, true, true
	p99 := s.median * math.Exp(2.326*s.spread)
	more := math.Max(2*p99, p99+0.1) * s.between(1, 3)
	bound, ok := judge.SlowBound(s.latencies(), judge.Defaults())
	s.hidden = !ok || more < bound
	s.during = func(q *request) {
		if which(q) && s.chance(share(s.weight)) {
			q.took += more
		}
	}
}

// latencies is the histogram of very many answers.
func (s *service) latencies() []judge.Bucket {
	c := s.newCounter()
	before := 0.0
	for i, le := range s.buckets {
		n := 1e6 * math.Erfc(-math.Log(le/s.median)/s.spread/math.Sqrt2) / 2
		c.took[i], before = n-before, n
	}
	c.took[len(s.buckets)] = 1e6 - before
	return c.traffic(s.buckets).Latency
}

// ofOnePod is a fault that touches a share of one gray pod's requests.
func (s *service) ofOnePod(share float64) func(weight int) float64 {
	return func(weight int) float64 { return share / float64(s.grayPods(weight)) }
}

// ends lets a container of the first gray pod end, and run again three seconds later.
func (s *service) ends(ctx context.Context, container, reason string, code int32) {
	var gone *corev1.Pod
	s.lock(func() {
		s.gray[0].down = container == "app"
		gone = podOf(plan.Gray, s.gray[0].name)
		gone.Status.ContainerStatuses[0].Name = container
		gone = ended(gone, fmt.Sprint("containerd://", time.Now().UnixNano()), reason, code)
		s.send("MODIFIED", gone)
	})
	if pause(ctx, 3*time.Second) {
		s.lock(func() {
			s.gray[0].down = false
			s.send("MODIFIED", restarted(gone))
		})
	}
}

// word is a word of its own for each number, without a digit.
func word(i int) string {
	return string([]rune{rune('a' + i%26), rune('a' + i/26%26)}) + "word"
}

// accidents close gray, or do not; nobody is blamed.
func accidents() []kind {
	return []kind{
		{name: "a gray pod is deleted", want: excused, draw: func(s *service) {
			late := s.seconds(1, 5)
			s.begins = func(ctx context.Context) {
				gone := podOf(plan.Gray, "cart-gray-1")
				gone.DeletionTimestamp, gone.DeletionGracePeriodSeconds = &metav1.Time{Time: time.Now()}, new(int64)
				s.lock(func() {
					s.gray[0].down = true
					s.send("MODIFIED", gone)
				})
				if pause(ctx, late) {
					s.lock(func() {
						s.gray[0] = node{name: "cart-gray-another", since: time.Now()}
						s.send("DELETED", gone)
						s.send("ADDED", podOf(plan.Gray, s.gray[0].name))
					})
				}
			}
		}},
		{name: "the gateway's metrics are lost", want: excused, draw: func(s *service) {
			s.trouble = func(context.Context) error {
				s.mu.Lock()
				defer s.mu.Unlock()
				if s.at() >= s.from && s.at() < s.from+15*time.Second {
					return errors.New("connection refused")
				}
				return nil
			}
		}},
		{name: "a sidecar ends", want: excused, draw: func(s *service) {
			s.begins = func(ctx context.Context) { s.ends(ctx, "proxy", "Error", 1) }
		}},
	}
}

// clean is a gray that is like production, whatever happens to both.
func clean() []kind {
	return []kind{
		{name: "steady", want: promoted, draw: func(*service) {}},
		{name: "bursty", want: promoted, draw: func(s *service) {
			s.rate = min(s.rate, 150)
			quiet, loud := s.seconds(2, 15), s.seconds(1, 5)
			s.shape = func(at time.Duration) (rate, errors float64) {
				if (at+time.Hour)%(quiet+loud) > quiet {
					return 4, 1
				}
				return 0.3, 1
			}
		}},
		{name: "tiny traffic", want: promoted, draw: func(s *service) { s.rate = s.scale(0.3, 3) }},
		{name: "both sides degrade", want: promoted, draw: func(s *service) {
			period, errors, slower := s.between(30, 120), s.between(2, 10), s.between(1, 5)
			wave := func(at time.Duration) float64 { return (1 + math.Sin(at.Seconds()/period*2*math.Pi)) / 2 }
			s.shape = func(at time.Duration) (float64, float64) { return 0.5 + wave(at), 1 + errors*wave(at) }
			s.each = func(q *request) { q.took *= 1 + slower*wave(q.at) }
		}},
		{name: "what both depend on fails", want: promoted, draw: func(s *service) {
			share, slower := s.between(0.1, 1), s.pick(0, 0.5, 2)
			s.until = s.from + s.seconds(3, 40)
			s.during = func(q *request) {
				if s.chance(share) {
					q.fails, q.line = true, `{"level":"ERROR","msg":"stock is down"}`
					q.took += slower
				}
			}
		}},
		{name: "noisy neighbour", want: promoted, draw: func(s *service) {
			nodes, slower := 2+s.r.IntN(4), s.between(1.5, 3)
			s.until = s.from + s.seconds(3, 30)
			s.during = func(q *request) {
				if q.pod%nodes == 0 {
					q.took *= slower
					q.cpu *= 1.2
				}
			}
		}},
		{name: "cold start", want: promoted, draw: func(s *service) {
			warm, slower := s.seconds(1, 5), s.between(1.5, 5)
			s.each = func(q *request) {
				if q.gray && q.age < warm {
					q.took *= slower
					q.cpu *= 3
				}
			}
		}},
		{name: "other words at info level", want: promoted, draw: func(s *service) {
			s.each = func(q *request) {
				if q.line == "" && s.chance(0.05) {
					q.line = fmt.Sprintf(`{"level":"info","msg":"order %d took its time, no error"}`, q.user)
					if q.gray {
						q.line = fmt.Sprintf(`{"level":"warn","msg":"slow order %d (error budget kept)"}`, q.user)
					}
				}
			}
		}},
		{name: "users stay on their side", want: promoted, draw: func(s *service) {
			s.sticky = true
			unlucky := 1 + s.r.IntN(100)
			s.each = func(q *request) {
				if q.user < unlucky && s.chance(10*s.errors) {
					q.fail()
				}
			}
		}},
		{name: "clients ask again", want: promoted, draw: func(s *service) {
			again := 1 + s.r.IntN(5)
			s.each = func(q *request) {
				for range again {
					if q.fails {
						s.answer(*q)
					}
				}
			}
		}},
		{name: "rare error lines of both", want: promoted, draw: func(s *service) {
			templates, share := 3+s.r.IntN(50), s.scale(0.0005, 0.01)
			s.each = func(q *request) {
				if s.chance(share) {
					rare := int(float64(templates) * math.Pow(s.r.Float64(), 3)) // some are rarer than others
					q.line = fmt.Sprintf(`{"level":"ERROR","msg":"%s of order %d is odd"}`, word(rare), q.user)
				}
			}
		}},
		{name: "production pods restart", want: promoted, draw: func(s *service) {
			s.begins = func(ctx context.Context) {
				down := func(is bool) { s.lock(func() { s.prod[0].down = is }) }
				down(true)
				if pause(ctx, 3*time.Second) {
					down(false)
				}
			}
		}},
	}
}
