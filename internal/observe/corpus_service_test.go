package observe

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// tick is how often the simulated service goes on.
const tick = 250 * time.Millisecond

// readEvery is how often metrics.k8s.io has new readings.
const readEvery = 15 * time.Second

// Buckets of a gateway's histogram, in seconds: those that Traefik has by default, and a finer set.
var (
	traefik = []float64{0.1, 0.3, 1.2, 5}
	fine    = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.4, 0.6, 1, 1.5, 2.5, 5, 10}
)

// service is a simulated service: users, a gateway, the pods of both sides. What a kind does to it stands in its hooks.
type service struct {
	*api
	r *rand.Rand

	// Drawn from the seed.
	rate           float64 // requests/s of all users
	pods           int     // of production
	errors         float64 // usual share of errors, of both sides
	median, spread float64 // of the time an answer takes: log-normal, in seconds
	buckets        []float64
	step           time.Duration
	from, until    time.Duration // of what the kind does, since the first user of gray

	// What the kind does.
	touches  func(weight int) float64 // share of gray's requests that the fault touches; nil: it does not show in requests
	usual    float64                  // share of requests that look touched without a fault
	onlyFull bool                     // it shows at weight 100 only
	many     bool                     // what finds it judges no fewer requests than min-requests
	slowly   bool                     // it shows in slow answers
	hidden   bool                     // the gateway's histogram is too coarse to show it
	shape    func(at time.Duration) (rate, errors float64)
	sticky   bool                            // users stay on their side
	each     func(q *request)                // every request
	during   func(q *request)                // those between from and until
	begins   func(ctx context.Context)       // once, at from, in a goroutine of its own
	leak     func(pod int) float64           // bytes more of a gray pod
	wrong    func() bool                     // what accounts are answered by gray is wrong
	trouble  func(ctx context.Context) error // of the gateway's metrics

	mu       sync.Mutex
	weight   int       // served
	began    time.Time // the first user of gray
	started  bool      // begins was called
	gray     []node
	prod     []node
	counted  map[bool]*counter
	slow     []pending
	readings map[bool]string
	read     time.Time
	tasks    sync.WaitGroup
	passed   []judge.Check // of the steps that are over
}

// node is a pod.
type node struct {
	name    string
	since   time.Time // it has been there
	seconds float64   // of CPU since the last reading
	down    bool      // what it is asked fails
}

// request is one request and what becomes of it.
type request struct {
	gray       bool
	user, path int
	pod        int
	at, age    time.Duration // since the first user of gray; of its pod
	fails      bool
	took, cpu  float64 // seconds
	line       string  // what its pod writes about it
}

// pending is a request that is not answered yet.
type pending struct {
	request

	until time.Time
}

// counter is what the gateway counts of a side.
type counter struct {
	requests, errors float64
	took             []float64 // by bucket
}

// users is how many there are.
const users = 1000

func newService(seed, stream uint64) *service {
	s := &service{api: newAPI(), r: rand.New(rand.NewPCG(seed, stream))}
	s.rate, s.pods = s.scale(2, 500), 2+s.r.IntN(9)
	s.errors = s.pick(0, 0.0005, 0.002, 0.01, 0.02)
	s.median, s.spread = s.scale(0.005, 0.2), s.between(0.3, 0.9)
	s.buckets = traefik
	if s.r.IntN(2) == 0 {
		s.buckets = fine
	}
	s.step = time.Duration(30+s.r.IntN(31)) * time.Second
	if s.r.IntN(2) == 0 {
		s.from = time.Duration(s.between(0, 0.9*3) * float64(s.step))
	}
	s.until = time.Hour
	s.counted = map[bool]*counter{true: s.newCounter(), false: s.newCounter()}
	s.readings = map[bool]string{true: `{"items":[]}`, false: `{"items":[]}`}
	s.metrics = s.answerMetrics
	return s
}

func (s *service) newCounter() *counter { return &counter{took: make([]float64, len(s.buckets)+1)} }

// String names what was drawn.
func (s *service) String() string {
	histogram := "coarse"
	if len(s.buckets) > len(traefik) {
		histogram = "fine"
	}
	return fmt.Sprintf("%.0f requests/s, %d pods, %.2f %% errors, %.0f ms (sigma %.1f), %s histogram, steps of %v, from %.0f s",
		s.rate, s.pods, 100*s.errors, 1000*s.median, s.spread, histogram, s.step, s.from.Seconds())
}

func (s *service) between(a, b float64) float64       { return a + (b-a)*s.r.Float64() }
func (s *service) scale(a, b float64) float64         { return a * math.Pow(b/a, s.r.Float64()) }
func (s *service) pick(of ...float64) float64         { return of[s.r.IntN(len(of))] }
func (s *service) chance(p float64) bool              { return s.r.Float64() < p }
func (s *service) seconds(a, b float64) time.Duration { return time.Duration(s.between(a, b) * 1e9) }

// always is a fault that touches the same share at every weight.
func always(share float64) func(int) float64 { return func(int) float64 { return share } }

func (s *service) poisson(mean float64) int {
	limit, n := math.Exp(-mean), 0
	for p := s.r.Float64(); p > limit; p *= s.r.Float64() {
		n++
	}
	return n
}

// at is the time since the first user of gray; below zero before.
func (s *service) at() time.Duration {
	if s.began.IsZero() {
		return -1
	}
	return time.Since(s.began)
}

// grow makes so many pods of a side.
func (s *service) grow(side plan.Side, size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	nodes, prefix := &s.prod, "cart-"
	if side == plan.Gray {
		nodes, prefix = &s.gray, "cart-gray-"
	}
	for len(*nodes) < size {
		name := fmt.Sprint(prefix, len(*nodes)+1)
		*nodes = append(*nodes, node{name: name, since: time.Now()})
		s.send("ADDED", podOf(side, name))
	}
}

// grayPods is how many gray pods there are at a weight: at least a tenth of production.
func (s *service) grayPods(weight int) int {
	return max(1, s.pods/10, int(plan.PodsFor(weight, int32(s.pods))))
}

// route serves a weight from now on.
func (s *service) route(weight int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.weight = weight
	if weight > 0 && s.began.IsZero() {
		s.began = time.Now()
	}
	if weight == 100 && s.onlyFull {
		s.from = s.at()
	}
}

// serve lives until ctx ends. It goes on between the looks of the watch, so that each run of a seed is the same.
func (s *service) serve(ctx context.Context) {
	defer s.tasks.Wait()
	for pause(ctx, tick) {
		s.mu.Lock()
		s.goOn(ctx)
		s.mu.Unlock()
	}
}

func (s *service) goOn(ctx context.Context) {
	at := s.at()
	if s.begins != nil && !s.started && at >= s.from {
		s.started = true
		s.tasks.Go(func() { s.begins(ctx) })
	}
	s.finish()
	rate, errors := 1.0, 1.0
	if s.shape != nil {
		rate, errors = s.shape(at)
	}
	for range s.poisson(s.rate * rate * tick.Seconds()) {
		s.handle(s.request(at, errors))
	}
	if time.Since(s.read) >= readEvery {
		s.readUsage()
	}
}

func (s *service) request(at time.Duration, errors float64) request {
	q := request{user: s.r.IntN(users), path: s.r.IntN(100), at: at, cpu: 0.002}
	q.gray = s.r.IntN(100) < s.weight
	if s.sticky {
		q.gray = q.user*7919%users*100/users < s.weight // a user who came to gray stays there
	}
	nodes := s.nodes(q.gray)
	q.pod = s.r.IntN(len(nodes))
	q.age = time.Since(nodes[q.pod].since)
	q.took = s.median * math.Exp(s.spread*s.r.NormFloat64())
	if s.chance(s.errors * errors) {
		q.fail()
	}
	if s.each != nil {
		s.each(&q)
	}
	if s.during != nil && at >= s.from && at < s.until {
		s.during(&q)
	}
	if nodes[q.pod].down {
		q.fails, q.line = true, ""
	}
	return q
}

// fail is what both sides answer and write when something usual goes wrong.
func (q *request) fail() {
	q.fails, q.line = true, fmt.Sprintf(`{"level":"ERROR","msg":"order %d failed: stock did not answer"}`, q.user)
}

func (s *service) nodes(gray bool) []node {
	if gray {
		return s.gray
	}
	return s.prod
}

// handle lets a request take its time.
func (s *service) handle(q request) {
	s.nodes(q.gray)[q.pod].seconds += q.cpu
	if q.took < tick.Seconds() {
		s.answer(q)
		return
	}
	s.slow = append(s.slow, pending{q, time.Now().Add(time.Duration(q.took * 1e9))})
}

func (s *service) finish() {
	kept := s.slow[:0]
	for _, p := range s.slow {
		if p.until.After(time.Now()) {
			kept = append(kept, p)
			continue
		}
		s.answer(p.request)
	}
	s.slow = kept
}

// answer counts a request that was answered and writes its line.
func (s *service) answer(q request) {
	c := s.counted[q.gray]
	c.requests++
	if q.fails {
		c.errors++
	}
	i := 0
	for i < len(s.buckets) && q.took > s.buckets[i] {
		i++
	}
	c.took[i]++
	if q.line != "" {
		s.write(s.nodes(q.gray)[q.pod].name+"/app", q.line)
	}
}

// traffic is what the gateway says.
func (s *service) traffic(ctx context.Context) (gray, production judge.Traffic, err error) {
	if !pause(ctx, 10*time.Millisecond) {
		return gray, production, ctx.Err()
	}
	s.mu.Lock()
	trouble := s.trouble
	s.mu.Unlock()
	if trouble != nil {
		if err := trouble(ctx); err != nil {
			return gray, production, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counted[true].traffic(s.buckets), s.counted[false].traffic(s.buckets), nil
}

func (c *counter) traffic(bounds []float64) judge.Traffic {
	t, sum := judge.Traffic{Requests: c.requests, Errors: c.errors}, 0.0
	for i, n := range c.took {
		sum += n
		le := math.Inf(1)
		if i < len(bounds) {
			le = bounds[i]
		}
		t.Latency = append(t.Latency, judge.Bucket{Le: le, Count: sum})
	}
	return t
}

// readUsage makes new readings of metrics.k8s.io: 200 MiB a pod, 5 millicores and what requests take.
func (s *service) readUsage() {
	for _, gray := range []bool{true, false} {
		var items []string
		nodes := s.nodes(gray)
		for i := range nodes {
			memory := float64(200<<20) * s.between(0.95, 1.05)
			if gray && s.leak != nil && s.at() >= s.from {
				memory += s.leak(i)
			}
			cpu := 0.005 + nodes[i].seconds/readEvery.Seconds()
			nodes[i].seconds = 0
			items = append(items, fmt.Sprintf(
				`{"metadata":{"name":%q},"timestamp":%q,"window":"15s","containers":[{"name":"app","usage":{"cpu":"%.0fn","memory":"%.0f"}}]}`,
				nodes[i].name, time.Now().UTC().Format(time.RFC3339), cpu*1e9, memory))
		}
		s.readings[gray] = `{"items":[` + strings.Join(items, ",") + `]}`
	}
	s.read = time.Now()
}

func (s *service) answerMetrics(selector string) (int, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return http.StatusOK, s.readings[selector == "side=gray"]
}

// accounts is what the repeated checks with test accounts find.
func (s *service) accounts(ctx context.Context) []judge.Check {
	if !pause(ctx, 20*time.Millisecond) {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	wrong := s.wrong != nil && s.at() >= s.from && s.wrong()
	var all []judge.Check
	for i, n := range s.gray {
		c := judge.Check{Name: "cart of account 1", Verdict: judge.Pass, Where: "Pod " + n.name}
		if wrong && i == 0 {
			c.Verdict, c.Why = judge.Fail, "$.items is [], production answers [\"tea\"]"
		}
		all = append(all, c)
	}
	return all
}

// lock is s.mu around f.
func (s *service) lock(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}
