package cluster

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

const (
	// untilDeadline: the trouble may pass (a node is added, a probe turns good), so only the deadline ends the wait.
	untilDeadline = time.Duration(math.MaxInt64)
	// repeated is enough for a second try of whatever the kubelet or a controller retries: its first back-off is 10 s.
	repeated = 15 * time.Second
	// crashes is the number of restarts from which a container counts as one that crashes again and again.
	crashes = 2
)

// trouble is why a pod, or a Deployment, does not become ready.
type trouble struct {
	fault     plan.Fault
	pod       string // "": the Deployment has no pods to blame
	container string
	why       string        // one line; holds foreign text, cut
	patience  time.Duration // how long it may last before waiting on is pointless
	logs      bool          // the container's log says more
	previous  bool          // the log of the run before
	events    bool          // the pod's events say more
	absent    bool          // the registry has no such image
}

// pullReasons are the reasons of a container that waits for its image.
var pullReasons = []string{"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed"}

// noSuchImage is in the words of a registry that has no such tag, digest or repository, as container runtimes hand them on: gRPC's
// code of containerd, and the error codes of the OCI distribution specification (MANIFEST_UNKNOWN, NAME_UNKNOWN).
var noSuchImage = regexp.MustCompile(`(?i)code = NotFound|: not found$|manifest[ _]unknown|name[ _]unknown`)

// trouble returns the worst trouble of the pods of the current template: the one that can be told soonest. nil:
// none.
func (s sight) trouble() *trouble {
	if s.deployment == nil {
		return nil
	}
	var worst *trouble
	consider := func(t *trouble) {
		if t != nil && (worst == nil || t.patience < worst.patience) {
			worst = t
		}
	}
	for i := range s.current {
		consider(podTrouble(&s.current[i]))
	}
	if int32(len(s.current)) < s.replicas() { //nolint:gosec // a number of pods
		consider(deploymentTrouble(s.deployment))
	}
	return worst
}

// blamed takes the blame off the image where the container in trouble does not run it: a sidecar, or an init container of
// another repository.
func (c *Cluster) blamed(s sight, t *trouble) *trouble {
	if t == nil || t.fault != plan.FaultImage && !t.absent || c.Renews(&s.deployment.Spec.Template.Spec, t.container) {
		return t
	}
	t.fault, t.absent = plan.FaultInfrastructure, false
	t.why += " (it does not run the image that is upgraded)"
	return t
}

// Renews says whether a container of a pod of either side runs what is upgraded. Of a whole template, that is all of them.
func (c *Cluster) Renews(spec *corev1.PodSpec, container string) bool {
	return c.config.Manifest != "" || slices.Contains(renewed(spec, c.config.Image, c.config.Container), container)
}

// deploymentTrouble reads the condition that a quota, or an admission that refuses pods, leaves on the Deployment.
func deploymentTrouble(d *appsv1.Deployment) *trouble {
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			return &trouble{fault: plan.FaultInfrastructure, patience: repeated, why: "pods cannot be created: " + cut(c.Message)}
		}
	}
	return nil
}

// podTrouble returns nil for a pod whose containers are ready.
func podTrouble(pod *corev1.Pod) *trouble {
	if condition(pod, corev1.ContainersReady) {
		return nil
	}
	t := blame(pod)
	t.pod = pod.Name
	return t
}

func blame(pod *corev1.Pod) *trouble {
	for _, status := range pod.Status.InitContainerStatuses {
		if t := containerTrouble(status, initDone(pod, status)); t != nil {
			return t
		}
	}
	for _, status := range pod.Status.ContainerStatuses {
		if t := containerTrouble(status, false); t != nil {
			return t
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return &trouble{fault: plan.FaultInfrastructure, patience: untilDeadline, why: "cannot be scheduled: " + cut(c.Message)}
		}
	}
	for _, status := range pod.Status.ContainerStatuses {
		if status.State.Running != nil && !status.Ready {
			return &trouble{fault: plan.FaultImage, patience: untilDeadline, container: status.Name, logs: true, events: true,
				why: fmt.Sprintf("container %s runs but is not ready", status.Name)}
		}
	}
	return &trouble{fault: plan.FaultInfrastructure, patience: untilDeadline, events: true, why: "its containers are not started yet"}
}

// initDone says that an init container has done its work: it ended well, or it is a sidecar that started.
func initDone(pod *corev1.Pod, status corev1.ContainerStatus) bool {
	if ended := status.State.Terminated; ended != nil {
		return ended.ExitCode == 0
	}
	i := slices.IndexFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == status.Name })
	sidecar := i >= 0 && pod.Spec.InitContainers[i].RestartPolicy != nil
	return sidecar && status.Started != nil && *status.Started
}

// containerTrouble judges one container; nil where it gives no reason, or has done its work.
func containerTrouble(s corev1.ContainerStatus, done bool) *trouble {
	if done {
		return nil
	}
	waiting := s.State.Waiting
	switch {
	case waiting != nil && slices.Contains(pullReasons, waiting.Reason):
		return &trouble{fault: plan.FaultInfrastructure, container: s.Name, patience: repeated,
			absent: waiting.Reason == "InvalidImageName" || noSuchImage.MatchString(waiting.Message),
			why:    fmt.Sprintf("container %s cannot get its image %s: %s: %s", s.Name, s.Image, waiting.Reason, cut(waiting.Message))}
	case waiting != nil && (waiting.Reason == "CreateContainerConfigError" || waiting.Reason == "CreateContainerError"):
		return &trouble{fault: plan.FaultInfrastructure, container: s.Name, patience: repeated,
			why: fmt.Sprintf("container %s cannot be created: %s: %s", s.Name, waiting.Reason, cut(waiting.Message))}
	case s.State.Running != nil && s.RestartCount < crashes:
		return nil
	}
	ended := s.State.Terminated
	if ended == nil {
		ended = s.LastTerminationState.Terminated
	}
	if ended == nil {
		return nil
	}
	return crash(s, ended)
}

func crash(s corev1.ContainerStatus, ended *corev1.ContainerStateTerminated) *trouble {
	t := &trouble{fault: plan.FaultImage, container: s.Name, patience: untilDeadline, logs: true, previous: s.State.Running != nil}
	loops := s.State.Waiting != nil && s.State.Waiting.Reason == "CrashLoopBackOff"
	if loops || s.RestartCount >= crashes {
		t.patience = 0
	}
	t.why = fmt.Sprintf("container %s ended with exit code %d (%s), %d restarts", s.Name, ended.ExitCode, cut(ended.Reason), s.RestartCount)
	if ended.Message != "" {
		t.why += ": " + cut(ended.Message)
	}
	return t
}

// maxLine is the longest piece of foreign text in one error, in bytes.
const maxLine = 300

// cut keeps foreign text to one line of bounded length.
func cut(text string) string {
	if i := slices.IndexFunc([]byte(text), func(b byte) bool { return b == '\n' || b == '\r' }); i >= 0 {
		text = text[:i]
	}
	if len(text) <= maxLine {
		return text
	}
	return strings.ToValidUTF8(text[:maxLine-3], "") + "..."
}
