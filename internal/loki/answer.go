package loki

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gray-upgrade/gray-upgrade/internal/monitor"
)

// QueryError says that a query is to blame, and not who answers it: as it stands it will never have lines of pods as its
// answer.
type QueryError struct{ Why string }

// Error is what is wrong with it.
func (e *QueryError) Error() string { return e.Why }

// line is one entry of a log.
type line struct {
	at                   int64 // nanoseconds since 1970
	pod, container, text string
	id                   uint64 // of its labels, time and text: of lines that share it Loki itself keeps one
}

// Labels that name a pod and its container: as the Kubernetes examples of Promtail and Alloy set them, and what Loki makes
// of OpenTelemetry's k8s.pod.name (https://grafana.com/docs/loki/latest/send-data/otel/). Other agents' are renamed in the
// query, by label_format.
var (
	podLabels       = []string{"pod", "k8s_pod_name"}
	containerLabels = []string{"container", "k8s_container_name"}
)

// answer is what is used of an answer of query_range.
type answer struct {
	Data struct {
		ResultType string          `json:"resultType"`
		Result     json.RawMessage `json:"result"`
	} `json:"data"`
}

// stream is the lines of one set of labels. What stands behind a line's text (structured metadata) is left out.
type stream struct {
	Stream map[string]string `json:"stream"`
	Values [][2]string       `json:"values"`
}

// meaning is what an answer says:
//
//	200, streams                      lines; none is no fault: of a pod without any nothing is known (observe counts it unread)
//	200, a stream without a pod       the query is wrong: whose lines are these?
//	200, a matrix, vector or scalar   the query is wrong: it counts lines
//	400                               the query is wrong, in Loki's words: it cannot be parsed, or is over a limit
//	401, 403, 404, 429, 5xx, a        a broken monitor
//	  redirect, no JSON, more than
//	  32 MiB, nothing for 5 s
//
// In preflight whatever is wrong ends the command with exit code 2. Later a page that failed is asked for again, in half;
// while users are on gray, after 10 s in which not everything was read up to now, it is an infrastructure fault, also of a
// Loki that answers more slowly than the pods write: never the image's, and never a pass.
func meaning(text []byte) ([]line, error) {
	var a answer
	if err := json.Unmarshal(text, &a); err != nil || a.Data.ResultType == "" {
		return nil, errors.New("the answer is not what Loki gives: " + monitor.Cut(string(text)))
	}
	if a.Data.ResultType != "streams" {
		return nil, &QueryError{"it finds a " + monitor.Cut(a.Data.ResultType) + " and must find lines: take the function around the selector away"}
	}
	var streams []stream
	if err := json.Unmarshal(a.Data.Result, &streams); err != nil {
		return nil, fmt.Errorf("the answer is not what Loki gives: %s", monitor.Cut(err.Error()))
	}
	var all []line
	for _, s := range streams {
		lines, err := s.lines()
		if err != nil {
			return nil, err
		}
		all = append(all, lines...)
	}
	// Loki sorts within a stream; the lines of one container may stand in several, by level or by stdout and stderr.
	slices.SortStableFunc(all, func(a, b line) int { return cmp.Compare(a.at, b.at) })
	return all, nil
}

var seed = maphash.MakeSeed()

func (s stream) lines() ([]line, error) {
	pod, container := first(s.Stream, podLabels), first(s.Stream, containerLabels)
	if pod == "" && len(s.Values) > 0 {
		return nil, &QueryError{fmt.Sprintf("it finds lines without a label %s; theirs are %s", strings.Join(podLabels, " or "),
			monitor.Cut(strings.Join(slices.Sorted(maps.Keys(s.Stream)), ", ")))}
	}
	var labels maphash.Hash
	labels.SetSeed(seed)
	for _, name := range slices.Sorted(maps.Keys(s.Stream)) {
		maphash.WriteComparable(&labels, [2]string{name, s.Stream[name]})
	}
	of := labels.Sum64()
	all := make([]line, 0, len(s.Values))
	for _, v := range s.Values {
		at, err := strconv.ParseInt(v[0], 10, 64)
		if err != nil || at <= 0 {
			return nil, errors.New("the answer is not what Loki gives: a line of the time " + monitor.Cut(v[0]))
		}
		id := maphash.Comparable(seed, struct {
			of   uint64
			at   int64
			text string
		}{of, at, v[1]})
		all = append(all, line{at: at, pod: pod, container: container, text: v[1], id: id})
	}
	slices.SortStableFunc(all, func(a, b line) int { return cmp.Compare(a.at, b.at) })
	return all, nil
}

func first(labels map[string]string, names []string) string {
	for _, name := range names {
		if labels[name] != "" {
			return labels[name]
		}
	}
	return ""
}

// refusal is what a status other than 200 says, with Loki's words: a plain text.
func refusal(code int, text []byte) error {
	words := monitor.Cut(string(bytes.TrimSpace(text)))
	if code == http.StatusBadRequest {
		return &QueryError{"Loki says: " + words}
	}
	return fmt.Errorf("%d %s: %s", code, http.StatusText(code), words)
}
