package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// lines makes a short load on the server and hands back what it wrote.
func lines(t *testing.T, url string, change func(*loadOptions)) ([]loadLine, loadSummary) {
	t.Helper()
	o, err := readLoadOptions([]string{"--url", url, "--rate", "100", "--duration", "400ms", "--timeout", "200ms"})
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&o)
	}
	var out bytes.Buffer
	summary, err := load(context.Background(), o, &out)
	if err != nil {
		t.Fatal(err)
	}
	var all []loadLine
	for s := bufio.NewScanner(&out); s.Scan(); {
		var l loadLine
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	if len(all) < 30 || len(all) != int(summary.Requests) {
		t.Fatalf("%d lines, %d requests", len(all), summary.Requests)
	}
	return all, summary
}

func TestWhatIsLost(t *testing.T) {
	tests := []struct {
		name   string
		handle http.HandlerFunc
		why    string
		code   int
	}{
		{name: "answered", handle: func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Shop", "web") }, code: 200},
		{name: "the shop's own 500", code: 500, handle: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Shop", "web")
			w.WriteHeader(500)
		}},
		{name: "the gateway's 503", code: 503, why: "gateway 503", handle: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }},
		{name: "the gateway's 404", code: 404, why: "gateway 404", handle: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }},
		{name: "too late", why: "timeout", handle: func(http.ResponseWriter, *http.Request) { time.Sleep(400 * time.Millisecond) }},
		{name: "hung up", why: "connection", handle: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(tt.handle)
			defer server.Close()
			all, summary := lines(t, server.URL, nil)
			for _, l := range all {
				if l.Why != tt.why || l.Code != tt.code || l.Lost != (tt.why != "") {
					t.Fatalf("%+v", l)
				}
			}
			if want := len(all); tt.why != "" && summary.Lost != want || tt.why == "" && summary.Lost != 0 {
				t.Fatalf("lost %d of %d", summary.Lost, want)
			}
		})
	}
}

// TestSilentRetryIsLost has a server that hangs up on the second request of each connection: Go's transport sends
// a GET again and would report a clean 200.
func TestSilentRetryIsLost(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				read := bufio.NewReader(c)
				if _, err := http.ReadRequest(read); err != nil {
					return
				}
				_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nX-Shop: web\r\nContent-Length: 2\r\n\r\n{}"))
				_, _ = http.ReadRequest(read)
			}()
		}
	}()
	_, summary := lines(t, "http://"+listener.Addr().String(), nil)
	if summary.Whys["retried"] == 0 {
		t.Fatalf("no retry found: %+v", summary)
	}
}

func TestWhatIsSent(t *testing.T) {
	var posts, hosts atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.ContentLength > 0 {
			posts.Add(1)
		}
		if r.Host == "shop.example.com" {
			hosts.Add(1)
		}
		w.Header().Set("X-Gray-Upgrade-Side", "gray")
		_, _ = w.Write([]byte(`{"version":"v2"}`))
	}))
	defer server.Close()
	all, summary := lines(t, server.URL+"/", func(o *loadOptions) { o.host = "shop.example.com" })
	if int(hosts.Load()) != len(all) || int(posts.Load()) != summary.Posts || summary.Posts != len(all)/4 {
		t.Fatalf("%d requests, %d for the host, %d posts, counted %d", len(all), hosts.Load(), posts.Load(), summary.Posts)
	}
	for _, l := range all {
		if l.Side != "gray" || l.Version != "v2" || l.App || l.Done < l.Sent {
			t.Fatalf("%+v", l)
		}
	}
}

func TestSignalEndsTheLoadAndFinishesWhatIsInFlight(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(50 * time.Millisecond) }))
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	o := loadOptions{url: server.URL, paths: []string{"/"}, rate: 100, timeout: time.Second}
	summary, err := load(ctx, o, &bytes.Buffer{})
	if err != nil || summary.Requests == 0 || summary.Lost != 0 {
		t.Fatalf("%+v, %v", summary, err)
	}
}

func TestReadLoadOptions(t *testing.T) {
	for args, want := range map[string]string{
		"":                              "--url",
		"--url shop":                    "--url",
		"--url http://h --rate 0":       "--rate",
		"--url http://h now":            "unexpected argument",
		"--url http://h --paths /a,/b ": "",
	} {
		_, err := readLoadOptions(strings.Fields(args))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", args, err)
		}
	}
}
