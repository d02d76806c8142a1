package cluster

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/ptr"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

const (
	// WatchdogAccount is the ServiceAccount of the watchdog; tekton/rbac.yaml holds it.
	WatchdogAccount = "gray-upgrade-watchdog"
	// WatchdogPort is where the watchdog answers the kubelet's probe.
	WatchdogPort = 8086
	// WatchdogReady is the path of that probe.
	WatchdogReady = "/ready"

	kindJob = "Job"
	nobody  = 65532 // the user that has nothing, by the custom of small images
	// evicted is how long a watchdog stays on a node that is lost before another one is made elsewhere.
	evicted = 10 // seconds
	// failures of the watchdog's pod until the Job gives up: it shall not, as long as gray may have users.
	failures = 10_000
	// kept is how long a Job that ended by itself stays to be looked at.
	kept = 60 // seconds
)

// Watchdog is the watchdog's Job. It is not owned by gray's Deployment: it closes, and must outlive what it removes.
type Watchdog struct{ c *Cluster }

// Watchdog returns the watchdog of this upgrade.
func (c *Cluster) Watchdog() Watchdog { return Watchdog{c} }

// Start makes the Job stand, in place of one that an earlier upgrade left. It does not wait for its pod.
func (w Watchdog) Start(ctx context.Context) error {
	found, err := w.c.job(ctx)
	switch {
	case err != nil:
		return err
	case found != nil && !ours(found, w.c.target.Service):
		return w.c.notOurs(kindJob, found.Name)
	case found != nil && found.DeletionTimestamp == nil && found.Annotations[annotationUpgrade] == w.c.upgradeID:
		return nil
	case found != nil:
		if err := w.Stop(ctx); err != nil {
			return err
		}
	}
	job := w.c.watchdogJob()
	if err := w.c.mark(ctx, job); err != nil {
		return err
	}
	if _, err := w.c.kube.BatchV1().Jobs(job.Namespace).Create(ctx, job, metav1.CreateOptions{FieldManager: fieldManager}); err != nil {
		return fmt.Errorf("create %s: %w", describe(kindJob, job), err)
	}
	w.c.log.Info("watchdog created", "job", job.Name)
	return nil
}

// Ready says whether a pod of the Job is ready, which means that it can read the Lease. The error says why none is.
func (w Watchdog) Ready(ctx context.Context) (bool, error) {
	job, err := w.c.job(ctx)
	if err != nil {
		return false, err
	}
	if job == nil || job.DeletionTimestamp != nil {
		return false, fmt.Errorf("the Job %s was deleted meanwhile", w.c.target.Watchdog())
	}
	pods, err := w.c.kube.CoreV1().Pods(job.Namespace).List(ctx, metav1.ListOptions{LabelSelector: plan.LabelWatchdog + "=" + w.c.target.Service})
	if err != nil {
		return false, fmt.Errorf("list the watchdog's pods: %w", err)
	}
	why := fmt.Errorf("the Job %s has no pod yet", job.Name)
	for i := range pods.Items {
		pod := &pods.Items[i]
		if pod.DeletionTimestamp != nil || !metav1.IsControlledBy(pod, job) {
			continue
		}
		if condition(pod, corev1.PodReady) {
			return true, nil
		}
		if t := podTrouble(pod); t != nil {
			why = fmt.Errorf("pod %s: %s", pod.Name, t.why)
		}
	}
	return false, why
}

// Stop deletes the Job; its pod follows by itself. It does not wait for that: the pod may be this process, or on a node that
// is lost. No Job, or one that may not be seen and so was never made, is not an error.
func (w Watchdog) Stop(ctx context.Context) error {
	return retry.OnError(conflicts, apierrors.IsConflict, func() error {
		job, err := w.c.job(ctx)
		switch {
		case apierrors.IsForbidden(err):
			return nil
		case err != nil || job == nil || !ours(job, w.c.target.Service) || job.DeletionTimestamp != nil:
			return err
		}
		return w.c.remove(ctx, kindJob, job, w.c.kube.BatchV1().Jobs(job.Namespace).Delete, metav1.DeletePropagationBackground)
	})
}

// Missing says what there is not for a watchdog, in words; none: it can be had. An error means that it cannot be found out.
func (w Watchdog) Missing(ctx context.Context) (missing []string, err error) {
	if w.c.config.WatchdogImage == "" {
		missing = append(missing, "the image (input watchdog-image, or environment variable GRAY_UPGRADE_IMAGE)")
	}
	for _, r := range WatchdogRules() {
		lacking, err := w.c.missing(ctx, r)
		if err != nil {
			return nil, err
		}
		if len(lacking.Verbs) > 0 {
			missing = append(missing, fmt.Sprintf("in the role in namespace %s the rule %s", lacking.Namespace, lacking))
		}
	}
	ns := w.c.target.Namespace
	_, err = w.c.kube.CoreV1().ServiceAccounts(ns).Get(ctx, WatchdogAccount, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		missing = append(missing, fmt.Sprintf("the ServiceAccount %s in namespace %s (tekton/rbac.yaml holds it)", WatchdogAccount, ns))
	case err != nil && !apierrors.IsForbidden(err): // that is told above
		return nil, fmt.Errorf("read ServiceAccount %s/%s: %w", ns, WatchdogAccount, err)
	}
	if len(missing) > 0 {
		return missing, nil
	}
	return nil, w.rehearse(ctx)
}

// rehearse sends the Job without storing it.
func (w Watchdog) rehearse(ctx context.Context) error {
	job := w.c.watchdogJob()
	_, err := w.c.kube.BatchV1().Jobs(job.Namespace).Create(ctx, job, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: fieldManager})
	if apierrors.IsAlreadyExists(err) {
		found, err := w.c.job(ctx)
		if err == nil && found != nil && !ours(found, w.c.target.Service) {
			return w.c.notOurs(kindJob, found.Name)
		}
		return err
	}
	return refused(describe(kindJob, job), err)
}

// job is nil where there is none.
func (c *Cluster) job(ctx context.Context) (*batchv1.Job, error) {
	job, err := c.kube.BatchV1().Jobs(c.target.Namespace).Get(ctx, c.target.Watchdog(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s %s/%s: %w", kindJob, c.target.Namespace, c.target.Watchdog(), err)
	}
	return job, nil
}

// jobs are the Jobs that an upgrade or an offline test of the service left. Where they may not be listed, none was made.
func (c *Cluster) jobs(ctx context.Context) ([]batchv1.Job, error) {
	list, err := c.kube.BatchV1().Jobs(c.target.Namespace).List(ctx, metav1.ListOptions{LabelSelector: c.graySelector()})
	if apierrors.IsForbidden(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list Jobs of namespace %s: %w", c.target.Namespace, err)
	}
	return list.Items, nil
}

// watchdogJob keeps one watchdog running until the Job is deleted: a container that ends is started again in its pod, a pod
// that is evicted or whose node is lost is replaced.
func (c *Cluster) watchdogJob() *batchv1.Job {
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Name: c.target.Watchdog(), Namespace: c.target.Namespace, Annotations: map[string]string{},
			Labels: map[string]string{plan.LabelSide: string(plan.Gray), plan.LabelService: c.target.Service},
		},
		Spec: batchv1.JobSpec{
			BackoffLimit:            ptr.To[int32](failures),
			TTLSecondsAfterFinished: ptr.To[int32](kept),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{
					// No label that a selector of gray or production asks for; none of a mesh, whose sidecar would keep the pod alive.
					Labels:      map[string]string{plan.LabelWatchdog: c.target.Service, "sidecar.istio.io/inject": "false"},
					Annotations: map[string]string{"sidecar.istio.io/inject": "false", "linkerd.io/inject": "disabled"},
				},
				Spec: c.watchdogPod(),
			},
		},
	}
}

func (c *Cluster) watchdogPod() corev1.PodSpec {
	lost := func(taint string) corev1.Toleration {
		return corev1.Toleration{Key: taint, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: ptr.To[int64](evicted)}
	}
	return corev1.PodSpec{
		ServiceAccountName: WatchdogAccount,
		RestartPolicy:      corev1.RestartPolicyOnFailure,
		EnableServiceLinks: ptr.To(false),
		// One that is deleted ends at once while it only looks, and finishes a close that it has begun.
		TerminationGracePeriodSeconds: ptr.To(int64(c.config.CloseTimeout / time.Second)),
		Tolerations:                   []corev1.Toleration{lost(corev1.TaintNodeNotReady), lost(corev1.TaintNodeUnreachable)},
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To[int64](nobody), RunAsGroup: ptr.To[int64](nobody),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{{
			Name: "watchdog", Image: c.config.WatchdogImage, Command: []string{"/gray-upgrade"}, Args: c.watchdogArgs(),
			Env: []corev1.EnvVar{
				{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}},
				{Name: "GRAY_RUN", Value: "watchdog/" + c.target.Namespace + "/$(POD_NAME)"},
				{Name: "GRAY_ACTOR", Value: "the watchdog"},
			},
			Ports: []corev1.ContainerPort{{Name: "ready", ContainerPort: WatchdogPort}},
			ReadinessProbe: &corev1.Probe{
				ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: WatchdogReady, Port: intstr.FromInt32(WatchdogPort)}},
				PeriodSeconds: 2, TimeoutSeconds: 2,
			},
			Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("48Mi")},
				Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: resource.MustParse("128Mi")},
			},
			SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: ptr.To(false), ReadOnlyRootFilesystem: ptr.To(true),
				Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			},
		}},
	}
}

// watchdogArgs hand over what a close goes by. None of it is a secret.
func (c *Cluster) watchdogArgs() []string {
	o := c.config
	args := []string{
		"watchdog", "--namespace=" + c.target.Namespace, "--service=" + c.target.Service, "--deployment=" + c.target.Deployment,
		"--gateway=httproute/" + c.target.Route, "--watchdog-after=" + o.WatchdogAfter.String(),
		fmt.Sprintf("--close-floor=%d", o.CloseFloor), "--drain=" + o.Drain.String(),
		"--close-timeout=" + o.CloseTimeout.String(), "--pod-timeout=" + o.PodTimeout.String(),
	}
	if o.PodAccess == config.Direct {
		args = append(args, "--pod-access="+string(o.PodAccess))
	}
	if p := o.GatewayPods; p.Selector != "" {
		args = append(args, "--gateway-pods="+gatewayPods(p))
	}
	if o.Confirm.Wait > 0 {
		args = append(args, "--confirm=wait="+o.Confirm.Wait.String())
	}
	for _, text := range []struct{ flag, value string }{{"container", o.Container}, {"url", o.URL}, {"side-header", o.SideHeader}} {
		if text.value != "" {
			args = append(args, "--"+text.flag+"="+text.value)
		}
	}
	return args
}

func gatewayPods(p config.GatewayPods) string {
	text := p.Namespace + "/" + p.Selector
	if p.Port > 0 {
		text += fmt.Sprintf(":%d", p.Port)
	}
	return text
}
