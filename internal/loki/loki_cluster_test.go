package loki

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/clustertest"
)

// push sends lines as an agent does (https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs).
func push(t *testing.T, url, tenant string, entries ...entry) {
	t.Helper()
	type stream struct {
		Stream map[string]string `json:"stream"`
		Values [][]any           `json:"values"`
	}
	of := map[string]*stream{}
	for _, e := range entries {
		key := fmt.Sprint(e.labels)
		if of[key] == nil {
			of[key] = &stream{Stream: e.labels}
		}
		metadata := map[string]string{} // Loki takes no null
		maps.Copy(metadata, e.metadata)
		of[key].Values = append(of[key].Values, []any{fmt.Sprint(e.at), e.text, metadata})
	}
	body, err := json.Marshal(map[string]any{"streams": slices.Collect(maps.Values(of))})
	require.NoError(t, err)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/loki/api/v1/push", bytes.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Scope-OrgID", tenant)
	code, words := sent(t, r)
	require.Equal(t, http.StatusNoContent, code, words)
}

func sent(t *testing.T, r *http.Request) (code int, body string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode, string(text)
}

// labelled is what the Kubernetes examples of Promtail and Alloy label a line with.
func labelled(namespace, pod, stream string) map[string]string {
	return map[string]string{"namespace": namespace, "pod": pod, "container": "app", "job": namespace + "/app", "stream": stream}
}

func ago(d time.Duration) int64 { return time.Now().Add(-d).UnixNano() }

func TestARealLoki(t *testing.T) {
	clustertest.Config(t)
	url := clustertest.Loki(t)
	s := New(Options{URL: url})
	t.Run("each line comes once", func(t *testing.T) { eachLineOnce(t, url, s) })
	t.Run("a burst is read", func(t *testing.T) { burst(t, url, s) })
	t.Run("a late line is read within the lag", func(t *testing.T) { lateLines(t, url, s) })
	t.Run("lines of one time keep their order", func(t *testing.T) { oneTime(t, url, s) })
	t.Run("queries", func(t *testing.T) { queries(t, url, s) })
}

// eachLineOnce reads both sides while two pods of each write on two streams, some of it late, some of one nanosecond. The agent
// sends some of it twice, and Loki has some of it in its store and some in memory.
func eachLineOnce(t *testing.T, url string, server *Server) {
	sides, all := map[string]*Side{}, map[string]*heard{}
	for _, name := range []string{"cart", "cart-gray"} {
		sides[name], all[name] = server.Side(fmt.Sprintf(`{namespace="once", pod=~"%s-[0-9]"}`, name)), &heard{}
		require.NoError(t, sides[name].History(t.Context(), all[name].take))
	}
	random, n := rand.New(rand.NewPCG(1, 2)), 0
	for round := range 30 {
		var batch []entry
		for range 50 {
			at := ago(time.Duration(random.Int64N(int64(lag / 2))))
			for name := range sides {
				e := entry{at: at, text: name + " " + numbered(n),
					labels: labelled("once", fmt.Sprint(name, "-", random.IntN(2)), []string{"stdout", "stderr"}[random.IntN(2)])}
				switch random.IntN(4) {
				case 0:
					e.text = "level=error " + e.text
				case 1:
					e.metadata = map[string]string{"trace_id": fmt.Sprint(n)}
				}
				batch = append(batch, e)
			}
			n++
		}
		push(t, url, "", batch...)
		push(t, url, "", batch[:20]...)
		if round%10 == 9 {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/flush", nil)
			require.NoError(t, err)
			code, words := sent(t, r)
			require.Equal(t, http.StatusNoContent, code, words)
		}
		for name, s := range sides {
			all[name].walk(t, s)
		}
		time.Sleep(50 * time.Millisecond)
	}
	for name, h := range all {
		h.once(t, n)
		for i, text := range h.texts {
			require.Contains(t, text, name+" line")
			require.Contains(t, []string{name + "-0/app", name + "-1/app"}, h.pods[i])
		}
	}
}

// burst is what twenty pods write within a few seconds.
func burst(t *testing.T, url string, server *Server) {
	const lines, batch = 100_000, 10_000
	s, h := server.Side(`{namespace="burst"}`), &heard{}
	for n := 0; n < lines; n += batch {
		entries := make([]entry, batch)
		for i := range entries {
			entries[i] = entry{at: ago(0), labels: labelled("burst", fmt.Sprint("cart-", i%20), "stdout"), text: numbered(n + i)}
		}
		push(t, url, "", entries...)
	}
	begun := time.Now()
	h.walk(t, s)
	t.Logf("%d lines in %s", lines, time.Since(begun).Round(time.Millisecond))
	h.once(t, lines)
}

func lateLines(t *testing.T, url string, server *Server) {
	s, h, newest := server.Side(`{namespace="late"}`), &heard{}, ago(time.Second)
	push(t, url, "", entry{at: newest, labels: labelled("late", "cart-1", "stdout"), text: "first"})
	h.walk(t, s)
	for _, pod := range []string{"cart-1", "cart-2"} {
		push(t, url, "",
			entry{at: newest - int64(lag), labels: labelled("late", pod, "stdout"), text: "late"},
			entry{at: newest - int64(lag) - 1, labels: labelled("late", pod, "stdout"), text: "too late"})
	}
	h.walk(t, s)
	assert.Equal(t, []string{"first", "late", "late"}, h.texts)
	assert.GreaterOrEqual(t, h.ages[0], time.Second, "by Loki's clock no line is younger than it is")
}

// oneTime is a stack whose lines have the same time. Where a stream has more than twelve lines in an answer, Loki 3.7 may mix them:
// what sorts them at the end is not stable (AccumulatedStreams.Result in its pkg/logql).
func oneTime(t *testing.T, url string, server *Server) {
	at, labels := ago(time.Second), labelled("time", "cart-1", "stderr")
	var stack []entry
	var texts []string
	for i := range 10 {
		stack, texts = append(stack, entry{at: at, labels: labels, text: numbered(i)}), append(texts, numbered(i))
	}
	push(t, url, "", stack...)
	past, news := &heard{}, &heard{}
	require.NoError(t, server.Side(`{namespace="time"}`).History(t.Context(), past.take))
	news.walk(t, server.Side(`{namespace="time"}`))
	assert.Equal(t, texts, past.texts)
	assert.Equal(t, texts, news.texts)
}

// queries holds what is said of a wrong query, and what a right one may do with a line. The words of TestMeaning are these.
func queries(t *testing.T, url string, server *Server) {
	push(t, url, "", entry{at: ago(time.Second), labels: labelled("query", "cart-1", "stdout"), text: "ready"},
		entry{at: ago(time.Second), labels: map[string]string{"app": "cart", "job": "x"}, text: "ready"})
	for query, words := range map[string]string{
		`{`:                                  "Loki says: parse error at line 1, col 2: syntax error: unexpected $end, expecting IDENTIFIER or }",
		`{}`:                                 "Loki says: parse error : queries require at least one regexp or equality matcher that does not have an empty-compatible value",
		`{namespace="query"} |= "x`:          "Loki says: parse error at line 1, col 24: literal not terminated",
		`{namespace="query"} |~ "("`:         "Loki says: parse error : stage '|~ \"(\"' : error parsing regexp",
		`{namespace="query"} | nonsense("a"`: "Loki says: parse error at line 1, col 31: syntax error",
		`{namespace="query"} | line_format "{{ .pod | nonsense }}"`: "Loki says: parse error : stage",
		`"a"`:                                 "Loki says: parse error at line 1, col 1",
		`1 + 1`:                               "it finds a matrix and must find lines",
		`vector(1)`:                           "it finds a matrix and must find lines",
		`rate({namespace="query"}[1m])`:       "it finds a matrix and must find lines",
		`sum(rate({namespace="nobody"}[1m]))`: "it finds a matrix and must find lines",
		`{app="cart"}`:                        "it finds lines without a label pod or k8s_pod_name; theirs are app, detected_level, job, service_name",
		`{namespace="query"} | drop pod`:      "it finds lines without a label pod or k8s_pod_name; theirs are container, ",
		`{namespace="query"} | label_format a=pod | drop pod`: "it finds lines without a label pod or k8s_pod_name; theirs are a, ",
	} {
		_, err := server.Side(query).Next(t.Context(), (&heard{}).take)
		var wrong *QueryError
		require.ErrorAs(t, err, &wrong, query)
		assert.Contains(t, wrong.Why, words, query)
		_, err = server.Preflight(t.Context(), query)
		require.ErrorContains(t, err, words, query)
	}
	for query, line := range map[string]string{
		`{namespace="query"}`:                                           "cart-1/app ready",
		`{namespace="query"} |= "ready" | json`:                         "cart-1/app ready", // it is none, and is kept
		`{namespace="query"} | line_format "{{.stream}}: {{__line__}}"`: "cart-1/app stdout: ready",
		`{namespace="query"} | label_format pod=stream`:                 "stdout/app ready",
		`{namespace="query"} | drop container`:                          "cart-1/ ready",
		`{app="cart"} | label_format pod=app`:                           "cart/ ready",
	} {
		h := &heard{}
		h.walk(t, server.Side(query))
		require.Len(t, h.texts, 1, query)
		assert.Equal(t, line, h.pods[0]+" "+h.texts[0], query)
		warnings, err := server.Preflight(t.Context(), query)
		require.NoError(t, err, query)
		assert.Empty(t, warnings, query)
	}
	warnings, err := server.Preflight(t.Context(), `{namespace="nobody"}`)
	require.NoError(t, err)
	require.Len(t, warnings, 1)
	assert.Contains(t, warnings[0], "has no line of production in the last 10m0s")
}

// TestARealLokiWithTenants has a low limit, too: it is asked for less and less until it answers.
func TestARealLokiWithTenants(t *testing.T) {
	clustertest.Config(t)
	url := clustertest.Loki(t, "-auth.enabled=true", "-validation.max-entries-limit=600")
	entries := make([]entry, 2500)
	for i := range entries {
		entries[i] = entry{at: ago(time.Second), labels: labelled("shop", "cart-1", "stdout"), text: numbered(i)}
	}
	push(t, url, "shop", entries...)
	const query = `{namespace="shop"}`

	read := func(tenant string) (*heard, error) {
		s, h := New(Options{URL: url, Tenant: tenant}).Side(query), &heard{}
		_, first := s.Next(t.Context(), h.take)
		for range 20 { // a page that grows fails again from time to time
			_, _ = s.Next(t.Context(), h.take)
		}
		return h, first
	}
	h, err := read("shop")
	require.EqualError(t, err, "Loki says: max entries limit per query exceeded, limit > max_entries_limit_per_query (1000 > 600)")
	h.once(t, len(entries))
	h, err = read("other")
	require.ErrorContains(t, err, "max entries limit per query exceeded")
	assert.Empty(t, h.texts)
	h, err = read("")
	require.EqualError(t, err, "401 Unauthorized: no org id")
	assert.Empty(t, h.texts)
}

// TestTheFakeAnswersAsARealLoki, word for word, whatever the watch can ask.
func TestTheFakeAnswersAsARealLoki(t *testing.T) {
	clustertest.Config(t)
	genuine := clustertest.Loki(t, "-validation.discover-log-levels=false")
	f := newFake()
	fake := httptest.NewServer(f)
	t.Cleanup(fake.Close)

	at := ago(time.Minute)
	out, errs, other := labelled("fake", "cart-1", "stdout"), labelled("fake", "cart-1", "stderr"), labelled("fake", "cart-2", "stdout")
	for _, e := range []entry{
		{at: at, labels: out, text: "b"},
		{at: at, labels: out, text: "a"},
		{at: at, labels: out, text: "a"},
		{at: at, labels: errs, text: "a"},
		{at: at, labels: out, text: "a", metadata: map[string]string{"trace_id": "1"}},
		{at: at, labels: out, text: "a", metadata: map[string]string{"trace_id": "2"}},
		{at: at + 2, labels: other, text: "two\nlines \x1b[31m é"},
		{at: at + 1, labels: other, text: ""},
		{at: at + 3, labels: out, text: "c"},
		{at: at + 3, labels: out, text: "d"},
		{at: at - int64(time.Hour/2), labels: out, text: "of half an hour before"},
		{at: at + int64(5*time.Minute), labels: out, text: "of a clock that is ahead"},
	} {
		push(t, genuine, "", e)
		f.put(e)
	}
	const query = `{namespace="fake"}`
	for _, q := range []question{
		{since: history, limit: 1000},
		{since: history, limit: 1000, backward: true},
		{since: time.Hour, limit: 1000},
		{since: time.Second, limit: 1000},
		{since: history, limit: 1, backward: true},
		{start: at, limit: 1000},
		{start: at + 1, limit: 1000},
		{start: at + 1, limit: 1},
		{start: at + 3, limit: 1},
		{start: at, end: at + 1, limit: 1000},
		{start: at, end: at + 3, limit: 1000, backward: true},
		{since: history, end: at + 4, limit: 3, backward: true},
		{start: at + 1, end: at + 4, limit: 5000, backward: true},
		{start: at, end: at, limit: 1000},
		{start: at + 1, end: at, limit: 1000},
		{start: at, limit: 5001},
	} {
		q.query = query
		wantCode, want := asked(t, genuine, q.values())
		code, got := asked(t, fake.URL, q.values())
		assert.Equal(t, wantCode, code, q.values())
		assert.Equal(t, want, got, q.values())
	}
}

// asked is what is answered: the lines of each set of labels, or words.
func asked(t *testing.T, server string, v url.Values) (code int, told any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server+"/loki/api/v1/query_range?"+v.Encode(), nil)
	require.NoError(t, err)
	code, body := sent(t, r)
	if code != http.StatusOK {
		return code, body
	}
	var a answer
	require.NoError(t, json.Unmarshal([]byte(body), &a))
	var streams []stream
	require.NoError(t, json.Unmarshal(a.Data.Result, &streams))
	of := map[string][][2]string{a.Data.ResultType: nil}
	for _, s := range streams {
		delete(s.Stream, "service_name") // Loki adds it by itself
		of[fmt.Sprint(s.Stream)] = s.Values
	}
	return code, of
}
