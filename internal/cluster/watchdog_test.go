package cluster

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authv1 "k8s.io/api/authorization/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// watching is a Cluster over a clientset in memory that allows everything but what is denied, as "verb resource".
func watching(denied []string, objects ...runtime.Object) (*Cluster, *fake.Clientset) {
	kube := fake.NewClientset(objects...)
	kube.PrependReactor("*", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		what := a.GetVerb() + " " + a.GetResource().Resource
		if create, ok := a.(clienttesting.CreateAction); ok && a.GetResource().Resource == "selfsubjectaccessreviews" {
			review := create.GetObject().(*authv1.SelfSubjectAccessReview)
			asked := review.Spec.ResourceAttributes.Verb + " " + review.Spec.ResourceAttributes.Resource
			review.Status.Allowed = true
			for _, d := range denied {
				review.Status.Allowed = review.Status.Allowed && d != asked
			}
			return true, review, nil
		}
		for _, d := range denied {
			if d == what {
				return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: a.GetResource().Resource}, "", errors.New("denied"))
			}
		}
		if create, ok := a.(clienttesting.CreateActionImpl); ok && len(create.CreateOptions.DryRun) > 0 {
			return true, create.GetObject(), nil
		}
		return false, nil, nil
	})
	c := New(Options{
		Kube: kube, Target: plan.Target{Namespace: "shop", Deployment: "web", Service: "web", Route: "web"}, UpgradeID: "web-2",
		Config: config.Config{WatchdogImage: "gray-upgrade:v1", WatchdogAfter: 30 * time.Second, CloseTimeout: 5 * time.Minute},
		Fence:  func(context.Context) (int64, error) { return 7, nil },
	})
	return c, kube
}

func watchdogOf(upgrade string) *batchv1.Job {
	return &batchv1.Job{ObjectMeta: metav1.ObjectMeta{
		Name: "web-watchdog", Namespace: "shop", UID: "job-1", Annotations: map[string]string{annotationUpgrade: upgrade},
		Labels: map[string]string{plan.LabelSide: string(plan.Gray), plan.LabelService: "web"},
	}}
}

func foreignJob() *batchv1.Job {
	return &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "web-watchdog", Namespace: "shop"}}
}

func jobNow(t *testing.T, kube *fake.Clientset) *batchv1.Job {
	t.Helper()
	job, err := kube.BatchV1().Jobs("shop").Get(t.Context(), "web-watchdog", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	require.NoError(t, err)
	return job
}

func TestWatchdogStarts(t *testing.T) {
	for name, there := range map[string][]runtime.Object{
		"in an empty namespace": nil, "over that of an earlier upgrade": {watchdogOf("web-1")}, "twice": {watchdogOf("web-2")},
	} {
		c, kube := watching(nil, there...)
		require.NoError(t, c.Watchdog().Start(t.Context()), name)
		job := jobNow(t, kube)
		assert.Equal(t, "web-2", job.Annotations[annotationUpgrade], name)
		assert.True(t, ours(job, "web"), name)
		if name != "twice" {
			assert.Equal(t, "7", job.Annotations[plan.FenceKey("web")], name)
		}
	}
	c, kube := watching(nil, foreignJob())
	assert.Equal(t, plan.FaultInput, fault(t, c.Watchdog().Start(t.Context())))
	assert.Empty(t, jobNow(t, kube).Labels, "a Job of somebody else's was written")
}

// TestWatchdogPodIsNobodysPod: no selector of a side finds it, and it may do nothing on its node.
func TestWatchdogPodIsNobodysPod(t *testing.T) {
	c, _ := watching(nil)
	job := c.watchdogJob()
	assert.Empty(t, job.OwnerReferences, "a close deletes gray's Deployment, and must not end with it")
	labels := job.Spec.Template.Labels
	assert.NotContains(t, labels, plan.LabelSide)
	assert.NotContains(t, labels, plan.LabelService)
	assert.Equal(t, "false", labels["sidecar.istio.io/inject"])
	assert.Equal(t, "disabled", job.Spec.Template.Annotations["linkerd.io/inject"])
	pod := job.Spec.Template.Spec
	assert.Equal(t, WatchdogAccount, pod.ServiceAccountName)
	assert.Equal(t, corev1.RestartPolicyOnFailure, pod.RestartPolicy)
	assert.Equal(t, int64(300), *pod.TerminationGracePeriodSeconds, "a close that has begun may end")
	for _, toleration := range pod.Tolerations {
		assert.Equal(t, int64(10), *toleration.TolerationSeconds)
	}
	assert.Len(t, pod.Tolerations, 2)
	assert.True(t, *pod.SecurityContext.RunAsNonRoot)
	assert.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, pod.SecurityContext.SeccompProfile.Type)
	own := pod.Containers[0].SecurityContext
	assert.True(t, *own.ReadOnlyRootFilesystem)
	assert.False(t, *own.AllowPrivilegeEscalation)
	assert.Equal(t, []corev1.Capability{"ALL"}, own.Capabilities.Drop)
	assert.Len(t, pod.Containers[0].Resources.Limits, 2)
}

func TestWatchdogReadySaysWhyNot(t *testing.T) {
	pod := func(owner string, change func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Name: "web-watchdog-1", Namespace: "shop", Labels: map[string]string{plan.LabelWatchdog: "web"},
			OwnerReferences: []metav1.OwnerReference{{Kind: "Job", Name: "web-watchdog", UID: "job-1", Controller: ptr.To(true)}},
		}}
		if owner != "" {
			p.OwnerReferences[0].Name, p.OwnerReferences[0].UID = owner, "job-0"
		}
		change(p)
		return p
	}
	ready := func(p *corev1.Pod) {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}, {Type: corev1.ContainersReady, Status: corev1.ConditionTrue}}
	}
	noImage := func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "watchdog", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "no such image"}}}}
	}
	for _, tt := range []struct {
		name    string
		objects []runtime.Object
		why     string // "": ready
	}{
		{"ready", []runtime.Object{watchdogOf("web-2"), pod("", ready)}, ""},
		{"deleted", nil, "was deleted meanwhile"},
		{"no pod yet", []runtime.Object{watchdogOf("web-2")}, "has no pod yet"},
		{"the pod of an earlier Job", []runtime.Object{watchdogOf("web-2"), pod("old", ready)}, "has no pod yet"},
		{"an image that cannot be pulled", []runtime.Object{watchdogOf("web-2"), pod("", noImage)}, "no such image"},
	} {
		c, _ := watching(nil, tt.objects...)
		got, err := c.Watchdog().Ready(t.Context())
		assert.Equal(t, tt.why == "", got, tt.name)
		if tt.why != "" {
			assert.ErrorContains(t, err, tt.why, tt.name)
		}
	}
}

func TestWatchdogStops(t *testing.T) {
	c, kube := watching(nil, watchdogOf("web-1"))
	for range 2 {
		require.NoError(t, c.Watchdog().Stop(t.Context()))
		assert.Nil(t, jobNow(t, kube))
	}
	c, kube = watching(nil, foreignJob())
	require.NoError(t, c.Watchdog().Stop(t.Context()))
	assert.NotNil(t, jobNow(t, kube), "a Job of somebody else's was deleted")
	c, _ = watching([]string{"get jobs", "list jobs"})
	require.NoError(t, c.Watchdog().Stop(t.Context()), "without the permission none was made")
}

func TestAWatchdogThatIsLeftIsSeen(t *testing.T) {
	c, _ := watching(nil, watchdogOf("web-1"))
	left, err := c.leftovers(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"Job shop/web-watchdog"}, left)
	c, _ = watching([]string{"list jobs"}, watchdogOf("web-1"))
	left, err = c.leftovers(t.Context())
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestWatchdogMissing(t *testing.T) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: WatchdogAccount, Namespace: "shop"}}
	for _, tt := range []struct {
		name    string
		denied  []string
		image   string
		objects []runtime.Object
		want    []string
	}{
		{"nothing", nil, "gray-upgrade:v1", []runtime.Object{account}, nil},
		{"nothing, and one of an earlier run stands", nil, "gray-upgrade:v1", []runtime.Object{account, watchdogOf("web-1")}, nil},
		{"everything", []string{"create jobs", "delete jobs", "get serviceaccounts"}, "", nil, []string{
			"the image (input watchdog-image, or environment variable GRAY_UPGRADE_IMAGE)",
			`in the role in namespace shop the rule {apiGroups: ["batch"], resources: ["jobs"], verbs: ["create", "delete"]}`,
			`in the role in namespace shop the rule {apiGroups: [""], resources: ["serviceaccounts"], verbs: ["get"]}`,
		}},
		{"the ServiceAccount", nil, "gray-upgrade:v1", nil, []string{"the ServiceAccount gray-upgrade-watchdog in namespace shop (tekton/rbac.yaml holds it)"}},
	} {
		c, kube := watching(tt.denied, tt.objects...)
		c.config.WatchdogImage = tt.image
		before := jobNow(t, kube)
		got, err := c.Watchdog().Missing(t.Context())
		require.NoError(t, err, tt.name)
		assert.Equal(t, tt.want, got, tt.name)
		assert.Equal(t, before, jobNow(t, kube), tt.name)
	}
}
