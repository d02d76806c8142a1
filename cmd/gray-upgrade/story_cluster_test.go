package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"

	"github.com/gray-upgrade/gray-upgrade/internal/clustertest"
	"github.com/gray-upgrade/gray-upgrade/internal/e2e"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
	"github.com/gray-upgrade/gray-upgrade/internal/state"
)

// story is a shop of its own and the program run on it, as one step of a job.
type story struct {
	*e2e.Shop

	t          *testing.T
	before     map[string]string
	kubeconfig string // "": the cluster's own, which may do everything
}

func newStory(t *testing.T, o e2e.Options) *story {
	t.Helper()
	cfg := clustertest.Config(t)
	shop, err := e2e.NewShop(t.Context(), cfg, clustertest.Namespace(t, cfg), o)
	require.NoError(t, err)
	before, err := shop.Snapshot(t.Context())
	require.NoError(t, err)
	return &story{Shop: shop, t: t, before: before}
}

// quick makes an upgrade short: no load is needed, because no number of requests is.
var quick = []string{"--image=" + e2e.Repository + ":v2", "--steps=100", "--return-steps=0", "--step-duration=1s", "--thresholds={min-requests: 0}", "--gray-args=--mode=gray"}

// run runs one command on the shop and returns its exit code and all that it printed.
func (s *story) run(words string, flags ...string) (code int, output string) {
	s.t.Helper()
	args := append([]string{"gray-upgrade"}, strings.Fields(words)...)
	args = append(args, "--namespace="+s.Namespace, "--service=web")
	if s.kubeconfig != "" {
		args = append(args, "--kubeconfig="+s.kubeconfig)
	}
	if words == "run" || words == "plan" || words == "offline-test run" {
		args = append(args, "--evidence="+s.t.TempDir())
	}
	var out bytes.Buffer
	w := world{Getenv: func(string) string { return "" }, Environ: func() []string { return nil }, ReadFile: os.ReadFile, Stdout: &out, Stderr: &out}
	code = run(s.t.Context(), append(args, flags...), w)
	return code, out.String()
}

// unchanged asserts that the namespace is what it was, and that not even a Lease was made.
func (s *story) unchanged() {
	s.t.Helper()
	after, err := s.Snapshot(s.t.Context())
	require.NoError(s.t, err)
	assert.Empty(s.t, e2e.Diff(s.before, after))
	leases, err := s.Kube.CoordinationV1().Leases(s.Namespace).List(s.t.Context(), metav1.ListOptions{})
	require.NoError(s.t, err)
	assert.Empty(s.t, leases.Items)
}

func TestPlanAndStatusChangeNothing(t *testing.T) {
	t.Parallel()
	s := newStory(t, e2e.Options{Replicas: 2})
	code, output := s.run("plan", quick...)
	assert.Equal(t, 0, code, output)
	for _, want := range []string{
		"plan: Deployment " + s.Namespace + "/web from " + e2e.Repository + ":v1 to " + e2e.Repository + ":v2, at most ",
		"start 1 gray pod", "verify every gray pod", "weight 100", "roll production", "remove gray", "no checks are set",
	} {
		assert.Contains(t, output, want)
	}
	s.unchanged()

	dry, dryOutput := s.run("run", append([]string{"--dry-run"}, quick...)...)
	assert.Equal(t, 0, dry, dryOutput)
	assert.Equal(t, output, dryOutput, "run --dry-run is plan")

	code, output = s.run("status")
	assert.Equal(t, 0, code, output)
	assert.Equal(t, "production  "+e2e.Repository+":v1, 2 of 2 pods ready\ngray        none, weight 0\nrunning     nothing\n", output)

	code, output = s.run("offline-test pass", "--digest=sha256:"+strings.Repeat("0", 64), "--by=kim", "--why=staging")
	assert.Equal(t, 2, code, output)
	assert.Contains(t, output, "is not on hold; gray-upgrade status --namespace "+s.Namespace+" --service web lists what is")
}

func TestWhatIsWrongWithTheShopIsNamed(t *testing.T) {
	t.Parallel()
	s := newStory(t, e2e.Options{Replicas: 1, Cart: true})
	refused := func(wants []string, flags ...string) {
		t.Helper()
		code, output := s.run("run", append(quick, flags...)...)
		assert.Equal(t, 2, code, output)
		for _, want := range append(wants, "nothing was changed") {
			assert.Contains(t, output, want)
		}
	}
	refused([]string{"there is no Service web in namespace nowhere; there are none"}, "--namespace=nowhere")
	refused([]string{"there is no Service wbe in namespace " + s.Namespace + "; there are cart, web"}, "--service=wbe")
	refused([]string{"there is no Deployment wbe", "there are cart, web", "httproute/wbe", "the route that does is httproute/web"},
		"--deployment=wbe", "--gateway=httproute/wbe")
	s.unchanged()

	route := fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: KIND
metadata: {name: web-internal, namespace: %s}
spec:
  parentRefs: [{name: shop, namespace: gateway}]
  hostnames: [internal.shop.test]
  rules: [{backendRefs: [{name: web, port: 80}]}]
`, s.Namespace)
	for kind, wants := range map[string][]string{
		"HTTPRoute": {"2 routes lead to Service", "httproute/web, httproute/web-internal", "bring their rules into one HTTPRoute"},
		"GRPCRoute": {"GRPCRoute is not supported: grpcroute/web-internal leads to Service"},
	} {
		clustertest.Apply(t, s.Rest, strings.Replace(route, "KIND", kind, 1))
		refused(wants)
		routes := schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: strings.ToLower(kind) + "s"}
		require.NoError(t, s.Dynamic.Resource(routes).Namespace(s.Namespace).Delete(t.Context(), "web-internal", metav1.DeleteOptions{}))
	}
	s.unchanged()
}

func TestARuleThatTheRoleLacksIsNamed(t *testing.T) {
	t.Parallel()
	s := newStory(t, e2e.Options{Replicas: 1})
	s.shippedRole()
	s.actAs(2 * time.Hour)
	pods := `{apiGroups: [""], resources: ["pods/status"], verbs: ["patch"]}`
	deployments := `{apiGroups: ["apps"], resources: ["deployments"], verbs: ["`

	s.without("pods/status")
	code, output := s.run("plan", quick...)
	assert.Equal(t, 2, code, output)
	assert.Contains(t, output, "missing permission: add to the role in namespace "+s.Namespace+" the rule "+pods)
	assert.NotContains(t, output, deployments)
	assert.Contains(t, output, "nothing was changed")

	s.without("deployments") // without it not even the Deployment can be found
	code, output = s.run("plan", quick...)
	assert.Equal(t, 2, code, output)
	assert.Contains(t, output, pods)
	assert.Contains(t, output, deployments)
	s.unchanged()
}

func TestWithoutTheGatewaysRole(t *testing.T) {
	t.Parallel()
	s := newStory(t, e2e.Options{Replicas: 1})
	s.shippedRole()
	s.actAs(2 * time.Hour)
	require.NoError(t, s.Kube.RbacV1().RoleBindings("gateway").Delete(t.Context(), "gray-upgrade-gateway-"+s.Namespace, metav1.DeleteOptions{}))
	s.allowed(false, authorizationv1.ResourceAttributes{Namespace: "gateway", Resource: "pods", Verb: "list"})

	code, output := s.run("plan", quick...)
	assert.Equal(t, 2, code, output)
	assert.Contains(t, output, `add to the role in namespace gateway the rule {apiGroups: [""], resources: ["pods"], verbs: ["get", "list"]}`)

	code, output = s.run("plan", append(quick, "--confirm=wait=1s")...)
	assert.Equal(t, 2, code, output)
	assert.Contains(t, output, "test accounts cannot be sent through the gateway")
	assert.Contains(t, output, "next:  give the input url, or the gateway's Role")
	door := "--url=" + s.frontDoor()
	code, output = s.run("plan", append(quick, "--confirm=wait=1s", door, "--thresholds={min-requests: 50}")...)
	assert.Equal(t, 2, code, output)
	assert.Contains(t, output, "the gateway's requests cannot be counted, so that no step could reach min-requests 50")
	s.unchanged()

	code, output = s.run("run", append(quick, "--confirm=wait=1s", door)...)
	assert.Equal(t, 0, code, output)
	assert.Contains(t, output, "each weight waits 1s instead")
}

func TestAnImageOnHold(t *testing.T) {
	t.Parallel()
	s := newStory(t, e2e.Options{Replicas: 1})
	digest := digestOf(t, "v2")
	s.hold(plan.Hold{
		Digest: digest, Image: e2e.Repository + ":v2", At: time.Now().UTC().Add(-time.Hour), Why: "gray answered 5xx to 3.4 %, limit 1 %",
		Run: "github/shop/web/7", URL: "https://github.example/shop/web/actions/runs/7",
	})
	code, output := s.run("status")
	assert.Equal(t, 0, code, output)
	assert.Regexp(t, `(?m)^on hold     `+e2e.Repository+":v2 "+digest+` since .*: gray answered 5xx to 3.4 %, limit 1 %$`, output)

	// Another tag, or the digest itself: it is the same image.
	code, output = s.run("run", append(quick, "--image="+e2e.Repository+":v1@"+digest)...)
	assert.Equal(t, 3, code, output)
	assert.Contains(t, output, "is on hold since")
	assert.Contains(t, output, "gray-upgrade offline-test pass --namespace "+s.Namespace+" --service web --digest "+digest)

	code, output = s.run("offline-test pass", "--digest="+digest, "--by=kim", "--why=load test on staging")
	assert.Equal(t, 0, code, output)
	assert.Contains(t, output, "recorded: "+digest+" passed its offline test (kim: load test on staging)")
	code, output = s.run("status")
	assert.Equal(t, 0, code, output)
	assert.NotContains(t, output, "on hold")

	after, err := s.Snapshot(t.Context())
	require.NoError(t, err)
	assert.Empty(t, e2e.Diff(s.before, after))
}

// TestOfflineTest: the tool tests an image on hold by itself, on gray pods without users and with the user's Job.
func TestOfflineTest(t *testing.T) {
	t.Parallel()
	s := newStory(t, e2e.Options{Replicas: 1})
	digest := digestOf(t, "v2")
	s.hold(plan.Hold{Digest: digest, Image: e2e.Repository + ":v2", At: time.Now().UTC(), Why: "errors", Run: "github/shop/web/7"})
	watch, err := s.WatchRoute(context.WithoutCancel(t.Context()))
	require.NoError(t, err)
	test := append(quick, "--offline-test-job="+s.job("app: tester"))

	code, output := s.run("offline-test run", append(quick, "--offline-test-job="+s.job("app: web"))...)
	assert.Equal(t, 2, code, output)
	assert.Contains(t, output, "Service web selects the labels of the Job's pods")
	code, output = s.run("forget")
	assert.Equal(t, 3, code, output)
	assert.Contains(t, output, "1 images are on hold, the last one "+digest)

	code, output = s.run("offline-test run", append(test, `--gray-env=APP_FAULTS={"errorShare":1}`)...)
	assert.Equal(t, 1, code, output)
	assert.Contains(t, output, "the offline test's Job web-offline-test failed: container test of pod web-offline-test-")
	assert.Contains(t, output, "ended with exit code 1")
	code, output = s.run("run", quick...)
	assert.Equal(t, 3, code, output)

	evidence := t.TempDir()
	code, output = s.run("offline-test run", append(test, "--evidence="+evidence)...)
	assert.Equal(t, 0, code, output)
	assert.Contains(t, output, "passed: app:v2@"+digest[:len("sha256:")+12]+" passed its offline test")
	logs, err := filepath.Glob(filepath.Join(evidence, "*", "logs", "web-offline-test-*.test.log"))
	require.NoError(t, err)
	require.Len(t, logs, 1)
	text, err := os.ReadFile(logs[0])
	require.NoError(t, err)
	assert.Contains(t, string(text), "web-gray."+s.Namespace+".svc")
	code, output = s.run("status")
	assert.Equal(t, 0, code, output)
	assert.NotRegexp(t, `(?m)^on hold`, output)
	watch.Stop()
	assert.Equal(t, 0, watch.Highest(), "a user may have met the image")

	code, output = s.run("forget")
	assert.Equal(t, 0, code, output)
	s.unchanged()
}

// job writes a test Job whose pods carry that label, and returns its file.
func (s *story) job(label string) string {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "job.yaml")
	require.NoError(s.t, os.WriteFile(file, []byte(`apiVersion: batch/v1
kind: Job
spec:
  backoffLimit: 0
  template:
    metadata: {labels: {`+label+`}}
    spec:
      restartPolicy: Never
      containers: [{name: test, image: "`+e2e.Repository+`:v1", args: [--role=test]}]
`), 0o600))
	return file
}

// frontDoor is a load balancer in front of the gateway, for this shop.
func (s *story) frontDoor() string {
	gateway, err := url.Parse(e2e.GatewayURL())
	require.NoError(s.t, err)
	door := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(gateway)
		r.Out.Host = s.Host()
	}})
	s.t.Cleanup(door.Close)
	return door.URL
}

// shippedRole gives the shop's namespace the objects of tekton/rbac.yaml.
func (s *story) shippedRole() {
	s.t.Helper()
	text, err := os.ReadFile("../../tekton/rbac.yaml")
	require.NoError(s.t, err)
	own := strings.NewReplacer("namespace: shop", "namespace: "+s.Namespace, "gray-upgrade-gateway", "gray-upgrade-gateway-"+s.Namespace)
	clustertest.Apply(s.t, s.Rest, own.Replace(string(text)))
	s.t.Cleanup(func() {
		ctx, name := context.WithoutCancel(s.t.Context()), "gray-upgrade-gateway-"+s.Namespace
		assert.NoError(s.t, s.Kube.RbacV1().Roles("gateway").Delete(ctx, name, metav1.DeleteOptions{}))
		_ = s.Kube.RbacV1().RoleBindings("gateway").Delete(ctx, name, metav1.DeleteOptions{}) // a story may have
	})
	s.before, err = s.Snapshot(s.t.Context())
	require.NoError(s.t, err)
	s.allowed(true, authorizationv1.ResourceAttributes{Namespace: s.Namespace, Group: "apps", Resource: "deployments", Verb: "list"})
	s.allowed(true, authorizationv1.ResourceAttributes{Namespace: "gateway", Resource: "pods", Verb: "list"})
}

// actAs makes every command from now on use a token of the shipped ServiceAccount.
func (s *story) actAs(lifetime time.Duration) {
	s.t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To(int64(lifetime.Seconds()))}}
	token, err := s.Kube.CoreV1().ServiceAccounts(s.Namespace).CreateToken(s.t.Context(), "gray-upgrade", request, metav1.CreateOptions{})
	require.NoError(s.t, err)
	c := clientcmdapi.NewConfig()
	c.Clusters["test"] = &clientcmdapi.Cluster{Server: s.Rest.Host, CertificateAuthority: s.Rest.CAFile, CertificateAuthorityData: s.Rest.CAData}
	c.AuthInfos["test"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	c.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "test"}
	c.CurrentContext = "test"
	s.kubeconfig = filepath.Join(s.t.TempDir(), "kubeconfig")
	require.NoError(s.t, clientcmd.WriteToFile(*c, s.kubeconfig))
}

// without takes the rule on this resource out of the shipped Role.
func (s *story) without(resource string) {
	s.t.Helper()
	role, err := s.Kube.RbacV1().Roles(s.Namespace).Get(s.t.Context(), "gray-upgrade", metav1.GetOptions{})
	require.NoError(s.t, err)
	var kept []rbacv1.PolicyRule
	var taken rbacv1.PolicyRule
	for _, r := range role.Rules {
		if r.Resources[0] == resource {
			taken = r
			continue
		}
		kept = append(kept, r)
	}
	require.NotEmpty(s.t, taken.Verbs, "the shipped Role has no rule on %s", resource)
	role.Rules = kept
	_, err = s.Kube.RbacV1().Roles(s.Namespace).Update(s.t.Context(), role, metav1.UpdateOptions{})
	require.NoError(s.t, err)
	name, sub, _ := strings.Cut(resource, "/")
	s.allowed(false, authorizationv1.ResourceAttributes{Namespace: s.Namespace, Group: taken.APIGroups[0], Resource: name, Subresource: sub, Verb: taken.Verbs[0]})
}

// allowed waits until the API server has learned what the ServiceAccount may, or may not, do.
func (s *story) allowed(want bool, a authorizationv1.ResourceAttributes) {
	s.t.Helper()
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: "system:serviceaccount:" + s.Namespace + ":gray-upgrade", ResourceAttributes: &a,
	}}
	require.Eventually(s.t, func() bool {
		answer, err := s.Kube.AuthorizationV1().SubjectAccessReviews().Create(s.t.Context(), review, metav1.CreateOptions{})
		return err == nil && answer.Status.Allowed == want
	}, 10*time.Second, 20*time.Millisecond)
}

// hold puts an image on hold, as a failed run does.
func (s *story) hold(h plan.Hold) {
	s.t.Helper()
	lease := state.New(state.Options{
		Kube: s.Kube, Namespace: s.Namespace, Service: "web", Identity: plan.Identity{Run: h.Run, URL: h.URL}, Log: slog.New(slog.DiscardHandler),
	})
	held, record, err := lease.Acquire(s.t.Context(), false)
	require.NoError(s.t, err)
	record.Target = plan.Target{Namespace: s.Namespace, Deployment: "web", Service: "web", Route: "web"}
	record.AddHold(h)
	require.NoError(s.t, lease.Save(held, record))
	require.NoError(s.t, lease.Release(held))
}

// digestOf asks the cluster's registry for the digest of a tag.
func digestOf(t *testing.T, tag string) string {
	t.Helper()
	host, name, _ := strings.Cut(e2e.Repository, "/")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodHead, "http://"+host+"/v2/"+name+"/manifests/"+tag, nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	digest := resp.Header.Get("Docker-Content-Digest")
	require.NotEmpty(t, digest, resp.Status)
	return digest
}
