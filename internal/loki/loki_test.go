package loki

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

const selector = `{pod=~"cart-.*"}`

// served is a Loki behind a real connection.
func served(t *testing.T, handle http.HandlerFunc) *Server {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	return New(Options{URL: server.URL + "/gateway", Token: "hunter2", Tenant: "shop"})
}

func says(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}
}

func result(kind, value string) string {
	return fmt.Sprintf(`{"status":"success","data":{"resultType":%q,"result":%s,"stats":{"summary":{}}}}`, kind, value)
}

func streamOf(labels string, values ...string) string {
	return result("streams", fmt.Sprintf(`[{"stream":{%s},"values":[%s]}]`, labels, strings.Join(values, ",")))
}

// TestMeaning has a row for every kind of answer: what it says while users are on gray, and in preflight.
func TestMeaning(t *testing.T) {
	const entry = `["1700000000000000001","ready"]`
	for name, tc := range map[string]struct {
		code  int
		body  string
		pod   string // whose line it is
		wrong string // the query is to blame
		dead  string // the server is
	}{
		"a line":                   {200, streamOf(`"pod":"cart-1","container":"app"`, entry), "cart-1/app", "", ""},
		"no container":             {200, streamOf(`"pod":"cart-1"`, entry), "cart-1/", "", ""},
		"by OpenTelemetry":         {200, streamOf(`"k8s_pod_name":"cart-1","k8s_container_name":"app"`, entry), "cart-1/app", "", ""},
		"with structured metadata": {200, streamOf(`"pod":"cart-1"`, `["1700000000000000001","ready",{"structuredMetadata":{"a":"b"}}]`), "cart-1/", "", ""},
		"no stream":                {200, result("streams", "[]"), "", "", ""},
		"null":                     {200, result("streams", "null"), "", "", ""},
		"no pod":                   {200, streamOf(`"app":"cart","job":"x"`, entry), "", "it finds lines without a label pod or k8s_pod_name; theirs are app, job", ""},
		"matrix":                   {200, result("matrix", `[{"metric":{},"values":[[1,"1"]]}]`), "", "it finds a matrix and must find lines", ""},
		"vector":                   {200, result("vector", `[{"metric":{},"value":[1,"1"]}]`), "", "it finds a vector and must find lines", ""},
		"cannot be parsed":         {400, "parse error at line 1, col 24: literal not terminated\n", "", "Loki says: parse error at line 1, col 24: literal not terminated", ""},
		"over a limit":             {400, "max entries limit per query exceeded", "", "Loki says: max entries limit", ""},
		"no tenant":                {401, "no org id\n", "", "", "401 Unauthorized: no org id"},
		"no right":                 {403, "", "", "", "403 Forbidden"},
		"not there":                {404, "<html>", "", "", "404 Not Found"},
		"too many":                 {429, "too many outstanding requests", "", "", "429 Too Many Requests: too many outstanding"},
		"broken":                   {500, "rpc error: code = ResourceExhausted", "", "", "500 Internal Server Error: rpc error"},
		"elsewhere":                {302, "", "", "", "302 Found"},
		"no JSON":                  {200, "<html>", "", "", "the answer is not what Loki gives: <html>"},
		"other JSON":               {200, "{}", "", "", "the answer is not what Loki gives"},
		"no time":                  {200, streamOf(`"pod":"cart-1"`, `["now","ready"]`), "", "", "a line of the time now"},
		"no lines":                 {200, streamOf(`"pod":"cart-1"`, `[1,2]`), "", "", "the answer is not what Loki gives"},
		"torn":                     {200, `{"status":"success","data":{"resultType":"streams","result":[{"str`, "", "", "the answer is not what Loki gives"},
		"too long":                 {200, streamOf(`"pod":"`+strings.Repeat("x", maxAnswer)+`"`, entry), "", "", "the answer is longer than 33554432 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			s := served(t, says(tc.code, tc.body))
			h := &heard{}
			more, err := s.Side(selector).Next(t.Context(), h.take)
			warnings, refused := s.Preflight(t.Context(), selector)
			assert.False(t, more)
			if tc.wrong+tc.dead != "" {
				require.ErrorContains(t, err, tc.wrong+tc.dead)
				assert.Empty(t, h.texts)
				var wrong *QueryError
				assert.Equal(t, tc.wrong != "", errors.As(err, &wrong), "whose fault it is")
				isInput(t, refused, tc.wrong+tc.dead, tc.wrong != "")
				return
			}
			require.NoError(t, err)
			require.NoError(t, refused)
			if tc.pod == "" {
				assert.Empty(t, h.texts)
				require.Len(t, warnings, 1)
				assert.Contains(t, warnings[0], "has no line of production in the last 10m0s; if it stays so for gray, no step can pass; asked: "+selector)
				return
			}
			assert.Empty(t, warnings)
			assert.Equal(t, []string{tc.pod}, h.pods)
			assert.Equal(t, []string{"ready"}, h.texts)
		})
	}
}

// isInput says that an error ends the command with exit code 2, and what is to be done.
func isInput(t *testing.T, err error, words string, query bool) {
	t.Helper()
	require.ErrorContains(t, err, words)
	var f *plan.Failure
	require.ErrorAs(t, err, &f)
	assert.Equal(t, plan.FaultInput, f.Fault)
	assert.NotContains(t, err.Error(), "hunter2")
	if query {
		assert.Contains(t, err.Error(), "for production: "+selector)
		assert.Contains(t, f.Next, "correct loki-query")
	} else {
		assert.Contains(t, f.Next, "GRAY_LOKI_TENANT")
	}
}

func TestNobodyThere(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	_, err := New(Options{URL: server.URL}).Preflight(t.Context(), selector)
	require.ErrorContains(t, err, "connection refused")
	assert.NotContains(t, err.Error(), "query_range", "the question is not repeated")
	isInput(t, err, "Loki at "+server.URL+" cannot be asked", false)
}

func TestWhatIsAsked(t *testing.T) {
	s := served(t, func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "/gateway/loki/api/v1/query_range", r.URL.Path)
		assert.Equal(t, "Bearer hunter2", r.Header.Get("Authorization"))
		assert.Equal(t, "shop", r.Header.Get("X-Scope-OrgID"))
		assert.Equal(t, selector, r.FormValue("query"))
		assert.Equal(t, "forward", r.FormValue("direction"))
		assert.Equal(t, "1000", r.FormValue("limit"))
		assert.Empty(t, r.FormValue("end"), "the server's own now")
		if r.FormValue("since") == "" {
			assert.Equal(t, "1699999990000000001", r.FormValue("start"))
		}
		fmt.Fprint(w, streamOf(`"pod":"cart-1"`, `["1700000000000000001","ready"]`))
	})
	side, h := s.Side(selector), &heard{}
	for range 2 {
		_, err := side.Next(t.Context(), h.take)
		require.NoError(t, err)
	}
	assert.Equal(t, []string{"ready"}, h.texts)
}
