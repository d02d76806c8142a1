package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/utils/ptr"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// What a test Job finds in its environment.
const (
	EnvTestURL   = "GRAY_TEST_URL"   // http://NAME.NAMESPACE.svc:PORT of gray's Service
	EnvTestImage = "GRAY_TEST_IMAGE" // what gray runs
)

// testEvery is the time between two looks at a test Job: it takes seconds to minutes.
const testEvery = time.Second

// ParseJob reads a Job from YAML or JSON, strictly: a field that Kubernetes does not know is an error. name is the
// file's, for the error text.
func ParseJob(name string, data []byte) (*batchv1.Job, error) {
	fault := func(format string, args ...any) error {
		return plan.Failf(plan.FaultInput, name, "offline-test-job %s: "+format, append([]any{name}, args...)...)
	}
	if documents(data) > 1 {
		return nil, fault("has several documents; give one Job")
	}
	var job batchv1.Job
	if err := yaml.UnmarshalStrict(data, &job); err != nil {
		return nil, fault("%w", err)
	}
	switch {
	case job.Kind != kindJob || job.APIVersion != batchv1.SchemeGroupVersion.String():
		return nil, fault("is a %q of %q; allowed is a Job of batch/v1", job.Kind, job.APIVersion)
	case len(job.Spec.Template.Spec.Containers) == 0:
		return nil, fault("has no containers")
	}
	return &job, nil
}

// TestJobMissing says, with nothing changed, what keeps the user's test Job from being run: the file, a permission, labels
// that would bring its pods production traffic, or the API server's own word.
func (c *Cluster) TestJobMissing(ctx context.Context) error {
	if c.config.OfflineTestJob == "" {
		return nil
	}
	_, err := c.permissions(ctx, []Rule{jobRule})
	if err != nil {
		return err
	}
	job, err := c.testJob(ctx, &corev1.Service{})
	if err != nil {
		return err
	}
	_, err = c.kube.BatchV1().Jobs(job.Namespace).Create(ctx, job, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: fieldManager})
	if apierrors.IsAlreadyExists(err) {
		return c.notOurs(kindJob, job.Name) // one of ours is removed with what an earlier run left
	}
	return refused(describe(kindJob, job), err)
}

// TestJob runs the user's test Job against gray, whose pods must be verified, and returns in words that it succeeded. A
// Job whose container says no is the image's fault; one that never ran is not. Its logs are handed to keep either way; the
// Job goes with gray.
func (c *Cluster) TestJob(ctx context.Context, keep func(pod, container string, log []byte) error) (string, error) {
	service, err := c.kube.CoreV1().Services(c.target.Namespace).Get(ctx, c.target.GrayService(), metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("read gray's Service: %w", err)
	}
	job, err := c.testJob(ctx, service)
	if err != nil {
		return "", err
	}
	if err := c.mark(ctx, job); err != nil {
		return "", err
	}
	begin := time.Now()
	if _, err = c.kube.BatchV1().Jobs(job.Namespace).Create(ctx, job, metav1.CreateOptions{FieldManager: fieldManager}); err != nil {
		return "", fmt.Errorf("create %s: %w", describe(kindJob, job), err)
	}
	c.log.Info("test Job created", "job", job.Name)
	failed, err := c.awaitJob(ctx, job.Name)
	if err != nil {
		return "", err
	}
	pods, err := c.podsOfJob(ctx, job.Name)
	if err != nil {
		return "", err
	}
	for _, pod := range pods {
		for _, s := range pod.Status.ContainerStatuses {
			if err := c.keepLog(ctx, pod.Name, s.Name, false, keep); err != nil {
				c.log.Warn("a log of the test Job is not in the evidence", "error", err)
			}
		}
	}
	if failed != nil {
		return "", testFailure(job, failed, pods)
	}
	return fmt.Sprintf("Job %s succeeded in %s", job.Name, time.Since(begin).Round(time.Second)), nil
}

// awaitJob returns when the Job has ended: the condition that says that it failed, or nil.
func (c *Cluster) awaitJob(ctx context.Context, name string) (failed *batchv1.JobCondition, err error) {
	for {
		job, err := c.kube.BatchV1().Jobs(c.target.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil && (final(err) || apierrors.IsNotFound(err)) {
			return nil, fmt.Errorf("read %s %s/%s: %w", kindJob, c.target.Namespace, name, err)
		}
		if err == nil {
			for i, cond := range job.Status.Conditions {
				switch {
				case cond.Status != corev1.ConditionTrue:
				case cond.Type == batchv1.JobComplete:
					return nil, nil
				case cond.Type == batchv1.JobFailed:
					return &job.Status.Conditions[i], nil
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(testEvery):
		}
	}
}

// testFailure blames the image only where a container of the Job ran and said no.
func testFailure(job *batchv1.Job, failed *batchv1.JobCondition, pods []corev1.Pod) error {
	where := describe(kindJob, job)
	why := "no container of it ran"
	for _, pod := range pods {
		for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
			ended := s.State.Terminated
			if ended == nil {
				ended = s.LastTerminationState.Terminated
			}
			if ended != nil && ended.ExitCode != 0 && !ended.StartedAt.IsZero() {
				return plan.Failf(plan.FaultImage, where, "the offline test's Job %s failed: container %s of pod %s ended with exit code %d (%s)",
					job.Name, s.Name, pod.Name, ended.ExitCode, cut(failed.Reason))
			}
			if w := s.State.Waiting; w != nil {
				why = fmt.Sprintf("container %s of pod %s waits: %s %s", s.Name, pod.Name, w.Reason, cut(w.Message))
			}
		}
	}
	return plan.Failf(plan.FaultInfrastructure, where, "the offline test's Job %s ended without a verdict (%s %s): %s", job.Name, cut(failed.Reason), cut(failed.Message), why)
}

func (c *Cluster) podsOfJob(ctx context.Context, name string) ([]corev1.Pod, error) {
	list, err := c.kube.CoreV1().Pods(c.target.Namespace).List(ctx, metav1.ListOptions{LabelSelector: batchv1.JobNameLabel + "=" + name})
	if err != nil {
		return nil, fmt.Errorf("list the pods of Job %s: %w", name, err)
	}
	return list.Items, nil
}

// testJob is the user's Job under a name of ours, with gray's address. No user may reach its pods.
func (c *Cluster) testJob(ctx context.Context, gray *corev1.Service) (*batchv1.Job, error) {
	data, err := os.ReadFile(c.config.OfflineTestJob)
	if err != nil {
		return nil, plan.Failf(plan.FaultInput, c.config.OfflineTestJob, "offline-test-job: %w", err)
	}
	job, err := ParseJob(c.config.OfflineTestJob, data)
	if err != nil {
		return nil, err
	}
	if err := c.reachable(ctx, job.Spec.Template.Labels); err != nil {
		return nil, err
	}
	job.ObjectMeta = metav1.ObjectMeta{
		Name: c.target.TestJob(), Namespace: c.target.Namespace, Annotations: map[string]string{},
		Labels: map[string]string{plan.LabelSide: string(plan.Gray), plan.LabelService: c.target.Service},
	}
	if job.Spec.ActiveDeadlineSeconds == nil { // else a pod that cannot start would keep it for ever
		job.Spec.ActiveDeadlineSeconds = ptr.To(int64(c.config.Timeout / time.Second))
	}
	env := []corev1.EnvVar{{Name: EnvTestURL, Value: urlOf(gray)}, {Name: EnvTestImage, Value: c.config.Image}}
	spec := &job.Spec.Template.Spec
	for _, list := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range list {
			list[i].Env = append(slices.Clone(env), list[i].Env...)
		}
	}
	return job, nil
}

// reachable refuses labels by which a Service would send its requests to the test's pods.
func (c *Cluster) reachable(ctx context.Context, of map[string]string) error {
	services, err := c.kube.CoreV1().Services(c.target.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list Services of namespace %s: %w", c.target.Namespace, err)
	}
	var faults []error
	for _, s := range services.Items {
		if len(s.Spec.Selector) > 0 && labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(of)) {
			faults = append(faults, plan.Failf(plan.FaultInput, c.config.OfflineTestJob,
				"offline-test-job: Service %s selects the labels of the Job's pods and would send them users' requests; give them other labels", s.Name))
		}
	}
	return errors.Join(faults...)
}

// urlOf is where the first port of a Service is reached inside the cluster.
func urlOf(s *corev1.Service) string {
	if len(s.Spec.Ports) == 0 {
		return ""
	}
	return fmt.Sprintf("http://%s.%s.svc:%d", s.Name, s.Namespace, s.Spec.Ports[0].Port)
}
