package prometheus

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// answers is a Prometheus that answers every query about a side with the same text.
func answers(t *testing.T, handle http.HandlerFunc) (*Server, *bytes.Buffer) {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	var log bytes.Buffer
	s, err := New(Options{URL: server.URL + "/prom", Token: "hunter2", Log: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, err)
	return s, &log
}

// says answers with a code and a body.
func says(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}
}

func result(kind, value string) string {
	return fmt.Sprintf(`{"status":"success","data":{"resultType":%q,"result":%s}}`, kind, value)
}

func series(values ...string) string {
	var all []string
	for _, v := range values {
		all = append(all, fmt.Sprintf(`{"metric":{},"value":[1,%q]}`, v))
	}
	return result("vector", "["+strings.Join(all, ",")+"]")
}

var question = Query{Query: judge.Query{Name: "depth"}, Gray: Text{Value: "gray"}, Production: Text{Value: "production"}}

// TestMeaning has a row for every kind of answer: what it says while users are on gray, and in preflight.
func TestMeaning(t *testing.T) {
	for name, tc := range map[string]struct {
		code  int
		body  string
		value float64
		none  string // there is no number yet
		wrong string // the query is to blame
		dead  string // the server is
	}{
		"one series":       {200, series("1.5"), 1.5, "", "", ""},
		"scalar":           {200, result("scalar", `[1,"2.5"]`), 2.5, "", "", ""},
		"negative":         {200, series("-3"), -3, "", "", ""},
		"no series":        {200, series(), 0, "found no series", "", ""},
		"NaN":              {200, series("NaN"), 0, "was NaN: nothing to count in its window", "", ""},
		"infinite":         {200, series("+Inf"), 0, "was +Inf", "", ""},
		"infinitely small": {200, series("-Inf"), 0, "was -Inf", "", ""},
		"a scalar NaN":     {200, result("scalar", `[1,"NaN"]`), 0, "was NaN", "", ""},
		"two series":       {200, series("1", "2"), 0, "", "it finds 2 series and must find one", ""},
		"histogram":        {200, result("vector", `[{"metric":{},"histogram":[1,{"count":"1","sum":"1","buckets":[]}]}]`), 0, "", "it finds a histogram", ""},
		"matrix":           {200, result("matrix", `[{"metric":{},"values":[[1,"1"]]}]`), 0, "", "it is a range of values", ""},
		"string":           {200, result("string", `[1,"x"]`), 0, "", "it is a text", ""},
		"cannot be parsed": {400, `{"status":"error","errorType":"bad_data","error":"1:3: parse error: unexpected end of input"}`, 0, "", "Prometheus says: 1:3: parse error: unexpected end of input", ""},
		"cannot be run":    {422, `{"status":"error","errorType":"execution","error":"many-to-many matching not allowed"}`, 0, "", "many-to-many matching not allowed", ""},
		"no right":         {401, "go away", 0, "", "", "client error: 401"},
		"not there":        {404, "<html>", 0, "", "", "client error: 404"},
		"too many":         {429, "", 0, "", "", "client error: 429"},
		"broken":           {500, "", 0, "", "", "server error: 500"},
		"too slow for it":  {503, `{"status":"error","errorType":"timeout","error":"query timed out"}`, 0, "", "", "server error: 503"},
		"elsewhere":        {302, "", 0, "", "", "bad response code 302"},
		"a bad proxy":      {400, "<html>", 0, "", "", "client error: 400"},
		"no JSON":          {200, "<html>", 0, "", "", "bad_response"},
		"too long":         {200, series(strings.Repeat("1", maxAnswer)), 0, "", "", "the answer is longer than 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := answers(t, says(tc.code, tc.body))
			gray, production, err := s.Ask(t.Context(), question)
			warnings, refused := s.Preflight(t.Context(), []Query{question})
			if tc.wrong+tc.dead != "" {
				require.ErrorContains(t, err, "about gray: ")
				require.ErrorContains(t, err, tc.wrong+tc.dead)
				var query *QueryError
				assert.Equal(t, tc.wrong != "", errors.As(err, &query), "whose fault it is")
				isInput(t, refused, tc.wrong+tc.dead)
				return
			}
			require.NoError(t, err)
			require.NoError(t, refused)
			for _, a := range []judge.Answer{gray, production} {
				assert.InDelta(t, tc.value, a.Value, 0)
				assert.Equal(t, tc.none == "", a.None == "")
				assert.Contains(t, a.None, tc.none)
			}
			if tc.none != "" {
				require.Len(t, warnings, 1)
				assert.Contains(t, warnings[0], `query "depth": the answer for production `+tc.none)
			} else {
				assert.Empty(t, warnings)
			}
		})
	}
}

// isInput says that an error ends the command with exit code 2, and names the query.
func isInput(t *testing.T, err error, words string) {
	t.Helper()
	require.ErrorContains(t, err, words)
	require.ErrorContains(t, err, `query "depth"`)
	joined, ok := err.(interface{ Unwrap() []error })
	require.True(t, ok)
	for _, e := range joined.Unwrap() {
		var f *plan.Failure
		require.ErrorAs(t, e, &f)
		assert.Equal(t, plan.FaultInput, f.Fault)
		assert.NotEmpty(t, f.Next)
	}
}

func TestASilentServer(t *testing.T) {
	release := make(chan struct{})
	s, _ := answers(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	_, _, err := s.Ask(t.Context(), question)
	assert.ErrorContains(t, err, "no answer within 5s")
}

func TestNobodyThere(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	s, err := New(Options{URL: server.URL, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	_, _, err = s.Ask(t.Context(), question)
	assert.ErrorContains(t, err, "connection refused")
	_, err = s.Preflight(t.Context(), []Query{question, question})
	isInput(t, err, "Prometheus at "+server.URL+" cannot be asked")
	assert.Equal(t, 1, strings.Count(err.Error(), "cannot be asked"), "said once: the next query would find nobody either")
}

func TestEverySideIsAskedWithItsOwnWordsAndTheToken(t *testing.T) {
	var asked atomic.Int32
	s, _ := answers(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		assert.Equal(t, "/prom/api/v1/query", r.URL.Path)
		assert.Equal(t, "Bearer hunter2", r.Header.Get("Authorization"))
		assert.Equal(t, "5s", r.FormValue("timeout"))
		assert.Empty(t, r.FormValue("time"), "the server's own now")
		fmt.Fprint(w, series(map[string]string{"gray": "1", "production": "2", "gray of": "30", "production of": "40"}[r.FormValue("query")]))
	})
	gray, production, err := s.Ask(t.Context(), Query{Gray: Text{"gray", "gray of"}, Production: Text{"production", "production of"}})
	require.NoError(t, err)
	assert.Equal(t, judge.Answer{Measured: judge.Measured{Value: 1, Of: 30}}, gray)
	assert.Equal(t, judge.Answer{Measured: judge.Measured{Value: 2, Of: 40}}, production)
	assert.EqualValues(t, 4, asked.Load())
}

func TestWarningsAreToldOnce(t *testing.T) {
	s, log := answers(t, says(200, `{"status":"success","warnings":["one store is away"],"data":{"resultType":"scalar","result":[1,"1"]}}`))
	for range 3 {
		_, _, err := s.Ask(t.Context(), question)
		require.NoError(t, err)
	}
	assert.Equal(t, 1, strings.Count(log.String(), "one store is away"), log)
}

func TestPreflightTellsEveryWrongQueryAtOnce(t *testing.T) {
	s, _ := answers(t, says(200, series("1", "2")))
	other := question
	other.Name = "other"
	_, err := s.Preflight(t.Context(), []Query{question, other})
	assert.ErrorContains(t, err, `query "depth": it finds 2 series`)
	assert.ErrorContains(t, err, `query "other": it finds 2 series`)
}
