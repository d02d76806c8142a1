package main

import (
	"maps"
	"sync"
	"time"
)

// maxPaths bounds what a stranger's paths can cost; the rest is counted as "other".
const maxPaths = 200

// count is how many requests were answered, how many of them with a 5xx, and when the last answer went out.
type count struct {
	Requests   int   `json:"requests"`
	Errors     int   `json:"errors"`
	LastServed int64 `json:"lastServed"` // Unix nanoseconds; 0: none yet
}

func (c *count) add(status int, now time.Time) {
	c.Requests++
	if status >= 500 {
		c.Errors++
	}
	c.LastServed = max(c.LastServed, now.UnixNano())
}

// report is what GET /stats answers. Health probes are in no count; customers are requests that come neither from a
// test account nor from a client that calls itself gray-upgrade.
type report struct {
	Role      string           `json:"role"`
	Version   string           `json:"version"`
	Mode      string           `json:"mode"`
	Started   int64            `json:"started"`
	InFlight  int              `json:"inFlight"`
	Jobs      int              `json:"jobs"`
	Customers count            `json:"customers"`
	Paths     map[string]count `json:"paths"`
	Faults    Faults           `json:"faults"`
	count
}

// stats counts; it may be used from many goroutines.
type stats struct {
	mu sync.Mutex
	r  report
}

func newStats() *stats {
	return &stats{r: report{Started: time.Now().UnixNano(), Paths: map[string]count{}}}
}

func (s *stats) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.r.InFlight++
}

func (s *stats) end(path string, status int, customer bool, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.r.InFlight--
	s.r.add(status, now)
	if customer {
		s.r.Customers.add(status, now)
	}
	if _, known := s.r.Paths[path]; !known && len(s.r.Paths) >= maxPaths {
		path = "other"
	}
	c := s.r.Paths[path]
	c.add(status, now)
	s.r.Paths[path] = c
}

func (s *stats) job() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.r.Jobs++
}

// report is a copy of the counts.
func (s *stats) report() report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.r
	r.Paths = maps.Clone(s.r.Paths)
	return r
}
