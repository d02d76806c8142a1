package verify

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// world is a cluster of pods that are real HTTP servers. Its methods are what Options asks for.
type world struct {
	t     *testing.T
	mu    sync.Mutex
	pods  map[plan.Side][]Pod
	addr  map[string]string
	said  map[string]string // by pod: the message of the last mark
	ports []int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{t: t, pods: map[plan.Side][]Pod{}, addr: map[string]string{}, said: map[string]string{}}
}

// add puts a pod with ready containers on a side.
func (w *world) add(side plan.Side, name string, h http.Handler) *world {
	s := httptest.NewServer(h)
	w.t.Cleanup(func() {
		s.CloseClientConnections() // a test of slow answers does not wait for them
		s.Close()
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.addr[name] = s.Listener.Addr().String()
	w.pods[side] = append(w.pods[side], Pod{Name: name, UID: "uid-" + name, IP: "10.0.0.1", Ready: true})
	return w
}

func (w *world) list(_ context.Context, side plan.Side) ([]Pod, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Pod(nil), w.pods[side]...), nil
}

func (w *world) edit(name string, f func(*Pod)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, pods := range w.pods {
		for i := range pods {
			if pods[i].Name == name {
				f(&pods[i])
			}
		}
	}
}

func (w *world) remove(side plan.Side, name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, p := range w.pods[side] {
		if p.Name == name {
			w.pods[side] = append(w.pods[side][:i:i], w.pods[side][i+1:]...)
		}
	}
}

func (w *world) mark(_ context.Context, pod string, ok bool, message string) error {
	w.edit(pod, func(p *Pod) { p.Verified = ok })
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said[pod] = message
	return nil
}

func (w *world) client(pod Pod, port int) *http.Client {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ports = append(w.ports, port)
	addr := w.addr[pod.Name]
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		if addr == "" {
			return nil, errors.New("forward: the stream connection broke")
		}
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addr)
	}}}
}

func (w *world) verified() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var names []string
	for _, p := range w.pods[plan.Gray] {
		if p.Verified {
			names = append(names, p.Name)
		}
	}
	return names
}

// verifier asks the world; tests do not wait a whole second for a second try.
func (w *world) verifier(accounts []config.Account, checks ...config.Check) *Verifier {
	v := New(Options{
		Accounts: accounts, Checks: checks, Pods: w.list, Client: w.client, Mark: w.mark,
		Port: func(context.Context) (int, error) { return 8080, nil },
	})
	v.retry, v.reach, v.routeWait, v.replace = 10*time.Millisecond, 500*time.Millisecond, 600*time.Millisecond, 300*time.Millisecond
	return v
}

// shop answers GET /account with the account's name.
var shop = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	c, err := r.Cookie("session")
	if err != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	name := map[string]string{"s3cret-a": "alice", "s3cret-b": "bob"}[c.Value]
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"account":{"name":"` + name + `"},"items":[{"id":7}]}`))
})

func answers(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

var (
	alice  = config.Account{Name: "alice", Cookies: map[string]string{"session": "s3cret-a"}}
	bob    = config.Account{Name: "bob", Cookies: map[string]string{"session": "s3cret-b"}}
	both   = []config.Account{alice, bob}
	signIn = config.Check{Name: "sign-in", Path: "/account", Status: 200, Side: "gray", Within: 2 * time.Second}
)
