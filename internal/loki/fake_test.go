package loki

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fake answers query_range as a real Loki does (TestTheFakeAnswersAsARealLoki): start is in, end is not and by default now, the
// limit is over all streams, and of lines with the same labels, time and text one is kept. It can also be slow, fail and have
// another clock. It is an http.Handler, and a RoundTripper that needs no network.
type fake struct {
	mu      sync.Mutex
	entries []entry
	clock   time.Duration // ahead of ours
	most    int           // lines that may be asked for; 0: 5000
	trouble http.HandlerFunc
	asked   []*http.Request
}

type entry struct {
	at       int64
	labels   map[string]string
	text     string
	metadata map[string]string // what Loki calls structured metadata
}

func newFake() *fake { return &fake{} }

func (f *fake) side() *Side { return newServer(Options{URL: "http://loki"}, f).Side("{}") }

// write adds a line that was written so long ago.
func (f *fake) write(ago time.Duration, labels map[string]string, text string) {
	f.put(entry{at: time.Now().Add(f.clock - ago).UnixNano(), labels: labels, text: text})
}

// put adds a line. Loki's answer has its metadata among its labels.
func (f *fake) put(e entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e.labels = maps.Clone(e.labels)
	maps.Copy(e.labels, e.metadata)
	same := func(o entry) bool {
		return o.at == e.at && o.text == e.text && maps.Equal(o.labels, e.labels)
	}
	if !slices.ContainsFunc(f.entries[max(0, len(f.entries)-10):], same) {
		f.entries = append(f.entries, e)
	}
}

func (f *fake) fail(trouble http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trouble = trouble
}

func (f *fake) questions() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked)
}

func (f *fake) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.asked = append(f.asked, r)
	trouble := f.trouble
	f.mu.Unlock()
	if trouble != nil {
		trouble(w, r)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now().Add(f.clock)
	w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
	start, end, limit, err := bounds(r, now)
	most := cmp.Or(f.most, mostLines)
	switch {
	case err != nil || start > end:
		refuse(w, "end timestamp must not be before or equal to start time")
		return
	case limit > most:
		refuse(w, fmt.Sprintf("max entries limit per query exceeded, limit > max_entries_limit_per_query (%d > %d)", limit, most))
		return
	}
	found := slices.DeleteFunc(slices.Clone(f.entries), func(e entry) bool { return e.at < start || e.at >= end })
	slices.SortStableFunc(found, func(a, b entry) int { return cmp.Compare(a.at, b.at) })
	if r.FormValue("direction") == "backward" {
		slices.Reverse(found)
	}
	_, _ = w.Write(encoded(found[:min(limit, len(found))]))
}

func refuse(w http.ResponseWriter, words string) {
	w.WriteHeader(http.StatusBadRequest)
	fmt.Fprint(w, words)
}

func bounds(r *http.Request, now time.Time) (start, end int64, limit int, err error) {
	end = now.UnixNano()
	if s := r.FormValue("end"); s != "" {
		if end, err = strconv.ParseInt(s, 10, 64); err != nil {
			return 0, 0, 0, err
		}
	}
	since, err := time.ParseDuration(cmp.Or(r.FormValue("since"), "1h"))
	start = end - int64(since)
	if s := r.FormValue("start"); s != "" && err == nil {
		start, err = strconv.ParseInt(s, 10, 64)
	}
	if err == nil {
		limit, err = strconv.Atoi(r.FormValue("limit"))
	}
	return start, end, limit, err
}

// encoded groups lines by their labels, as Loki does.
func encoded(found []entry) []byte {
	type one struct {
		Stream map[string]string `json:"stream"`
		Values [][2]string       `json:"values"`
	}
	all, of := []*one{}, map[string]*one{}
	for _, e := range found {
		key := fmt.Sprint(e.labels)
		if of[key] == nil {
			of[key] = &one{Stream: e.labels}
			all = append(all, of[key])
		}
		of[key].Values = append(of[key].Values, [2]string{strconv.FormatInt(e.at, 10), e.text})
	}
	text, err := json.Marshal(map[string]any{"status": "success", "data": map[string]any{"resultType": "streams", "result": all}})
	if err != nil {
		panic(err)
	}
	return text
}

func of(pod string) map[string]string {
	return map[string]string{"namespace": "shop", "pod": pod, "container": "app"}
}

// heard collects what a Side hands over.
type heard struct {
	texts []string
	pods  []string
	ages  []time.Duration
}

func (h *heard) take(at time.Time, pod, container, text string) {
	h.texts, h.pods, h.ages = append(h.texts, text), append(h.pods, pod+"/"+container), append(h.ages, time.Since(at))
}

// walk reads on until there is no more.
func (h *heard) walk(t *testing.T, s *Side) {
	t.Helper()
	for {
		more, err := s.Next(t.Context(), h.take)
		require.NoError(t, err)
		if !more {
			return
		}
	}
}

// once says that each text came exactly once.
func (h *heard) once(t *testing.T, n int) {
	t.Helper()
	assert.Equal(t, n, len(h.texts)) //nolint:testifylint // thousands of lines would be printed
	counted := map[string]int{}
	for _, text := range h.texts {
		counted[text]++
	}
	assert.Equal(t, n, len(counted), "doubles") //nolint:testifylint // as above
}

func numbered(i int) string { return "line " + strings.Repeat("x", i%7) + strconv.Itoa(i) }
