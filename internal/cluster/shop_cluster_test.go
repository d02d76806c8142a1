package cluster

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/gray-upgrade/gray-upgrade/internal/clustertest"
	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

const (
	repository = "127.0.0.1:5000/shop/app"
	podTimeout = 60 * time.Second
)

const shopYAML = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: NAMESPACE
  labels: {app: web}
spec:
  replicas: REPLICAS
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: ` + repository + `:v1
          args: ["--listen=:8080"]
          ports: [{name: http, containerPort: 8080}]
          readinessProbe:
            httpGet: {path: /healthz, port: http}
            periodSeconds: 1
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: NAMESPACE}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web, namespace: NAMESPACE}
spec:
  minAvailable: 2
  selector: {matchLabels: {app: web}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: NAMESPACE}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: LEAST
  maxReplicas: 5
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]
`

// shop is one service on the real cluster, and the tool beside it.
type shop struct {
	t         *testing.T
	rest      *rest.Config
	kube      kubernetes.Interface // of the cluster's administrator
	namespace string
	fence     atomic.Int64
}

// newShop makes a shop of that many pods; its HPA would bear one less.
func newShop(t *testing.T, replicas int) *shop {
	t.Helper()
	cfg := clustertest.Config(t)
	kube, err := kubernetes.NewForConfig(cfg)
	require.NoError(t, err)
	s := &shop{t: t, rest: cfg, kube: kube, namespace: clustertest.Namespace(t, cfg)}
	s.fence.Store(1)
	clustertest.Apply(t, cfg, strings.NewReplacer(
		"NAMESPACE", s.namespace, "REPLICAS", strconv.Itoa(replicas), "LEAST", strconv.Itoa(max(1, replicas-1)),
	).Replace(shopYAML))
	require.Eventually(t, func() bool {
		o, err := s.tool("v2").Observe(t.Context())
		return err == nil && o.Production.Whole
	}, podTimeout, 100*time.Millisecond, "production comes up")
	return s
}

// tool is the Cluster for an upgrade to a tag, as the administrator.
func (s *shop) tool(tag string, edit ...func(*config.Config)) *Cluster {
	return s.toolAs(s.kube, tag, edit...)
}

func (s *shop) toolAs(kube kubernetes.Interface, tag string, edit ...func(*config.Config)) *Cluster {
	c := config.Config{
		Image: repository + ":" + tag, PodTimeout: podTimeout, GitOps: config.Refuse,
		Gray: config.Parameters{Args: []string{"--mode=gray"}}, Production: config.Parameters{Env: []config.EnvVar{{Name: "GREETING", Value: "hello"}}},
	}
	for _, e := range edit {
		e(&c)
	}
	return New(Options{
		Kube: kube, Target: plan.Target{Namespace: s.namespace, Service: "web", Deployment: "web"}, Config: c, UpgradeID: "test-1",
		Fence: func(context.Context) (int64, error) { return s.fence.Load(), nil },
	})
}

// asTool is a client with exactly the permissions of Rules.
func (s *shop) asTool() kubernetes.Interface {
	s.t.Helper()
	ctx := s.t.Context()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "gray-upgrade"}}
	for _, r := range Rules() {
		role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{r.Group}, Resources: []string{r.Resource}, Verbs: r.Verbs})
	}
	_, err := s.kube.RbacV1().Roles(s.namespace).Create(ctx, role, metav1.CreateOptions{})
	require.NoError(s.t, err)
	_, err = s.kube.RbacV1().RoleBindings(s.namespace).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "gray-upgrade"}, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: "gray-upgrade", APIGroup: rbacv1.GroupName},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "default", Namespace: s.namespace}},
	}, metav1.CreateOptions{})
	require.NoError(s.t, err)
	cfg := rest.CopyConfig(s.rest)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + s.namespace + ":default"}
	kube, err := kubernetes.NewForConfig(cfg)
	require.NoError(s.t, err)
	require.Eventually(s.t, func() bool { // the API server's authorizer learns of the Role a moment later
		_, err := kube.CoreV1().Pods(s.namespace).List(ctx, metav1.ListOptions{})
		return err == nil
	}, podTimeout, 10*time.Millisecond)
	return kube
}

// state is everything of the user's that an upgrade may leave changed only where it was asked to.
func (s *shop) state() map[string]any {
	s.t.Helper()
	ctx, all := s.t.Context(), metav1.ListOptions{}
	names := map[string]any{}
	deployments, err := s.kube.AppsV1().Deployments(s.namespace).List(ctx, all)
	require.NoError(s.t, err)
	for _, d := range deployments.Items {
		delete(d.Annotations, "deployment.kubernetes.io/revision")
		names["Deployment "+d.Name] = []any{d.Labels, d.Annotations, d.Spec}
	}
	services, err := s.kube.CoreV1().Services(s.namespace).List(ctx, all)
	require.NoError(s.t, err)
	for _, o := range services.Items {
		names["Service "+o.Name] = []any{o.Labels, o.Annotations, o.Spec}
	}
	budgets, err := s.kube.PolicyV1().PodDisruptionBudgets(s.namespace).List(ctx, all)
	require.NoError(s.t, err)
	for _, o := range budgets.Items {
		names["PDB "+o.Name] = []any{o.Labels, o.Annotations, o.Spec}
	}
	scalers, err := s.kube.AutoscalingV2().HorizontalPodAutoscalers(s.namespace).List(ctx, all)
	require.NoError(s.t, err)
	for _, o := range scalers.Items {
		names["HPA "+o.Name] = []any{o.Labels, len(o.Annotations), o.Spec}
	}
	return names
}

func (s *shop) deployment(name string) *appsv1.Deployment {
	s.t.Helper()
	d, err := s.kube.AppsV1().Deployments(s.namespace).Get(s.t.Context(), name, metav1.GetOptions{})
	require.NoError(s.t, err)
	return d
}

func (s *shop) update(name string, edit func(*appsv1.Deployment)) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		d := s.deployment(name)
		edit(d)
		_, err := s.kube.AppsV1().Deployments(s.namespace).Update(s.t.Context(), d, metav1.UpdateOptions{FieldManager: "another-pipeline"})
		return err == nil
	}, 10*time.Second, 10*time.Millisecond)
}

// verify marks every gray pod and waits until all serve.
func (s *shop) verify(c *Cluster) {
	s.t.Helper()
	pods, err := c.GrayPods(s.t.Context())
	require.NoError(s.t, err)
	for _, p := range pods {
		require.True(s.t, p.ContainersReady)
		require.NoError(s.t, c.SetVerified(s.t.Context(), p.Name, true, "3 checks passed"))
	}
	require.NoError(s.t, c.Ready(s.t.Context()))
}

func (s *shop) observe(c *Cluster) plan.Observed {
	s.t.Helper()
	o, err := c.Observe(s.t.Context())
	require.NoError(s.t, err)
	return o
}

// TestThereAndBack is the life of gray with exactly the permissions that Rules names: up, rolled, undone, gone.
func TestThereAndBack(t *testing.T) {
	t.Parallel()
	s := newShop(t, 3)
	before := s.state()
	c := s.toolAs(s.asTool(), "v2")
	ctx := t.Context()

	warnings, err := c.Preflight(ctx)
	require.NoError(t, err)
	assert.Empty(t, warnings)
	assert.Equal(t, before, s.state(), "preflight changes nothing")

	require.NoError(t, c.Start(ctx, 1))
	pods, err := c.GrayPods(ctx)
	require.NoError(t, err)
	require.Len(t, pods, 1)
	assert.True(t, pods[0].ContainersReady)
	assert.False(t, pods[0].Ready)
	assert.False(t, pods[0].Verified)
	assert.Equal(t, 8080, pods[0].Port)
	assert.NotEmpty(t, pods[0].IP)
	o := s.observe(c)
	assert.Equal(t, plan.Workload{Exists: true, Template: plan.Ours, Image: repository + ":v2", Replicas: 1}, o.Gray, "not verified: serves nothing")
	assert.True(t, o.Production.Whole)
	assert.Equal(t, int32(5), o.MaxPods)

	require.NoError(t, c.SetVerified(ctx, pods[0].Name, false, "account alice: expected 200, got 403"))
	require.NoError(t, c.SetVerified(ctx, pods[0].Name, false, "account alice: expected 200, got 403"), "twice is once")
	s.verify(c)
	assert.Equal(t, int32(1), s.observe(c).Gray.Ready)

	require.NoError(t, c.Scale(ctx, 3))
	assert.Equal(t, int32(1), s.observe(c).Gray.Ready, "pods that join later serve nothing until they pass")
	s.verify(c)
	o = s.observe(c)
	assert.Equal(t, int32(3), o.Gray.Ready)
	assert.True(t, o.Gray.Whole)
	digest, err := c.Digest(ctx)
	require.NoError(t, err)
	assert.Regexp(t, `^sha256:[0-9a-f]{64}$`, digest)

	require.NoError(t, c.Pin(ctx))
	require.NoError(t, c.Pin(ctx), "twice is once")
	hpa, err := s.kube.AutoscalingV2().HorizontalPodAutoscalers(s.namespace).Get(ctx, "web", metav1.GetOptions{})
	require.NoError(t, err)
	assert.Equal(t, int32(3), *hpa.Spec.MinReplicas)
	assert.Contains(t, hpa.Annotations[plan.AnnotationMinimum], `"was":2`)
	least := func(replicas int32) {
		t.Helper()
		patch := fmt.Appendf(nil, `{"spec":{"minReplicas":%d}}`, replicas)
		_, err := s.kube.AutoscalingV2().HorizontalPodAutoscalers(s.namespace).Patch(ctx, "web", types.MergePatchType, patch, metav1.PatchOptions{})
		require.NoError(t, err)
	}
	least(1) // the user's, in between: it is what comes back
	require.NoError(t, c.Pin(ctx))

	begin := time.Now()
	require.NoError(t, c.Roll(ctx))
	t.Logf("rolled 3 pods in %s", time.Since(begin))
	o = s.observe(c)
	assert.Equal(t, plan.Ours, o.Production.Template)
	assert.True(t, o.Production.Whole)
	assert.Equal(t, repository+":v2@"+digest, o.Production.Image)
	assert.True(t, o.Touched)
	require.NoError(t, c.Roll(ctx), "twice is once")
	production, err := c.ProductionPods(ctx)
	require.NoError(t, err)
	assert.Len(t, production, 3)

	require.NoError(t, c.Undo(ctx))
	require.NoError(t, c.Undo(ctx), "twice is once")
	require.Eventually(t, func() bool { return s.observe(c).Production.Whole }, podTimeout, 50*time.Millisecond)
	o = s.observe(c)
	assert.Equal(t, plan.Baseline, o.Production.Template)
	assert.Equal(t, repository+":v1", o.Production.Image)

	require.NoError(t, c.Clean(ctx))
	hpa, err = s.kube.AutoscalingV2().HorizontalPodAutoscalers(s.namespace).Get(ctx, "web", metav1.GetOptions{})
	require.NoError(t, err)
	assert.Equal(t, int32(1), *hpa.Spec.MinReplicas)
	least(2)
	assert.True(t, s.observe(c).Touched, "gray's Service still stands")
	begin = time.Now()
	require.NoError(t, c.Delete(ctx))
	t.Logf("deleted in %s", time.Since(begin))
	require.NoError(t, c.Delete(ctx), "twice is once")
	require.NoError(t, c.Clean(ctx), "twice is once")
	assert.False(t, s.observe(c).Touched)
	assert.Equal(t, before, s.state(), "the end is the state before")
	left, err := s.kube.CoreV1().Pods(s.namespace).List(ctx, metav1.ListOptions{LabelSelector: c.graySelector()})
	require.NoError(t, err)
	assert.Empty(t, left.Items)
}

// TestPromoted: what stays after a promotion is the image, production parameters and nothing else.
func TestPromoted(t *testing.T) {
	t.Parallel()
	s := newShop(t, 1)
	c := s.tool("v3")
	ctx := t.Context()
	before := s.deployment("web")
	require.NoError(t, c.Start(ctx, 1))
	s.verify(c)
	digest, err := c.Digest(ctx)
	require.NoError(t, err)
	require.Error(t, c.Promote(ctx, digest), "production does not run ours yet")
	require.NoError(t, c.Roll(ctx))
	require.NoError(t, c.Promote(ctx, digest))
	assert.True(t, s.observe(c).Promoted)
	require.NoError(t, c.Delete(ctx))
	require.NoError(t, c.Clean(ctx))

	after := s.deployment("web")
	delete(before.Annotations, "deployment.kubernetes.io/revision")
	delete(after.Annotations, "deployment.kubernetes.io/revision")
	assert.Equal(t, before.Annotations, after.Annotations)
	ops, err := templatePatch(&before.Spec.Template, &after.Spec.Template)
	require.NoError(t, err)
	assert.Equal(t, []Op{
		{Op: "replace", Path: "/spec/template/spec/containers/0/image", Value: repository + ":v3@" + digest},
		{Op: "add", Path: "/spec/template/spec/containers/0/env", Value: []any{map[string]any{"name": "GREETING", "value": "hello"}}},
	}, sortOps(ops))
	o := s.observe(c)
	assert.Equal(t, plan.Baseline, o.Production.Template, "the new version is the next upgrade's baseline")
	assert.False(t, o.Touched)
}

func sortOps(ops []Op) []Op {
	slices.SortFunc(ops, func(a, b Op) int { return strings.Compare(b.Op, a.Op) })
	return ops
}

// TestStartAgain: a gray Deployment that is right is kept, one that is not is replaced, one that is not ours stays.
func TestStartAgain(t *testing.T) {
	t.Parallel()
	s := newShop(t, 1)
	ctx := t.Context()
	c := s.tool("v2")
	require.NoError(t, c.Start(ctx, 2))
	first := s.deployment("web-gray")
	require.NoError(t, c.Start(ctx, 1))
	again := s.deployment("web-gray")
	assert.Equal(t, first.UID, again.UID)
	assert.Equal(t, int32(2), *again.Spec.Replicas, "pods that stand are not taken away")

	other := s.tool("v4")
	require.NoError(t, other.Start(ctx, 1))
	replaced := s.deployment("web-gray")
	assert.NotEqual(t, first.UID, replaced.UID)
	service, err := s.kube.CoreV1().Services(s.namespace).Get(ctx, "web-gray", metav1.GetOptions{})
	require.NoError(t, err)
	assert.Equal(t, replaced.UID, service.OwnerReferences[0].UID)

	s.update("web-gray", func(d *appsv1.Deployment) { delete(d.Labels, plan.LabelSide) })
	for _, err := range []error{other.Start(ctx, 1), other.Scale(ctx, 2)} {
		assert.Equal(t, plan.FaultInput, fault(t, err))
		assert.ErrorContains(t, err, "did not make")
	}
	require.Error(t, func() error { _, err := other.Preflight(ctx); return err }())
	assert.False(t, s.observe(other).Gray.Exists)
	assert.Equal(t, replaced.UID, s.deployment("web-gray").UID)
}

// TestAGrayPodThatCannotGo, as one on a lost node: gray is removed all the same, for the pod serves nobody.
func TestAGrayPodThatCannotGo(t *testing.T) {
	t.Parallel()
	s := newShop(t, 1)
	ctx := t.Context()
	s.update("web", func(d *appsv1.Deployment) { d.Spec.Template.Spec.TerminationGracePeriodSeconds = new(int64) })
	c := s.tool("v2")
	require.Eventually(t, func() bool { return s.observe(c).Production.Whole }, podTimeout, 50*time.Millisecond)
	require.NoError(t, c.Start(ctx, 1))
	pods := s.kube.CoreV1().Pods(s.namespace)
	gray, err := pods.List(ctx, metav1.ListOptions{LabelSelector: c.graySelector()})
	require.NoError(t, err)
	require.Len(t, gray.Items, 1)
	keep := func(finalizers string) {
		_, err := pods.Patch(context.WithoutCancel(ctx), gray.Items[0].Name, types.MergePatchType, []byte(`{"metadata":{"finalizers":`+finalizers+`}}`), metav1.PatchOptions{})
		require.NoError(t, err)
	}
	keep(`["test.example.com/node-is-lost"]`)
	defer keep("null")
	require.NoError(t, c.Delete(ctx))
	assert.NotNil(t, s.deployment("web-gray").DeletionTimestamp)
	_, err = s.kube.CoreV1().Services(s.namespace).Get(ctx, "web-gray", metav1.GetOptions{})
	assert.True(t, apierrors.IsNotFound(err), "nothing leads to it any more: %v", err)
}

// TestForeignTemplate: what somebody else writes on production's template is never overwritten.
func TestForeignTemplate(t *testing.T) {
	t.Parallel()
	s := newShop(t, 1)
	ctx := t.Context()
	c := s.tool("v2")
	require.NoError(t, c.Start(ctx, 1))
	s.verify(c)
	s.update("web", func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = repository + ":v9" })
	err := c.Roll(ctx)
	assert.Equal(t, plan.FaultInfrastructure, fault(t, err))
	assert.ErrorContains(t, err, "changed by another-pipeline meanwhile")
	assert.ErrorContains(t, err, repository+":v9")
	assert.Equal(t, plan.Foreign, s.observe(c).Production.Template)
	require.NoError(t, c.Undo(ctx), "nothing of ours to undo")

	s.update("web", func(d *appsv1.Deployment) {
		d.Spec.Template.Spec.Containers[0].Image = repository + ":v1"
		d.Spec.Paused = true
	})
	err = c.Roll(ctx)
	assert.Equal(t, plan.FaultInfrastructure, fault(t, err))
	assert.ErrorContains(t, err, "paused meanwhile")
	assert.Equal(t, plan.Baseline, s.observe(c).Production.Template, "not begun")
	s.update("web", func(d *appsv1.Deployment) { d.Spec.Paused = false })
	require.NoError(t, c.Roll(ctx))
	s.update("web", func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = repository + ":v9" })
	for _, err := range []error{c.Undo(ctx), c.Promote(ctx, "sha256:x"), c.Roll(ctx)} {
		assert.Equal(t, plan.FaultInfrastructure, fault(t, err))
		assert.ErrorContains(t, err, "not overwritten")
	}
	assert.Equal(t, repository+":v9", s.deployment("web").Spec.Template.Spec.Containers[0].Image)
	require.NoError(t, c.Delete(ctx))
	require.NoError(t, c.Clean(ctx))
	assert.False(t, s.observe(c).Touched)
}

// TestFence: a holder whose number is old writes nothing, and says so.
func TestFence(t *testing.T) {
	t.Parallel()
	s := newShop(t, 2)
	ctx := t.Context()
	c := s.tool("v2")
	s.fence.Store(7)
	require.NoError(t, c.Start(ctx, 1))
	s.verify(c)
	require.NoError(t, c.Pin(ctx))
	require.NoError(t, c.Roll(ctx))
	before := s.state()
	s.fence.Store(6)
	pods, err := c.GrayPods(ctx)
	require.NoError(t, err)
	for name, write := range map[string]func() error{
		"Scale": func() error { return c.Scale(ctx, 2) }, "Undo": func() error { return c.Undo(ctx) },
		"Promote": func() error { return c.Promote(ctx, "sha256:x") }, "Unpin": func() error { return c.Unpin(ctx) },
		"Clean": func() error { return c.Clean(ctx) }, "Delete": func() error { return c.Delete(ctx) },
		"SetVerified": func() error { return c.SetVerified(ctx, pods[0].Name, false, "stale") },
	} {
		require.ErrorIs(t, write(), plan.ErrLost, name)
	}
	assert.Equal(t, before, s.state())
	s.fence.Store(8)
	require.NoError(t, c.Undo(ctx), "the newer holder takes over")
	require.NoError(t, c.Delete(ctx))
	require.NoError(t, c.Clean(ctx))
}

// TestWritesAmongOthers: somebody else writes the same object several times a second, and neither's change is lost.
func TestWritesAmongOthers(t *testing.T) {
	s := newShop(t, 1)
	c := s.tool("v2")
	require.NoError(t, c.Start(t.Context(), 1))
	s.verify(c)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	count := make(chan int)
	go func() {
		n := 0
		for ctx.Err() == nil {
			d, err := s.kube.AppsV1().Deployments(s.namespace).Get(ctx, "web", metav1.GetOptions{})
			if err == nil {
				d.Annotations["example.com/count"] = fmt.Sprint(n + 1)
				if _, err = s.kube.AppsV1().Deployments(s.namespace).Update(ctx, d, metav1.UpdateOptions{}); err == nil {
					n++
				}
			}
			time.Sleep(150 * time.Millisecond)
		}
		count <- n
	}()
	require.NoError(t, c.Roll(t.Context()))
	require.NoError(t, c.Undo(t.Context()))
	require.NoError(t, c.Clean(t.Context()))
	cancel()
	n := <-count
	assert.Positive(t, n)
	d := s.deployment("web")
	assert.Contains(t, []string{fmt.Sprint(n), fmt.Sprint(n + 1)}, d.Annotations["example.com/count"], "the other's last write stands")
	assert.Equal(t, repository+":v1", d.Spec.Template.Spec.Containers[0].Image)
	assert.False(t, touched(d))
}

// TestWhyNotReady: every reason that a pod does not become ready is told, with whose fault it is, and early where
// waiting on is pointless.
func TestWhyNotReady(t *testing.T) {
	t.Parallel()
	s := newShop(t, 1)
	args := func(args ...string) func(*config.Config) {
		return func(c *config.Config) { c.Gray.Args = args }
	}
	short := func(c *config.Config) { c.PodTimeout = 15 * time.Second }
	for _, c := range []struct {
		name  string
		tool  *Cluster
		setup func()
		fault plan.Fault
		want  []string
		most  time.Duration
	}{
		{
			name: "the image is not there", tool: s.tool("v99"), fault: plan.FaultInput,
			want: []string{"cannot get its image", repository + ":v99", "the registry has no such image"}, most: 2 * time.Minute,
		},
		{
			name: "it crashes", tool: s.tool("v2", args("--mode=nonsense")), fault: plan.FaultImage,
			want: []string{"ended with exit code 1 (Error)", "last log lines", "--mode=nonsense: must be production or gray"}, most: 2 * time.Minute,
		},
		{
			name: "it is never ready", tool: s.tool("v2", args(`--faults={"neverReady":true}`), short), fault: plan.FaultImage,
			want: []string{"after 15s", "runs but is not ready", "Readiness probe failed", "last log lines"}, most: time.Minute,
		},
		{
			name: "there is no room", tool: s.tool("v2", short), fault: plan.FaultInfrastructure,
			setup: func() {
				s.update("web", func(d *appsv1.Deployment) { d.Spec.Template.Spec.NodeSelector = map[string]string{"nowhere": "yes"} })
			},
			want: []string{"cannot be scheduled", "after 15s"}, most: time.Minute,
		},
		{
			name: "the quota is used up", tool: s.tool("v2"), fault: plan.FaultInfrastructure,
			setup: func() {
				s.update("web", func(d *appsv1.Deployment) { d.Spec.Template.Spec.NodeSelector = nil })
				clustertest.Apply(t, s.rest, fmt.Sprintf("apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: small, namespace: %s}\nspec: {hard: {pods: \"1\"}}\n", s.namespace))
			},
			want: []string{"pods cannot be created", "exceeded quota: small"}, most: 2 * time.Minute,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.setup != nil {
				c.setup()
			}
			begin := time.Now()
			err := c.tool.Start(t.Context(), 1)
			t.Logf("after %s: %v", time.Since(begin), err)
			assert.Equal(t, c.fault, fault(t, err))
			for _, want := range c.want {
				assert.ErrorContains(t, err, want)
			}
			assert.Less(t, time.Since(begin), c.most)
			require.NoError(t, c.tool.Delete(t.Context()))
		})
	}
	_, err := s.tool("v2").Preflight(t.Context())
	assert.ErrorContains(t, err, "pods: ")
	assert.ErrorContains(t, err, "the quota leaves")
}

// TestRollOfABadImage: production's new pods crash; the roll says so early, and the way back leads home.
func TestRollOfABadImage(t *testing.T) {
	t.Parallel()
	s := newShop(t, 1)
	ctx := t.Context()
	before := s.state()
	c := s.tool("v5", func(c *config.Config) { c.Production.Env = []config.EnvVar{{Name: "MODE", Value: "nonsense"}} })
	require.NoError(t, c.Start(ctx, 1))
	s.verify(c)
	err := c.Roll(ctx)
	assert.Equal(t, plan.FaultImage, fault(t, err))
	assert.ErrorContains(t, err, "must be production or gray")
	o := s.observe(c)
	assert.Equal(t, plan.Ours, o.Production.Template)
	assert.Positive(t, o.Production.Old)
	require.NoError(t, c.Undo(ctx))
	require.Eventually(t, func() bool { return s.observe(c).Production.Whole }, podTimeout, 50*time.Millisecond)
	require.NoError(t, c.Delete(ctx))
	require.NoError(t, c.Clean(ctx))
	assert.Equal(t, before, s.state())
}

// TestInterruptedWait: a wait ends with the cause of its context's end, at once.
func TestInterruptedWait(t *testing.T) {
	t.Parallel()
	s := newShop(t, 1)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := fmt.Errorf("the watch found an anomaly")
	ended := make(chan error, 1)
	go func() {
		ended <- s.tool("v2", func(c *config.Config) { c.Gray.Args = []string{`--faults={"neverReady":true}`} }).Start(ctx, 1)
	}()
	require.Eventually(t, func() bool {
		pods, err := s.kube.CoreV1().Pods(s.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: plan.LabelSide + "=gray"})
		return err == nil && len(pods.Items) > 0 && pods.Items[0].Status.Phase == corev1.PodRunning
	}, podTimeout, 50*time.Millisecond, "gray does not run")
	cancel(cause)
	select {
	case err := <-ended:
		require.ErrorIs(t, err, cause)
	case <-time.After(10 * time.Second):
		t.Fatal("it still waits")
	}
}

// TestRefusedInRehearsal: what the API server would not take is known before anything is written.
func TestRefusedInRehearsal(t *testing.T) {
	t.Parallel()
	s := newShop(t, 1)
	before := s.state()
	c := s.tool("v2", func(c *config.Config) { c.Gray.Env = []config.EnvVar{{Name: "not a name=", Value: "x"}} })
	_, err := c.Preflight(t.Context())
	assert.Equal(t, plan.FaultInput, fault(t, err))
	assert.ErrorContains(t, err, "Deployment "+s.namespace+"/web-gray")
	assert.Equal(t, before, s.state())

	denied, err := kubernetes.NewForConfig(func() *rest.Config {
		cfg := rest.CopyConfig(s.rest)
		cfg.Impersonate = rest.ImpersonationConfig{UserName: "nobody"}
		return cfg
	}())
	require.NoError(t, err)
	_, err = s.toolAs(denied, "v2").Preflight(t.Context())
	assert.Equal(t, plan.FaultInput, fault(t, err))
	assert.ErrorContains(t, err, `{apiGroups: ["apps"], resources: ["deployments"], verbs: ["get", "list", "watch", "create", "patch", "delete"]}`)
}

// TestManifest: a whole template from a file runs on both sides.
func TestManifest(t *testing.T) {
	t.Parallel()
	s := newShop(t, 1)
	ctx := t.Context()
	file := t.TempDir() + "/web.yaml"
	write := func(labels, tag string) {
		require.NoError(t, os.WriteFile(file, []byte(`kind: PodTemplate
apiVersion: v1
template:
  metadata: {labels: {app: web`+labels+`}}
  spec:
    containers:
      - {name: web, image: "`+repository+`:`+tag+`", args: ["--listen=:8080"], ports: [{name: http, containerPort: 8080}], readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1}}
`), 0o600))
	}
	byManifest := func() *Cluster {
		return s.tool("", func(c *config.Config) {
			c.Image, c.Manifest, c.Gray, c.Production = "", file, config.Parameters{}, config.Parameters{}
		})
	}

	write("", "v1")
	same := byManifest()
	_, err := same.Preflight(ctx)
	require.NoError(t, err)
	o := s.observe(same)
	assert.Equal(t, o.Wanted, o.Current, "production runs this manifest, with what the API filled in")

	write(", release: next", "v6")
	c := byManifest()
	_, err = c.Preflight(ctx)
	require.NoError(t, err)
	o = s.observe(c)
	assert.NotEqual(t, o.Wanted, o.Current)
	require.NoError(t, c.Start(ctx, 1))
	s.verify(c)
	require.NoError(t, c.Roll(ctx))
	assert.Equal(t, "next", s.deployment("web").Spec.Template.Labels["release"])
	require.NoError(t, c.Undo(ctx))
	require.Eventually(t, func() bool { return s.observe(c).Production.Whole }, podTimeout, 50*time.Millisecond)
	assert.NotContains(t, s.deployment("web").Spec.Template.Labels, "release")
	pods, err := s.kube.CoreV1().Pods(s.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
	require.NoError(t, err)
	assert.True(t, slices.ContainsFunc(pods.Items, func(p corev1.Pod) bool { return p.Spec.Containers[0].Image == repository+":v1" }))
}
