package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"
)

// Call is one request of the tool to the API server. Writes are numbered from 1; reads, rehearsals (dryRun), questions
// about permissions, port-forwards and renewals of the Lease are no writes and have number 0.
type Call struct {
	Number int
	Method string
	Path   string
	Token  string // that the tool showed
}

// String is the call as a test's log shows it.
func (c Call) String() string { return fmt.Sprintf("write %d %s %s", c.Number, c.Method, c.Path) }

// Proxy stands between the tool and the API server. It sees every call, and does to it what a test asks for.
type Proxy struct {
	server *httptest.Server
	next   http.RoundTripper
	target *url.URL

	mu     sync.Mutex
	before func(Call) *http.Response
	after  func(Call) bool
	cut    chan struct{} // closed when the cut link is whole again; nil: it is not cut
	writes int
	record string           // the record in the Lease as last written
	older  map[string]*past // what each read was answered once, by its URL
}

// past is an answer that was right at its time.
type past struct {
	at     time.Time
	header http.Header
	body   []byte
}

// Answers that are more than a response: Hang never comes, Stale is what the same read was answered up to five seconds ago.
var (
	Hang  = &http.Response{}
	Stale = &http.Response{}
)

// maxAge is how old a stale answer is at most: caches of an API server lag by seconds.
const maxAge = 5 * time.Second

// StartProxy listens on loopback and forwards with the credential of cfg.
func StartProxy(cfg *rest.Config) (*Proxy, error) {
	own := rest.CopyConfig(cfg)
	own.NextProtos = []string{"http/1.1"} // port-forward switches protocols, which HTTP/2 cannot
	next, err := rest.TransportFor(own)
	if err != nil {
		return nil, err
	}
	target, err := url.Parse(own.Host)
	if err != nil {
		return nil, err
	}
	p := &Proxy{next: next, target: target, older: map[string]*past{}}
	forward := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = target.Host },
		Transport:     p,
		FlushInterval: -1, // watches and logs
		ErrorLog:      slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }, // the connection breaks
	}
	p.server = httptest.NewUnstartedServer(forward)
	p.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	p.server.StartTLS() // without TLS a client shows no token
	return p, nil
}

// Close ends it, and waits for no call.
func (p *Proxy) Close() error { return p.server.Config.Close() }

// Writes is how many writes there were until now.
func (p *Proxy) Writes() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.writes
}

// Before has f called before each call is forwarded; a response it returns is the answer, and nothing is forwarded. Nil: all
// go on.
func (p *Proxy) Before(f func(Call) *http.Response) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before = f
}

// After has f called when a write has been answered by the API server, before the tool gets to know. False: it never does,
// the connection breaks. Nil: it does.
func (p *Proxy) After(f func(Call) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.after = f
}

// Cut takes the link to the API server down until mend is called: no call and no byte of an open stream gets through, and
// nobody is told.
func (p *Proxy) Cut() (mend func()) {
	whole := make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = whole
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.cut = nil
		close(whole)
	})
}

// whole waits while the link is cut.
func (p *Proxy) whole(ctx context.Context) error {
	p.mu.Lock()
	cut := p.cut
	p.mu.Unlock()
	if cut == nil {
		return nil
	}
	select {
	case <-cut:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stream is the body of an answer, on a link that may be cut.
type stream struct {
	io.ReadCloser

	ctx context.Context //nolint:containedctx // of the request that it answers
	p   *Proxy
}

func (s stream) Read(b []byte) (int, error) {
	n, err := s.ReadCloser.Read(b)
	if cut := s.p.whole(s.ctx); cut != nil {
		return 0, cut
	}
	return n, err
}

// Kubeconfig writes a kubeconfig that leads to the proxy and returns the flag for it. The user shows the token in a file;
// tokenFile "": none.
func (p *Proxy) Kubeconfig(file, tokenFile string) (flag string, err error) {
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw})
	c := clientcmdapi.NewConfig()
	c.Clusters["proxy"] = &clientcmdapi.Cluster{Server: p.server.URL, CertificateAuthorityData: authority}
	c.AuthInfos["tool"] = &clientcmdapi.AuthInfo{TokenFile: tokenFile}
	c.Contexts["proxy"] = &clientcmdapi.Context{Cluster: "proxy", AuthInfo: "tool"}
	c.CurrentContext = "proxy"
	return "--kubeconfig=" + file, clientcmd.WriteToFile(*c, file)
}

// RoundTrip forwards one call.
func (p *Proxy) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := p.whole(r.Context()); err != nil {
		return nil, err
	}
	call, err := p.call(r)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	before, after := p.before, p.after
	p.mu.Unlock()
	var instead *http.Response
	if before != nil {
		instead = before(call)
	}
	switch instead {
	case nil, Stale:
	case Hang:
		<-r.Context().Done()
		return nil, r.Context().Err()
	default:
		instead.Request = r
		return instead, nil
	}
	r.Header.Del("Authorization") // the proxy has a credential of its own
	answer, err := p.next.RoundTrip(r)
	if err == nil && r.Method == http.MethodGet && answer.StatusCode == http.StatusOK && !r.URL.Query().Has("watch") && !strings.HasSuffix(r.URL.Path, "/log") {
		return p.remembered(r, answer, instead == Stale)
	}
	if err == nil && call.Number > 0 && after != nil && !after(call) {
		_ = answer.Body.Close()
		return nil, fmt.Errorf("%s: the answer is lost", call)
	}
	if err == nil && answer.StatusCode != http.StatusSwitchingProtocols {
		answer.Body = stream{answer.Body, r.Context(), p}
	}
	return answer, err
}

// remembered keeps the answer to a read, and gives the one before in its place where that is asked for.
func (p *Proxy) remembered(r *http.Request, answer *http.Response, stale bool) (*http.Response, error) {
	body, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	key := r.URL.String()
	old := p.older[key]
	if old == nil || time.Since(old.at) > maxAge {
		p.older[key] = &past{time.Now(), answer.Header, body}
	} else if stale {
		answer.Header, body = old.header, old.body
	}
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	answer.Header.Del("Content-Length")
	return answer, nil
}

func (p *Proxy) call(r *http.Request) (Call, error) {
	call := Call{Method: r.Method, Path: r.URL.Path, Token: strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")}
	if r.Method == http.MethodGet || r.Method == http.MethodHead || r.URL.Query().Has("dryRun") ||
		strings.HasSuffix(r.URL.Path, "reviews") || strings.HasSuffix(r.URL.Path, "/portforward") {
		return call, nil
	}
	renewal, err := p.renewal(r)
	if err != nil || renewal {
		return call, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writes++
	call.Number = p.writes
	return call, nil
}

// renewal says whether a write only moves the Lease's renewTime: it comes every two seconds, whatever the tool does.
func (p *Proxy) renewal(r *http.Request) (bool, error) {
	if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/leases/") {
		return false, nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return false, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	lease := &coordinationv1.Lease{}
	if _, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, lease); err != nil { // JSON or protobuf
		return false, fmt.Errorf("read the Lease that the tool writes: %w", err)
	}
	now := fmt.Sprint(lease.Annotations, ptr.Deref(lease.Spec.HolderIdentity, ""), ptr.Deref(lease.Spec.LeaseTransitions, 0))
	p.mu.Lock()
	defer p.mu.Unlock()
	same := now == p.record
	p.record = now
	return same, nil
}

// Status is an answer of the API server's kind with that code.
func Status(code int, reason, message string, header http.Header) *http.Response {
	body, _ := json.Marshal(map[string]any{
		"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message,
	})
	if header == nil {
		header = http.Header{}
	}
	header.Set("Content-Type", "application/json")
	return &http.Response{
		StatusCode: code, Status: http.StatusText(code), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// look is the context of a proxy's own looks at the cluster.
func look() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 5*time.Second)
}
