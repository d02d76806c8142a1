package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

const (
	maxBody       = 1 << 20 // bytes of an answer that are looked at
	defaultWithin = 5 * time.Second
	defaultStatus = http.StatusOK
	userAgent     = "gray-upgrade" // test requests can be told from users' ones
)

// answer is what came back: the first MiB of the body.
type answer struct {
	status int
	header http.Header
	body   []byte
	took   time.Duration
}

// ask sends one trial to one pod. again says that a second try may do better.
func (v *Verifier) ask(ctx context.Context, side plan.Side, pod Pod, t trial) (r result, again bool) {
	r = result{pod: pod, side: side, trial: t, want: wantStatus(t.check)}
	port := t.check.Port
	if port == 0 {
		var err error
		if port, err = v.Port(ctx); err != nil {
			r.state, r.got = unreached, v.mask.text(err.Error())
			return r, false
		}
	}
	host := pod.IP
	if host == "" {
		host = pod.Name
	}
	req, err := request(ctx, "http://"+net.JoinHostPort(host, strconv.Itoa(port)), t)
	if err != nil {
		r.state, r.got = unreached, v.mask.text(err.Error())
		return r, false
	}
	a, state, err := v.send(v.Client(pod, port), req, within(t.check))
	r.took, r.state = a.took, state
	if err != nil {
		r.want, r.got = wantFrom(t.check, state), v.mask.text(err.Error())
		return r, !errors.Is(err, errSlow) && state != wrong
	}
	if want, got := expect(t, a, v.mask); want != "" {
		r.state, r.want, r.got = wrong, want, got
		return r, false
	}
	r.got = fmt.Sprintf("status %d", a.status)
	return r, false
}

// wantFrom is what was expected of a pod in a state: where none came, any answer.
func wantFrom(c config.Check, s state) string {
	if s == silent {
		return "an answer within " + within(c).String()
	}
	return wantStatus(c)
}

// request makes the request of a trial. What the account adds wins over what the check says, for only it is secret and
// says who asks.
func request(ctx context.Context, base string, t trial) (*http.Request, error) {
	method := t.check.Method
	if method == "" {
		method = http.MethodGet
	}
	var body io.Reader
	if t.check.Body != "" {
		body = strings.NewReader(t.check.Body)
	}
	req, err := http.NewRequestWithContext(ctx, method, base+t.check.Path, body)
	if err != nil {
		return nil, err
	}
	req.Close = true // a connection of its own for each request: no stale one is reused, none is left behind
	req.Header.Set("User-Agent", userAgent)
	for _, headers := range []map[string]string{t.check.Headers, t.account.Headers} {
		for name, value := range headers {
			if strings.EqualFold(name, "Host") {
				req.Host = value
				continue
			}
			req.Header.Set(name, value)
		}
	}
	if cookies := cookiesOf(t.account); cookies != "" {
		req.Header.Set("Cookie", cookies)
	}
	return req, nil
}

// cookiesOf is the Cookie header of an account, in the order of the names.
func cookiesOf(a config.Account) string {
	var pairs []string
	for name, value := range a.Cookies {
		pairs = append(pairs, name+"="+value)
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "; ")
}

var (
	errSlow    = errors.New("no whole answer")
	errConnect = errors.New("no connection")
)

// send sends a request and reads the answer. Reaching the pod has its own time (reach): within counts from the
// connection on, because how long a tunnel takes says nothing about the app. An error comes with whose it is: unreached
// (ours), silent (the app took the connection and did not answer) or wrong (it began to answer and broke off).
func (v *Verifier) send(client *http.Client, req *http.Request, within time.Duration) (answer, state, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	defer cancel(nil)
	limit := time.AfterFunc(v.reach, func() { cancel(fmt.Errorf("%w within %s", errConnect, v.reach)) })
	defer func() { limit.Stop() }()
	var connected, answered atomic.Bool
	var begin atomic.Pointer[time.Time]
	trace := &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) {
			if !connected.Swap(true) {
				now := time.Now()
				begin.Store(&now)
				limit.Stop()
				time.AfterFunc(within, func() { cancel(fmt.Errorf("%w in %s", errSlow, within)) })
			}
		},
		GotFirstResponseByte: func() { answered.Store(true) },
	}
	took := func() time.Duration {
		if t := begin.Load(); t != nil {
			return time.Since(*t)
		}
		return 0
	}
	fail := func(err error) (answer, state, error) {
		var plain *url.Error
		if errors.As(err, &plain) {
			err = plain.Err // without the request's URL
		}
		if cause := context.Cause(ctx); cause != nil {
			err = cause // what ended it, not what it felt like
		}
		return answer{took: took()}, whose(err, connected.Load(), answered.Load()), err
	}
	resp, err := bare(client).Do(req.WithContext(httptrace.WithClientTrace(ctx, trace)))
	if err != nil {
		return fail(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return fail(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, body: body, took: took()}
	if a.took > within {
		return a, silent, fmt.Errorf("%w in %s", errSlow, within)
	}
	return a, passed, nil
}

// bare is the client without what would change the question or hide the answer: no redirect is followed, no cookie kept.
func bare(client *http.Client) *http.Client {
	return &http.Client{
		Transport:     client.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// whose says whose failure an error is. Only what the pod itself did counts against it: it hung up, reset the
// connection, was too slow, or broke off. A refused connection or a broken tunnel does not.
func whose(err error, connected, answered bool) state {
	switch {
	case errors.Is(err, errSlow):
		return silent
	case errors.Is(err, context.Canceled), errors.Is(err, errConnect), !connected:
		return unreached
	case answered:
		return wrong
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return silent
	}
	return unreached
}

func within(c config.Check) time.Duration {
	if c.Within == 0 {
		return defaultWithin
	}
	return c.Within
}
