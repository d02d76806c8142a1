package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// retriedHeader marks, on its way to the result, an answer that took Go's transport more than one attempt.
const retriedHeader = "X-Load-Retried"

// flushEvery bounds how far the file of results may be behind, so that another process can follow it.
const flushEvery = 100 * time.Millisecond

// loadOptions is what the load is and where its results go.
type loadOptions struct {
	url, host, out, sideHeader string
	paths                      []string
	rate                       int
	duration, timeout          time.Duration
}

// loadLine is one request as the file of results tells it.
type loadLine struct {
	Sent    int64  `json:"t"`    // Unix nanoseconds
	Done    int64  `json:"done"` // Unix nanoseconds
	Code    int    `json:"code"` // 0: no answer
	Side    string `json:"side"`
	Version string `json:"version"`
	App     bool   `json:"app"` // the shop made the answer, no proxy before it
	Error   string `json:"error"`
	Method  string `json:"method"`
	Seq     uint64 `json:"seq"`
	Lost    bool   `json:"lost"`
	Why     string `json:"why"` // of a lost one: connection, timeout, retried or gateway CODE
}

// loadSummary is what the load prints when it ends.
type loadSummary struct {
	Requests uint64         `json:"requests"`
	Posts    int            `json:"posts"`
	Lost     int            `json:"lost"`
	Whys     map[string]int `json:"whys"`
	Codes    map[string]int `json:"codes"` // "0": no answer
	Sides    map[string]int `json:"sides"`
	Versions map[string]int `json:"versions"`
	Rate     float64        `json:"rate"` // sent per second
	P50      float64        `json:"p50Ms"`
	P99      float64        `json:"p99Ms"`
	Max      float64        `json:"maxMs"`
}

// runLoad sends requests at a constant rate, whatever the answers take, until the duration is over or SIGTERM or
// SIGINT comes; requests in flight then finish. Its error says that the load could not be made, not that
// requests were lost: that is in the summary.
func runLoad(args []string) error {
	o, err := readLoadOptions(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	var out io.WriteCloser = nopCloser{io.Discard}
	if o.out != "" {
		if out, err = os.Create(o.out); err != nil {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	summary, err := load(ctx, o, out)
	if err = errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	return json.NewEncoder(os.Stdout).Encode(summary)
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func readLoadOptions(args []string) (loadOptions, error) {
	var o loadOptions
	var paths string
	f := flag.NewFlagSet("load", flag.ContinueOnError)
	f.StringVar(&o.url, "url", "", "base URL of the gateway")
	f.StringVar(&o.host, "host", "", "Host header; empty: the URL's")
	f.StringVar(&paths, "paths", "/,/cart", "paths, taken in turn")
	f.IntVar(&o.rate, "rate", 200, "requests per second; every fourth is a POST")
	f.DurationVar(&o.duration, "duration", 120*time.Second, "how long; 0: until a signal")
	f.DurationVar(&o.timeout, "timeout", 5*time.Second, "time an answer may take")
	f.StringVar(&o.sideHeader, "side-header", "X-Gray-Upgrade-Side", "response header that names the side")
	f.StringVar(&o.out, "out", "", "file of results, one JSON line per request; empty: none")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.paths = strings.Split(paths, ",")
	base, err := url.Parse(o.url)
	switch {
	case len(f.Args()) > 0:
		return o, fmt.Errorf("load: unexpected argument %q", f.Arg(0))
	case err != nil || base.Scheme == "" || base.Host == "":
		return o, fmt.Errorf("load: --url=%q must be a URL such as http://198.19.0.10", o.url)
	case o.rate < 1:
		return o, fmt.Errorf("load: --rate=%d must be at least 1", o.rate)
	}
	return o, nil
}

// load makes the load and writes the lines as results come in.
func load(ctx context.Context, o loadOptions, out io.Writer) (loadSummary, error) {
	attacker := vegeta.NewAttacker(vegeta.Client(loadClient(o.timeout)), vegeta.Workers(64), vegeta.MaxWorkers(4096))
	defer context.AfterFunc(ctx, func() { attacker.Stop() })()
	results := attacker.Attack(loadTargets(o), vegeta.Rate{Freq: o.rate, Per: time.Second}, o.duration, "")
	t := newTally()
	var pending bytes.Buffer
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case r, more := <-results:
			if !more {
				_, err := pending.WriteTo(out)
				return t.summary(), err
			}
			line := lineOf(r, o.sideHeader)
			t.add(r, line)
			if err := json.NewEncoder(&pending).Encode(line); err != nil {
				return t.summary(), err
			}
		case <-tick.C:
			if _, err := pending.WriteTo(out); err != nil {
				attacker.Stop()
				return t.summary(), err
			}
		}
	}
}

// loadTargets takes the paths in turn; every fourth request is a POST, on every path now and then.
func loadTargets(o loadOptions) vegeta.Targeter {
	var count atomic.Uint64
	base := strings.TrimSuffix(o.url, "/")
	return func(t *vegeta.Target) error {
		n := count.Add(1) - 1
		*t = vegeta.Target{Method: http.MethodGet, Header: http.Header{"User-Agent": {"shop-load"}}}
		t.URL = base + o.paths[(n+n/4)%uint64(len(o.paths))]
		if o.host != "" {
			t.Header.Set("Host", o.host)
		}
		if n%4 == 3 {
			t.Method, t.Body = http.MethodPost, fmt.Appendf(nil, `{"sku":%d,"count":1}`, 1000+n%97)
			t.Header.Set("Content-Type", "application/json")
		}
		return nil
	}
}

// loadClient follows no redirect and keeps its connections, as a browser or a proxy does.
func loadClient(timeout time.Duration) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 0, 1000
	return &http.Client{
		Transport:     onceTransport{transport},
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// onceTransport tells answers that came at the first attempt from others: Go's transport sends some requests again
// when a kept connection turns out closed, without a word, and would hide what a client that does not would lose.
type onceTransport struct{ next http.RoundTripper }

// RoundTrip sends the request and marks an answer that needed more than one connection.
func (t onceTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	var connections atomic.Int32
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connections.Add(1) }}
	resp, err := t.next.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
	if err == nil && connections.Load() > 1 {
		resp.Header.Set(retriedHeader, strconv.Itoa(int(connections.Load())))
	}
	return resp, err
}

// lineOf tells a result.
func lineOf(r *vegeta.Result, sideHeader string) loadLine {
	l := loadLine{
		Sent: r.Timestamp.UnixNano(), Done: r.End().UnixNano(), Seq: r.Seq, Method: r.Method,
		Code: int(r.Code), Error: r.Error,
		Side: r.Headers.Get(sideHeader), Version: versionOf(r), App: r.Headers.Get("X-Shop") != "",
	}
	l.Why = whyLost(r, l.App)
	l.Lost = l.Why != ""
	return l
}

// versionOf is the version that made the answer, if it says so in X-Version or in a JSON body.
func versionOf(r *vegeta.Result) string {
	if v := r.Headers.Get("X-Version"); v != "" {
		return v
	}
	var body struct{ Version string }
	_ = json.Unmarshal(r.Body, &body) // a body that is no JSON names no version
	return body.Version
}

// whyLost says why a request counts as lost; "": it does not. What the shop itself answers, even a 500, is the
// shop's matter: lost is what did not get to it. A 404 of the gateway is lost too: it has no route left.
func whyLost(r *vegeta.Result, app bool) string {
	switch {
	case r.Headers.Get(retriedHeader) != "":
		return "retried"
	case r.Code == 0 && (strings.Contains(r.Error, "Client.Timeout") || strings.Contains(r.Error, "deadline exceeded")):
		return "timeout"
	case r.Code == 0:
		return "connection"
	case !app && (r.Code >= 500 || r.Code == http.StatusNotFound):
		return fmt.Sprintf("gateway %d", r.Code)
	}
	return ""
}

// tally sums results up.
type tally struct {
	s loadSummary
	m vegeta.Metrics
}

func newTally() *tally {
	return &tally{s: loadSummary{
		Whys: map[string]int{}, Codes: map[string]int{}, Sides: map[string]int{}, Versions: map[string]int{},
	}}
}

func (t *tally) add(r *vegeta.Result, l loadLine) {
	t.m.Add(r)
	if l.Method == http.MethodPost {
		t.s.Posts++
	}
	if l.Lost {
		t.s.Lost++
		t.s.Whys[l.Why]++
	}
	t.s.Codes[strconv.Itoa(l.Code)]++
	t.s.Sides[l.Side]++
	t.s.Versions[l.Version]++
}

func (t *tally) summary() loadSummary {
	t.m.Close()
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	s := t.s
	s.Requests, s.Rate = t.m.Requests, t.m.Rate
	s.P50, s.P99, s.Max = ms(t.m.Latencies.P50), ms(t.m.Latencies.P99), ms(t.m.Latencies.Max)
	return s
}
