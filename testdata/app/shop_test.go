package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// open makes a shop whose log lines go to the buffer.
func open(t *testing.T, s settings) (*shop, *bytes.Buffer) {
	t.Helper()
	if s.role == "" {
		s.role = "web"
	}
	if s.mode == "" {
		s.mode = "production"
	}
	var lines bytes.Buffer
	shop, err := newShop(s, slog.New(slog.NewJSONHandler(&lines, nil)))
	require.NoError(t, err)
	return shop, &lines
}

func ask(t *testing.T, h http.Handler, r *http.Request) (*http.Response, map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var body map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body), w.Body.String())
	return w.Result(), body
}

func TestAnswers(t *testing.T) {
	tests := []struct {
		name         string
		method, path string
		header       string
		faults       string
		status       int
		body         map[string]any
		log          string
	}{
		{name: "front", path: "/", status: 200, body: map[string]any{"ok": true, "path": "/"}},
		{name: "anything", path: "/a/b", status: 200, body: map[string]any{"ok": true, "path": "/a/b"}},
		{name: "own cart", path: "/cart", status: 200, body: map[string]any{"ok": true, "items": 3.0}},
		{name: "add to it", method: "POST", path: "/cart", status: 200, body: map[string]any{"ok": true, "added": 4.0}},
		{name: "account", path: "/account", header: "X-Test-Account: anna", status: 200, body: map[string]any{"ok": true, "account": "anna"}},
		{name: "account by cookie", path: "/account", header: "Cookie: account=anna", status: 200, body: map[string]any{"ok": true, "account": "anna"}},
		{name: "no account", path: "/account", status: 401, body: map[string]any{"ok": false, "error": "no account"}},
		{name: "account refused", path: "/", header: "X-Test-Account: anna", faults: `{"failAccounts":true}`, status: 403,
			body: map[string]any{"ok": false, "account": "anna"}},
		{name: "others are not", path: "/", faults: `{"failAccounts":true}`, status: 200, body: map[string]any{"ok": true, "path": "/"}},
		{name: "error", path: "/", faults: `{"errorShare":1}`, status: 500,
			body: map[string]any{"ok": false, "error": "payment backend refused"}, log: "payment backend refused"},
		{name: "error elsewhere", path: "/", faults: `{"errorShare":1,"onlyPath":"/x"}`, status: 200, body: map[string]any{"ok": true, "path": "/"}},
		{name: "healthy", path: "/healthz", status: 200, body: map[string]any{"ok": true}},
		{name: "unready", path: "/healthz", faults: `{"readyFail":true}`, status: 503, body: map[string]any{"ok": false}},
		{name: "never ready", path: "/healthz", faults: `{"neverReady":true,"faultsAfter":"1h"}`, status: 503, body: map[string]any{"ok": false}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			shop, lines := open(t, settings{faults: tt.faults})
			r := httptest.NewRequest(tt.method, tt.path, strings.NewReader("book"))
			if name, value, ok := strings.Cut(tt.header, ": "); ok {
				r.Header.Set(name, value)
			}
			resp, body := ask(t, shop, r)
			require.Equal(t, tt.status, resp.StatusCode)
			require.Equal(t, tt.body, body)
			require.Equal(t, "web", resp.Header.Get("X-Shop"))
			require.Contains(t, lines.String(), tt.log)
		})
	}
}

func TestVersionIsNamedOnlyIfAllowed(t *testing.T) {
	cart, _ := open(t, settings{role: "cart", version: "cart-v7", nameVersion: true})
	upstream := httptest.NewServer(cart)
	defer upstream.Close()
	for _, named := range []bool{true, false} {
		for _, path := range []string{"/", "/cart", "/account", "/healthz", "/x"} {
			shop, _ := open(t, settings{version: "web-v2", nameVersion: named, cartURL: upstream.URL})
			w := httptest.NewRecorder()
			shop.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
			var all strings.Builder
			require.NoError(t, w.Result().Header.Write(&all))
			all.WriteString(w.Body.String())
			require.Equal(t, named, strings.Contains(all.String(), "-v"), "%s: %s", path, all.String())
		}
	}
}

func TestCartBehindTheFront(t *testing.T) {
	cart, _ := open(t, settings{role: "cart", faults: `{"failAccounts":true}`})
	upstream := httptest.NewServer(cart)
	front, lines := open(t, settings{cartURL: upstream.URL + "/"})

	resp, body := ask(t, front, httptest.NewRequest("POST", "/cart", strings.NewReader("book")))
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, map[string]any{"ok": true, "cart": map[string]any{"ok": true, "added": 4.0}}, body)

	r := httptest.NewRequest("GET", "/cart", nil)
	r.Header.Set("X-Test-Account", "anna")
	resp, _ = ask(t, front, r)
	require.Equal(t, 403, resp.StatusCode, "the account is handed on")

	upstream.Close()
	resp, _ = ask(t, front, httptest.NewRequest("GET", "/cart", nil))
	require.Equal(t, 502, resp.StatusCode)
	require.Equal(t, "web", resp.Header.Get("X-Shop"), "a failure of the shop, not of a proxy")
	require.Contains(t, lines.String(), `"level":"ERROR","msg":"cart does not answer"`)
}

func TestCrashAfter(t *testing.T) {
	shop, lines := open(t, settings{faults: `{"crashAfter":3,"onlyPath":"/x"}`})
	var codes []int
	shop.exit = func(code int) { codes = append(codes, code) }
	for _, path := range []string{"/", "/x", "/healthz", "/x", "/"} {
		ask(t, shop, httptest.NewRequest("GET", path, nil))
	}
	require.Empty(t, codes)
	ask(t, shop, httptest.NewRequest("GET", "/x", nil))
	require.Equal(t, []int{2}, codes)
	require.Contains(t, lines.String(), "giving up")
}

func TestNewErrorLogSparesTheAnswer(t *testing.T) {
	shop, lines := open(t, settings{faults: `{"newErrorLog":true}`})
	for range 20 {
		resp, _ := ask(t, shop, httptest.NewRequest("GET", "/", nil))
		require.Equal(t, 200, resp.StatusCode)
	}
	require.Equal(t, 2, strings.Count(lines.String(), "inventory cache out of step"))
}

func TestLinesOfFaults(t *testing.T) {
	for _, mode := range []string{"production", "gray"} {
		shop, lines := open(t, settings{mode: mode, faults: `{"stackTrace":true,"logLines":3,"otherWords":true}`})
		var stderr strings.Builder
		shop.stderr = &stderr
		for range 20 {
			resp, _ := ask(t, shop, httptest.NewRequest("GET", "/", nil))
			require.Equal(t, 200, resp.StatusCode)
		}
		require.Equal(t, 2, strings.Count(stderr.String(), "panic: runtime error: index out of range"))
		require.Contains(t, stderr.String(), "goroutine ")
		require.Equal(t, 60, strings.Count(lines.String(), `"level":"WARN"`))
		require.Equal(t, mode == "gray", strings.Contains(lines.String(), `"level":"INFO","msg":"order taken, no error, nothing failed"`))
	}
}

func TestWrongAnswers(t *testing.T) {
	shop, _ := open(t, settings{faults: `{"wrongAnswers":true}`})
	r := httptest.NewRequest("GET", "/account", nil)
	r.Header.Set("X-Test-Account", "anna")
	resp, body := ask(t, shop, r)
	require.Equal(t, 200, resp.StatusCode)
	require.NotContains(t, body, "account")
}

func TestSlow(t *testing.T) {
	shop, _ := open(t, settings{faults: `{"slowMs":30}`})
	start := time.Now()
	ask(t, shop, httptest.NewRequest("GET", "/", nil))
	require.GreaterOrEqual(t, time.Since(start), 30*time.Millisecond)
}

func TestAdmin(t *testing.T) {
	shop, _ := open(t, settings{version: "v2", access: true})
	admin := shop.admin()
	post := func(text string) int {
		w := httptest.NewRecorder()
		admin.ServeHTTP(w, httptest.NewRequest("POST", "/faults", strings.NewReader(text)))
		return w.Code
	}
	require.Equal(t, 400, post(`{"nonsense":1}`))
	require.Equal(t, 204, post(`{"errorShare":1,"onlyPath":"/x"}`))

	account := httptest.NewRequest("GET", "/", nil)
	account.Header.Set("X-Test-Account", "anna")
	ask(t, shop, account)
	ask(t, shop, httptest.NewRequest("GET", "/x", nil))
	ask(t, shop, httptest.NewRequest("GET", "/healthz", nil))

	_, stats := ask(t, admin, httptest.NewRequest("GET", "/stats", nil))
	require.Equal(t, 2.0, stats["requests"])
	require.Equal(t, 1.0, stats["errors"])
	require.Equal(t, "v2", stats["version"])
	require.NotZero(t, stats["lastServed"])
	require.Equal(t, 1.0, stats["customers"].(map[string]any)["requests"])
	require.Equal(t, 1.0, stats["paths"].(map[string]any)["/x"].(map[string]any)["errors"])
	require.Equal(t, 0.0, stats["inFlight"])
}

func TestFaultsFile(t *testing.T) {
	shop, _ := open(t, settings{})
	file := filepath.Join(t.TempDir(), "faults.json")
	go shop.watchFaults(t.Context(), file)
	for _, text := range []string{`{"errorShare":1}`, `{"errorShare":`, `{}`} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		want := 1.0
		if text == `{}` {
			want = 0
		}
		require.Eventually(t, func() bool { return shop.faults.given().ErrorShare == want }, 5*time.Second, 10*time.Millisecond, text)
	}
	require.NoError(t, os.WriteFile(file, []byte(`{"errorShare":1}`), 0o600))
	require.Eventually(t, func() bool { return shop.faults.given().ErrorShare == 1 }, 5*time.Second, 10*time.Millisecond)
	require.NoError(t, os.Remove(file))
	require.Eventually(t, func() bool { return shop.faults.given() == Faults{} }, 5*time.Second, 10*time.Millisecond)
}

func TestLogIsJSONWithTimeLevelAndMessage(t *testing.T) {
	shop, lines := open(t, settings{access: true})
	ask(t, shop, httptest.NewRequest("GET", "/", nil))
	var line map[string]any
	require.NoError(t, json.NewDecoder(io.TeeReader(lines, io.Discard)).Decode(&line))
	for _, key := range []string{"time", "level", "msg", "method", "path", "status", "ms"} {
		require.Contains(t, line, key)
	}
}
