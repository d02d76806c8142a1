package observe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
	"github.com/gray-upgrade/gray-upgrade/internal/replay"
)

// api is an API server in memory, spoken to through a RoundTripper so that it lives in a synctest bubble: lists and
// watches of pods, followed logs, metrics.k8s.io.
type api struct {
	mu       sync.Mutex
	version  int
	pods     map[string]*corev1.Pod
	watchers map[*watcher]bool
	logs     map[string]*logFile // by pod/container
	metrics  func(selector string) (int, string)
	refuse   bool
	noLogs   bool
}

type watcher struct {
	selector labels.Selector
	out      *io.PipeWriter
	events   chan []byte
}

type logLine struct {
	at   time.Time
	text string
}

// logFile is the log of a container; broken connections are told by a new generation.
type logFile struct {
	lines      []logLine
	previous   []logLine // of the container before the restart
	generation int
	again      int // how often it was sent once more
	changed    chan struct{}
	asked      []string // the queries it was asked with, but for those for the container before
}

func newAPI() *api {
	return &api{pods: map[string]*corev1.Pod{}, watchers: map[*watcher]bool{}, logs: map[string]*logFile{}}
}

func (a *api) client(t *testing.T) *kubernetes.Clientset {
	t.Helper()
	c, err := kubernetes.NewForConfig(&rest.Config{Host: "http://api", Transport: a, QPS: 1000, Burst: 1000})
	require.NoError(t, err)
	return c
}

// RoundTrip answers one request.
func (a *api) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	refuse, metrics := a.refuse, a.metrics
	a.mu.Unlock()
	q, path := r.URL.Query(), strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/shop/pods")
	switch {
	case refuse:
		return nil, errors.New("connection refused")
	case strings.HasPrefix(r.URL.Path, "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods"):
		if metrics == nil {
			return answer(http.StatusNotFound, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`), nil
		}
		code, text := metrics(q.Get("labelSelector"))
		return answer(code, text), nil
	case path == "" && q.Get("watch") != "":
		return a.watch(r.Context(), q.Get("labelSelector"))
	case path == "":
		return a.list(q.Get("labelSelector"))
	case strings.HasSuffix(path, "/log"):
		return a.log(r.Context(), strings.Split(path, "/")[1]+"/"+q.Get("container"), r.URL)
	}
	return nil, fmt.Errorf("not made: %s", r.URL)
}

func answer(code int, text string) *http.Response {
	return &http.Response{
		StatusCode: code, Header: http.Header{"Content-Type": []string{"application/json"}},
		Body: io.NopCloser(strings.NewReader(text)),
	}
}

func (a *api) list(selector string) (*http.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	want, err := labels.Parse(selector)
	if err != nil {
		return nil, err
	}
	list := corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}}
	list.ResourceVersion = strconv.Itoa(a.version)
	for _, p := range a.pods {
		if want.Matches(labels.Set(p.Labels)) {
			list.Items = append(list.Items, *p)
		}
	}
	text, err := json.Marshal(list)
	return answer(http.StatusOK, string(text)), err
}

func (a *api) watch(ctx context.Context, selector string) (*http.Response, error) {
	want, err := labels.Parse(selector)
	if err != nil {
		return nil, err
	}
	in, out := io.Pipe()
	w := &watcher{selector: want, out: out, events: make(chan []byte, 1000)}
	a.mu.Lock()
	a.watchers[w] = true
	a.mu.Unlock()
	go func() {
		defer func() { _ = out.Close() }()
		for {
			select {
			case <-ctx.Done():
				return
			case e, open := <-w.events:
				if !open {
					return
				}
				if _, err := out.Write(e); err != nil {
					return
				}
			}
		}
	}()
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": []string{"application/json"}}, Body: in}, nil
}

// send tells the watchers of a pod's change.
func (a *api) send(kind string, p *corev1.Pod) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.version++
	p = p.DeepCopy()
	p.TypeMeta = metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"}
	p.ResourceVersion = strconv.Itoa(a.version)
	a.pods[p.Name] = p
	if kind == "DELETED" {
		delete(a.pods, p.Name)
	}
	text, err := json.Marshal(map[string]any{"type": kind, "object": p})
	if err != nil {
		panic(err)
	}
	for w := range a.watchers {
		if w.selector.Matches(labels.Set(p.Labels)) {
			w.events <- text
		}
	}
}

// breakWatches ends all watches, as an API server does from time to time.
func (a *api) breakWatches() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for w := range a.watchers {
		close(w.events)
	}
	clear(a.watchers)
}

func (a *api) file(name string) *logFile {
	f := a.logs[name]
	if f == nil {
		f = &logFile{changed: make(chan struct{})}
		a.logs[name] = f
	}
	return f
}

// again writes a line four times a second for five seconds: less of it may be chance.
func (a *api) again(container, line string) {
	for range 20 {
		a.write(container, line)
		time.Sleep(250 * time.Millisecond)
	}
}

// write adds a line to a log.
func (a *api) write(name, text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.file(name)
	f.lines = append(f.lines, logLine{time.Now(), text})
	close(f.changed)
	f.changed = make(chan struct{})
}

// breakLogs ends the connections to a log.
func (a *api) breakLogs(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.file(name)
	f.generation++
	close(f.changed)
	f.changed = make(chan struct{})
}

// restart ends the connections to a log and begins a new one; what nobody has read of the old one yet, in lines, stays in it.
func (a *api) restart(name string, unread ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.file(name)
	f.previous = f.lines
	for _, text := range unread {
		f.previous = append(f.previous, logLine{time.Now(), text})
	}
	f.lines = nil
	f.generation++
	close(f.changed)
	f.changed = make(chan struct{})
}

// rotate puts what was written out of reach, and ends the connections to a log.
func (a *api) rotate(name string) {
	a.breakLogs(name)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.file(name).lines = nil
}

// sendAgain makes those who follow a log read it from its begin once more, over the same connection.
func (a *api) sendAgain(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.file(name)
	f.again++
	close(f.changed)
	f.changed = make(chan struct{})
}

// log follows a log as the kubelet does: sinceTime in whole seconds, sinceSeconds, tailLines.
func (a *api) log(ctx context.Context, name string, u *url.URL) (*http.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.noLogs {
		return answer(http.StatusForbidden, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`), nil
	}
	f, q := a.file(name), u.Query()
	if q.Get("previous") != "" {
		return f.ofPrevious(q)
	}
	f.asked = append(f.asked, u.RawQuery)
	next, err := begin(f.lines, q)
	if err != nil {
		return nil, err
	}
	in, out := io.Pipe()
	generation, again := f.generation, f.again
	go func() {
		defer func() { _ = out.Close() }()
		for {
			a.mu.Lock()
			if again != f.again {
				next, again = 0, f.again
			}
			changed, broken := f.changed, f.generation != generation || q.Get("follow") == ""
			lines := f.lines[min(next, len(f.lines)):]
			next = len(f.lines)
			a.mu.Unlock()
			if _, err := out.Write(stamped(lines)); err != nil || broken {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
		}
	}()
	return &http.Response{StatusCode: http.StatusOK, Body: in}, nil
}

func stamped(lines []logLine) []byte {
	var b bytes.Buffer
	for _, l := range lines {
		fmt.Fprintf(&b, "%s %s\n", l.at.Format(time.RFC3339Nano), l.text)
	}
	return b.Bytes()
}

func (f *logFile) ofPrevious(q url.Values) (*http.Response, error) {
	if f.previous == nil {
		return answer(http.StatusBadRequest, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"BadRequest","code":400}`), nil
	}
	next, err := begin(f.previous, q)
	if err != nil {
		return nil, err
	}
	return answer(http.StatusOK, string(stamped(f.previous[next:]))), nil
}

// begin is the index of the first line to send.
func begin(lines []logLine, q url.Values) (int, error) {
	next := 0
	since := time.Time{}
	if s := q.Get("sinceTime"); s != "" {
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return 0, err
		}
		since = t
	}
	if s := q.Get("sinceSeconds"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			return 0, err
		}
		since = time.Now().Add(-time.Duration(n) * time.Second)
	}
	for next < len(lines) && lines[next].at.Before(since) {
		next++
	}
	if s := q.Get("tailLines"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			return 0, err
		}
		next = max(next, len(lines)-n)
	}
	return next, nil
}

// podOf is a pod that serves.
func podOf(side plan.Side, name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", UID: types.UID("uid-" + name), Labels: map[string]string{"side": string(side)}},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning,
			Conditions: []corev1.PodCondition{
				{Type: corev1.PodReady, Status: corev1.ConditionTrue}, {Type: corev1.ContainersReady, Status: corev1.ConditionTrue},
			},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "app", ContainerID: "containerd://1", Ready: true}},
		},
	}
}

// ended is the pod after its container ended and before it runs again.
func ended(p *corev1.Pod, id, reason string, code int32) *corev1.Pod {
	p = unready(p, corev1.ConditionFalse, corev1.ConditionFalse)
	c := &p.Status.ContainerStatuses[0]
	c.RestartCount++
	c.State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ContainerID: id, Reason: reason, ExitCode: code}}
	return p
}

// restarted is the pod after that, with its container running again.
func restarted(p *corev1.Pod) *corev1.Pod {
	p = unready(p, corev1.ConditionTrue, corev1.ConditionTrue)
	c := &p.Status.ContainerStatuses[0]
	c.LastTerminationState, c.State = c.State, corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	return p
}

// unready is the pod with its conditions at these values, and its containers as they say.
func unready(p *corev1.Pod, ready, containers corev1.ConditionStatus) *corev1.Pod {
	p = p.DeepCopy()
	p.Status.Conditions[0].Status, p.Status.Conditions[1].Status = ready, containers
	for i := range p.Status.ContainerStatuses {
		p.Status.ContainerStatuses[i].Ready = containers == corev1.ConditionTrue
	}
	return p
}

// scene is a Watch on an api, with traffic that flows at set rates.
type scene struct {
	*Watch
	api      *api
	findings <-chan judge.Finding
	stop     context.CancelFunc

	told     sync.Mutex            // guards what follows; the watch has a mu of its own
	rate     map[plan.Side]float64 // requests a second
	errShare map[plan.Side]float64
	done     map[plan.Side]judge.Traffic
	counted  time.Time
	trouble  func(ctx context.Context) error
	records  map[string][]any
	evidence bytes.Buffer // the lines as they are written to a file
}

// bySide are the selectors of pods that are labelled by their side.
func bySide(context.Context) (gray, production labels.Selector, err error) {
	return labels.SelectorFromSet(labels.Set{"side": "gray"}), labels.SelectorFromSet(labels.Set{"side": "production"}), nil
}

func newScene(t *testing.T, change func(*Options)) *scene {
	t.Helper()
	s := &scene{
		api: newAPI(), counted: time.Now(), records: map[string][]any{},
		rate: map[plan.Side]float64{}, errShare: map[plan.Side]float64{}, done: map[plan.Side]judge.Traffic{},
	}
	for _, name := range []string{"cart-gray-1", "cart-gray-2"} {
		s.api.send("ADDED", podOf(plan.Gray, name))
	}
	for _, name := range []string{"cart-1", "cart-2", "cart-3", "cart-4"} {
		s.api.send("ADDED", podOf(plan.Production, name))
	}
	o := Options{
		Kube: s.api.client(t), Target: plan.Target{Namespace: "shop"}, Limits: judge.Defaults(), Traffic: s.traffic,
		Selectors: bySide,
		Record:    s.record,
	}
	if change != nil {
		change(&o)
	}
	s.record("header", map[string]any{"schema": replay.Schema})
	s.record("limits", o.Limits)
	s.Watch = New(o)
	return s
}

// run starts the watch.
func (s *scene) run(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	s.stop = stop
	s.findings = s.Watch.Watch(ctx)
}

// end stops the watch and waits until the channel is closed.
func (s *scene) end() {
	s.stop()
	for range s.findings {
		continue // only its end matters
	}
}

func (s *scene) record(kind string, v any) {
	s.told.Lock()
	defer s.told.Unlock()
	s.records[kind] = append(s.records[kind], v)
	text, err := json.Marshal(map[string]any{"t": time.Now(), "kind": kind, "v": v})
	if err != nil {
		panic(err)
	}
	s.evidence.Write(append(text, '\n'))
}

// written is the evidence until now.
func (s *scene) written() string {
	s.told.Lock()
	defer s.told.Unlock()
	return s.evidence.String()
}

func (s *scene) recorded(kind string) []any {
	s.told.Lock()
	defer s.told.Unlock()
	return append([]any(nil), s.records[kind]...)
}

// count brings the counts up to now.
func (s *scene) count() {
	seconds := time.Since(s.counted).Seconds()
	s.counted = time.Now()
	for _, side := range []plan.Side{plan.Gray, plan.Production} {
		n := s.rate[side] * seconds
		d := s.done[side]
		s.done[side] = judge.Traffic{Requests: d.Requests + n, Errors: d.Errors + n*s.errShare[side]}
	}
}

// flow sets the rates from now on.
func (s *scene) flow(gray, production, grayErrors, productionErrors float64) {
	s.told.Lock()
	defer s.told.Unlock()
	s.count()
	s.rate[plan.Gray], s.rate[plan.Production] = gray, production
	s.errShare[plan.Gray], s.errShare[plan.Production] = grayErrors, productionErrors
}

func (s *scene) traffic(ctx context.Context) (gray, production judge.Traffic, err error) {
	s.told.Lock()
	trouble := s.trouble
	s.told.Unlock()
	if trouble != nil {
		if err := trouble(ctx); err != nil {
			return gray, production, err
		}
	}
	s.told.Lock()
	defer s.told.Unlock()
	s.count()
	return s.done[plan.Gray], s.done[plan.Production], nil
}

// next waits for a finding; ok is false when none came in time.
func (s *scene) next(d time.Duration) (f judge.Finding, ok bool) {
	select {
	case f = <-s.findings:
		return f, true
	case <-time.After(d):
		return f, false
	}
}
