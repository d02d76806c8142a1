package verify

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

func TestParsePath(t *testing.T) {
	for _, tt := range []struct {
		text string
		want jsonPath
		bad  bool
	}{
		{"", nil, false},
		{"$", nil, false},
		{"$.a", jsonPath{"a"}, false},
		{"$.a.b[0].c", jsonPath{"a", "b", 0, "c"}, false},
		{"{.a.b}", jsonPath{"a", "b"}, false},
		{"{.items[12]}", jsonPath{"items", 12}, false},
		{"$['a b'].c", jsonPath{"a b", "c"}, false},
		{`$["a.b/c"]`, jsonPath{"a.b/c"}, false},
		{"$[0][1]", jsonPath{0, 1}, false},
		{"$.größe", jsonPath{"größe"}, false},
		{"a", nil, true},
		{"$a", nil, true},
		{"$.", nil, true},
		{"$..a", nil, true},
		{"$.a[*]", nil, true},
		{"$.a[-1]", nil, true},
		{"$.a[+1]", nil, true},
		{"$.a[]", nil, true},
		{"$.a[1", nil, true},
		{"$.a['b", nil, true},
		{"$.*", nil, true},
		{"$.a[?(@.b==1)]", nil, true},
		{"$.a[0:2]", nil, true},
		{"$.a[99999999999999999999]", nil, true},
	} {
		t.Run(tt.text, func(t *testing.T) {
			got, err := parsePath(tt.text)
			if tt.bad {
				assert.Error(t, err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tt.want, got)
		})
	}
}

func TestFind(t *testing.T) {
	const body = `{"a":{"b":[{"c":"x"},{"c":1.50}]},"n":12345678901234567890,"t":true,"z":null,"s":"<&>"}`
	for _, tt := range []struct{ path, body, want, bad string }{
		{"$.a.b[0].c", body, "x", ""},
		{"$.a.b[1].c", body, "1.50", ""},
		{"$.n", body, "12345678901234567890", ""},
		{"$.t", body, "true", ""},
		{"$.z", body, "null", ""},
		{"$.s", body, "<&>", ""},
		{"$.a.b[0]", body, `{"c":"x"}`, ""},
		{"$", `"whole"`, "whole", ""},
		{"$.a.b[2].c", body, "", "nothing at 2"},
		{"$.a.c", body, "", "nothing at c"},
		{"$.t.u", body, "", "nothing at u"},
		{"$.a[0]", body, "", "nothing at 0"},
		{"$.a", ``, "", "no JSON"},
		{"$.a", `<html>`, "", "no JSON"},
		{"$.a", `{"a":1}{"a":2}`, "", "more than one JSON value"},
		{"$.a", strings.Repeat("[", 1<<20), "", "no JSON in the first MiB"},
	} {
		p, err := parsePath(tt.path)
		require.NoError(t, err)
		got, err := p.find([]byte(tt.body))
		if tt.bad != "" {
			require.EqualError(t, err, tt.bad, tt.path)
			continue
		}
		require.NoError(t, err, tt.path)
		assert.Equal(t, tt.want, got, tt.path)
	}
}

func FuzzFind(f *testing.F) {
	f.Add("$.a.b[0].c", `{"a":{"b":[{"c":"x"}]}}`)
	f.Add("{.a['b']}", `[]`)
	f.Add("$", "\"\xff\"")
	f.Add("$", strings.Repeat("[", 20_000))
	f.Fuzz(func(t *testing.T, path, body string) {
		p, err := parsePath(path)
		if err != nil {
			return
		}
		got, err := p.find([]byte(body))
		if err == nil {
			assert.True(t, utf8.ValidString(got), "%q", got)
			assert.True(t, json.Valid([]byte(body)), "found in what is no JSON: %q", body)
		}
	})
}

// FuzzAnswer shows an answer that may hold a secret in every way that answers are shown.
func FuzzAnswer(f *testing.F) {
	f.Add("::error::x\n::set-output name=a::b\r%0A##[error]x\x1b[2J\x00\xff\u202e|<b>`x`](y)hunter2-token", "a\nb")
	f.Add(strings.Repeat("hunter2-token", 100_000), strings.Repeat("\x80", 1000))
	f.Add(`{"a":"hunter2-token"}`, "hunter2\x00-token")
	f.Add("h", "unter2-token")
	f.Fuzz(func(t *testing.T, body, header string) {
		m := newMask([]string{"Bearer hunter2-token"})
		path, err := parsePath("$.a")
		require.NoError(t, err)
		for _, c := range []config.Check{{Status: 204}, {Header: map[string]string{"X-A": "b"}}, {JSONPath: "$.a", Equals: "b"}, {Text: "\x00no"}} {
			_, got := expect(trial{check: c, path: path}, answer{status: 200, header: http.Header{"X-A": {header}}, body: []byte(body)}, m)
			shows(t, got)
		}
		shows(t, m.text(body))
	})
}

// shows holds what every text must be that tells of an answer: one printable line, short, without the secret.
func shows(t *testing.T, got string) {
	t.Helper()
	assert.True(t, utf8.ValidString(got), "%q", got)
	assert.LessOrEqual(t, len(got), 4*(maxExcerpt+3)+100)
	assert.NotContains(t, got, "hunter2-token")
	for _, r := range got {
		assert.True(t, r == '\uFFFD' || strconv.IsPrint(r), "%q in %q", r, got)
	}
}

func TestExpect(t *testing.T) {
	header := http.Header{"X-Mode": {"gray", "blue"}}
	for _, tt := range []struct {
		name      string
		check     config.Check
		status    int
		body      string
		want, got string
	}{
		{"status by default", config.Check{}, 200, "", "", ""},
		{"status", config.Check{Status: 204}, 200, "hello", "status 204", `200 ("hello")`},
		{"redirect is an answer", config.Check{Status: 302}, 302, "", "", ""},
		{"header", config.Check{Header: map[string]string{"x-mode": "blue"}}, 200, "", "", ""},
		{"header wrong", config.Check{Header: map[string]string{"X-Mode": "production"}}, 200, "", `header X-Mode: "production"`, `"gray, blue"`},
		{"header missing", config.Check{Header: map[string]string{"X-Other": "1"}}, 200, "", `header X-Other: "1"`, "no such header"},
		{"JSON", config.Check{JSONPath: "$.a", Equals: "b"}, 200, `{"a":"b"}`, "", ""},
		{"JSON wrong", config.Check{JSONPath: "$.a", Equals: "b"}, 200, `{"a":"c"}`, `$.a = "b"`, `"c"`},
		{"JSON missing", config.Check{JSONPath: "$.a", Equals: "b"}, 200, `{}`, `$.a = "b"`, `nothing at a ("{}")`},
		{"JSON empty on purpose", config.Check{JSONPath: "$.a"}, 200, `{"a":""}`, "", ""},
		{"text", config.Check{Text: "ell"}, 200, "hello", "", ""},
		{"text missing", config.Check{Text: "bye"}, 200, "hello", `the text "bye"`, `"hello"`},
		{"text that is not text", config.Check{Text: "bye"}, 200, "\xff\x00\u202e", `the text "bye"`, `"\xff\x00\u202e"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path, err := parsePath(tt.check.JSONPath)
			require.NoError(t, err)
			want, got := expect(trial{check: tt.check, path: path}, answer{status: tt.status, header: header, body: []byte(tt.body)}, newMask(nil))
			assert.Equal(t, tt.want, want)
			assert.Equal(t, tt.got, got)
		})
	}
}

func TestMask(t *testing.T) {
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("ann:pass word"))
	m := newMask([]string{"", "tok/en+1", "tok", "Bearer abc.def", basic, `quo"te`})
	for _, tt := range []struct{ in, want string }{
		{"plain", "plain"},
		{"a tok/en+1 b", "a *** b"},
		{"tok", "***"},
		{"tok%2Fen%2B1", "***"},
		{"token abc.def refused", "***en *** refused"},
		{basic, "***"},
		{"user ann:pass word", "user ***"},
		{"password pass word", "password ***"},
		{`{"v":"quo\"te"}`, `{"v":"***"}`},
	} {
		assert.Equal(t, tt.want, m.replacer.Replace(tt.in))
	}
	// Across the place where it is cut, nothing of a secret is left.
	for n := 150; n < 210; n++ {
		got := m.excerpt([]byte(strings.Repeat("x", n) + "abc.def" + strings.Repeat("y", 100)))
		assert.NotContains(t, got, "abc", n)
	}
	assert.Equal(t, "one line ", m.text("one\nline\x1b"))
}

func TestCut(t *testing.T) {
	for n := 190; n < 210; n++ {
		got := cut(strings.Repeat("x", n) + strings.Repeat("é€😀", 50))
		assert.True(t, utf8.ValidString(got), n)
		assert.LessOrEqual(t, len(got), maxExcerpt+len("…"))
	}
	assert.Len(t, cut(strings.Repeat("\x80", 1000)), maxExcerpt-3+len("…"), "no UTF-8 at all")
}

func TestRequest(t *testing.T) {
	account := config.Account{Name: "alice", Headers: map[string]string{"host": "shop.example.com", "X-Mode": "mine"}, Cookies: map[string]string{"b": "2", "a": "1"}}
	check := config.Check{Method: "POST", Path: "/a?b=c", Headers: map[string]string{"X-Mode": "check", "X-Check": "1"}, Body: "hello"}
	r, err := request(t.Context(), "http://10.0.0.1:8080", trial{check: check, account: account})
	require.NoError(t, err)
	assert.Equal(t, "http://10.0.0.1:8080/a?b=c", r.URL.String())
	assert.Equal(t, "POST", r.Method)
	assert.Equal(t, "shop.example.com", r.Host)
	assert.Equal(t, "mine", r.Header.Get("X-Mode"), "the account wins")
	assert.Equal(t, "1", r.Header.Get("X-Check"))
	assert.Equal(t, "a=1; b=2", r.Header.Get("Cookie"))
	assert.Equal(t, "gray-upgrade", r.Header.Get("User-Agent"))
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	assert.Equal(t, "hello", string(body))
}

func TestHostileAnswers(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, err := z.Write(make([]byte, 8<<20))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	for _, tt := range []struct {
		name  string
		serve http.HandlerFunc
		check config.Check
		want  string // "": passes
	}{
		{"endless body", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}, config.Check{}, ""},
		{"drop by drop", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte("x"))
				w.(http.Flusher).Flush()
				time.Sleep(10 * time.Millisecond)
			}
		}, config.Check{}, "got no whole answer in 300ms"},
		{"gzip bomb", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		}, config.Check{Text: "x"}, `expected the text "x", got "\x00\x00`},
		{"workflow command", answers(500, "::error::pwned\n::set-output name=a::b"), config.Check{}, `got 500 ("::error::pwned\n::set-output name=a::b")`},
		{"redirect elsewhere", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusFound)
		}, config.Check{}, "got 302"},
		{"cookie that would be kept", func(w http.ResponseWriter, r *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "x"})
			assert.Empty(t, r.Cookies())
		}, config.Check{}, ""},
		{"no HTTP", func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = c.Write([]byte("SSH-2.0-OpenSSH\r\n\r\n"))
				_ = c.Close()
			}
		}, config.Check{}, `malformed HTTP response`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.check.Name, tt.check.Path, tt.check.Within = "c", "/", 300*time.Millisecond
			w := newWorld(t).add(plan.Gray, "g1", tt.serve).add(plan.Production, "p1", answers(200, "x"))
			proofs, err := w.verifier(nil, tt.check).Gray(t.Context())
			for _, p := range proofs {
				assert.Less(t, len(p.Got), 4*maxExcerpt+50)
			}
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
			assert.Equal(t, plan.FaultImage, failure(t, err).Fault)
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}
