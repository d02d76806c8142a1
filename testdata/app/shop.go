package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"
)

// shop answers the requests of its role. Every answer carries X-Shop: web, so that who counts failures can tell
// a 5xx of the shop from one of a proxy before it.
type shop struct {
	settings
	log    *slog.Logger
	faults *faultBox
	stats  *stats
	client *http.Client
	number atomic.Uint64 // of requests, for the shares
	exit   func(code int)
	stderr io.Writer
}

// answer is a status and what the body says besides the version.
type answer struct {
	status int
	body   map[string]any
}

func newShop(s settings, log *slog.Logger) (*shop, error) {
	f, err := parseFaults([]byte(s.faults))
	if err != nil {
		return nil, err
	}
	box := &faultBox{version: s.version, mode: s.mode}
	box.put(f)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 100
	return &shop{
		settings: s, log: log, faults: box, stats: newStats(), exit: os.Exit, stderr: os.Stderr,
		client: &http.Client{Transport: transport, Timeout: 2 * time.Second},
	}, nil
}

// ServeHTTP answers one request, counts and logs it. Health probes are neither counted nor logged.
func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	if r.URL.Path == "/healthz" {
		s.write(w, s.health(start))
		return
	}
	account := accountOf(r)
	customer := account == "" && !strings.HasPrefix(r.UserAgent(), "gray-upgrade")
	if customer {
		s.faults.seen(start)
	}
	s.stats.begin()
	a := s.serve(r, account, start)
	s.write(w, a)
	s.stats.end(r.URL.Path, a.status, customer, time.Now())
	if s.access {
		s.log.Info("request", "method", r.Method, "path", r.URL.Path, "status", a.status,
			"ms", float64(time.Since(start).Microseconds())/1000)
	}
}

// serve is the answer after what the faults do to it.
func (s *shop) serve(r *http.Request, account string, now time.Time) answer {
	n := s.number.Add(1)
	f, crash := s.faults.request(now, r.URL.Path)
	if crash {
		s.log.Error("out of order, giving up", "request", n)
		s.exit(2)
	}
	time.Sleep(s.work)
	if f.slow(s.seed, n) {
		time.Sleep(time.Duration(f.SlowMs) * time.Millisecond)
	}
	s.writeLines(f, n)
	switch {
	case f.WrongAnswers:
		return answer{http.StatusOK, map[string]any{}}
	case f.FailAccounts && account != "":
		return answer{http.StatusForbidden, map[string]any{"account": account, "ok": false}}
	case f.errs(s.seed, n):
		s.log.Error("payment backend refused", "order", fmt.Sprintf("%08x", n*2654435761), "amount", n*37%900)
		return answer{http.StatusInternalServerError, map[string]any{"ok": false, "error": "payment backend refused"}}
	}
	return s.page(r, account)
}

// writeLines writes what the faults make request n write.
func (s *shop) writeLines(f Faults, n uint64) {
	if f.NewErrorLog && n%10 == 0 {
		s.log.Error("inventory cache out of step", "sku", 1000+n%97, "behind", n*7%311)
	}
	if f.StackTrace && n%10 == 0 {
		_, _ = fmt.Fprintf(s.stderr, "panic: runtime error: index out of range [%d] with length %d\n\n%s", n%7+3, n%3, debug.Stack())
	}
	for i := range f.LogLines {
		s.log.Warn("cart is recomputed", "order", n, "round", i)
	}
	switch {
	case f.OtherWords && s.mode == "gray":
		s.log.Info("order taken, no error, nothing failed", "order", n)
	case f.OtherWords:
		s.log.Info("taken", "order", n)
	}
}

// page is what the role answers when nothing goes wrong.
func (s *shop) page(r *http.Request, account string) answer {
	switch {
	case r.URL.Path == "/account" && account == "":
		return answer{http.StatusUnauthorized, map[string]any{"ok": false, "error": "no account"}}
	case r.URL.Path == "/account":
		return answer{http.StatusOK, map[string]any{"account": account, "ok": true}}
	case r.URL.Path == "/cart" && s.role == "web" && s.cartURL != "":
		return s.askCart(r)
	case r.URL.Path == "/cart":
		return ownCart(r)
	}
	return answer{http.StatusOK, map[string]any{"ok": true, "path": r.URL.Path}}
}

// ownCart is the cart's answer: a POST adds what it carries.
func ownCart(r *http.Request) answer {
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil {
		return answer{http.StatusBadRequest, map[string]any{"ok": false, "error": "body cut short"}}
	}
	if r.Method == http.MethodPost {
		return answer{http.StatusOK, map[string]any{"ok": true, "added": len(body)}}
	}
	return answer{http.StatusOK, map[string]any{"ok": true, "items": 3}}
}

// askCart hands the request on to the cart's Service; its failure is a 502 of the shop.
func (s *shop) askCart(r *http.Request) answer {
	refused := func(why string) answer {
		s.log.Error("cart does not answer", "error", why)
		return answer{http.StatusBadGateway, map[string]any{"ok": false, "error": "cart does not answer"}}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil {
		return answer{http.StatusBadRequest, map[string]any{"ok": false, "error": "body cut short"}}
	}
	req, err := http.NewRequestWithContext(r.Context(), r.Method, strings.TrimSuffix(s.cartURL, "/")+"/cart", bytes.NewReader(body))
	if err != nil {
		return refused(err.Error())
	}
	if account := accountOf(r); account != "" {
		req.Header.Set("X-Test-Account", account)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return refused(err.Error())
	}
	defer resp.Body.Close()
	var cart map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&cart); err != nil {
		return refused(err.Error())
	}
	if resp.StatusCode >= 500 {
		return refused(resp.Status)
	}
	if !s.nameVersion {
		delete(cart, "version")
		delete(cart, "mode")
	}
	return answer{resp.StatusCode, map[string]any{"ok": resp.StatusCode < 400, "cart": cart}}
}

// accountOf is the test account a request comes from: its header X-Test-Account or its cookie account; "": none.
func accountOf(r *http.Request) string {
	if name := r.Header.Get("X-Test-Account"); name != "" {
		return name
	}
	if c, err := r.Cookie("account"); err == nil {
		return c.Value
	}
	return ""
}

func (s *shop) health(now time.Time) answer {
	if f := s.faults.active(now); f.NeverReady || f.ReadyFail {
		return answer{http.StatusServiceUnavailable, map[string]any{"ok": false}}
	}
	return answer{http.StatusOK, map[string]any{"ok": true}}
}

// write sends the answer; version and mode are named only if they may be.
func (s *shop) write(w http.ResponseWriter, a answer) {
	w.Header().Set("X-Shop", "web")
	w.Header().Set("Content-Type", "application/json")
	if s.nameVersion {
		w.Header().Set("X-Version", s.version)
		a.body["version"], a.body["mode"] = s.version, s.mode
	}
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(a.body) // who hung up misses the answer
}

// runJobs does the work that only production may do: two versions at it would do it twice.
func (s *shop) runJobs(ctx context.Context, every time.Duration) {
	for tick := time.Tick(every); ctx.Err() == nil; <-tick {
		s.stats.job()
		s.log.Info("background job ran", "job", "restock")
	}
}

// admin serves POST /faults and GET /stats.
func (s *shop) admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /faults", func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		f, err := parseFaults(text)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.faults.put(f)
		s.log.Info("faults set", "by", "request")
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		report := s.stats.report()
		report.Role, report.Version, report.Mode, report.Faults = s.role, s.version, s.mode, s.faults.given()
		_ = json.NewEncoder(w).Encode(report)
	})
	return mux
}
