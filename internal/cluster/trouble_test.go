package cluster

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

func waitingFor(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

func ended(code int32, reason string) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason}}
}

func TestPodTrouble(t *testing.T) {
	runs := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	container := func(s corev1.ContainerStatus) corev1.PodStatus {
		s.Name, s.Image = "web", "web:v2"
		return corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{s}}
	}
	for name, c := range map[string]struct {
		status   corev1.PodStatus
		fault    plan.Fault // "": no trouble
		patience time.Duration
		why      string
	}{
		"ready": {status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.ContainersReady, Status: corev1.ConditionTrue}}}},
		"ready, though it crashed once upon a time": {status: corev1.PodStatus{
			Conditions:        []corev1.PodCondition{{Type: corev1.ContainersReady, Status: corev1.ConditionTrue}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "web", RestartCount: 7, State: runs, LastTerminationState: ended(1, "Error")}},
		}},
		"image cannot be pulled":   {container(corev1.ContainerStatus{State: waitingFor("ImagePullBackOff", "not found")}), plan.FaultInfrastructure, repeated, "web cannot get its image web:v2: ImagePullBackOff: not found"},
		"first failed pull":        {container(corev1.ContainerStatus{State: waitingFor("ErrImagePull", "")}), plan.FaultInfrastructure, repeated, "ErrImagePull"},
		"a secret is missing":      {container(corev1.ContainerStatus{State: waitingFor("CreateContainerConfigError", `secret "x" not found`)}), plan.FaultInfrastructure, repeated, `secret "x" not found`},
		"crash loop":               {container(corev1.ContainerStatus{State: waitingFor("CrashLoopBackOff", ""), LastTerminationState: ended(3, "Error"), RestartCount: 1}), plan.FaultImage, 0, "exit code 3 (Error), 1 restarts"},
		"out of memory, again":     {container(corev1.ContainerStatus{State: runs, LastTerminationState: ended(137, "OOMKilled"), RestartCount: 2}), plan.FaultImage, 0, "exit code 137 (OOMKilled), 2 restarts"},
		"ended once":               {container(corev1.ContainerStatus{State: ended(1, "Error")}), plan.FaultImage, untilDeadline, "exit code 1"},
		"ended well, but ended":    {container(corev1.ContainerStatus{State: ended(0, "Completed"), RestartCount: 2}), plan.FaultImage, 0, "exit code 0 (Completed)"},
		"restarted once, runs now": {container(corev1.ContainerStatus{State: runs, LastTerminationState: ended(1, "Error"), RestartCount: 1}), plan.FaultImage, untilDeadline, "runs but is not ready"},
		"runs, never ready":        {container(corev1.ContainerStatus{State: runs}), plan.FaultImage, untilDeadline, "web runs but is not ready"},
		"not started":              {container(corev1.ContainerStatus{State: waitingFor("ContainerCreating", "")}), plan.FaultInfrastructure, untilDeadline, "not started"},
		"no room": {
			corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/3 nodes are available"}}},
			plan.FaultInfrastructure, untilDeadline, "cannot be scheduled: 0/3 nodes",
		},
		"init container fails": {
			corev1.PodStatus{InitContainerStatuses: []corev1.ContainerStatus{{Name: "migrate", State: waitingFor("CrashLoopBackOff", ""), LastTerminationState: ended(2, "Error"), RestartCount: 4}}},
			plan.FaultImage, 0, "container migrate ended with exit code 2",
		},
		"init container done": {
			corev1.PodStatus{
				InitContainerStatuses: []corev1.ContainerStatus{{Name: "migrate", State: ended(0, "Completed")}},
				ContainerStatuses:     []corev1.ContainerStatus{{Name: "web", State: runs}},
			},
			plan.FaultImage, untilDeadline, "web runs but is not ready",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := podTrouble(&corev1.Pod{Status: c.status})
			if c.fault == "" {
				assert.Nil(t, got)
				return
			}
			require.NotNil(t, got)
			assert.Equal(t, c.fault, got.fault)
			assert.Equal(t, c.patience, got.patience)
			assert.Contains(t, got.why, c.why)
		})
	}
}

func TestTroubleOfASide(t *testing.T) {
	s := newStage(t, 2)
	s.pod("new", false)
	s.deployment.Status.Conditions = []appsv1.DeploymentCondition{{
		Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Message: `pods "x" is forbidden: exceeded quota: small`,
	}}
	got := s.see().trouble()
	assert.Equal(t, plan.FaultInfrastructure, got.fault)
	assert.Contains(t, got.why, "exceeded quota: small", "what is known soonest wins over a pod that merely starts")

	s.pods[0].Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "web", State: waitingFor("CrashLoopBackOff", ""), LastTerminationState: ended(1, "Error")}}
	got = s.see().trouble()
	assert.Equal(t, plan.FaultImage, got.fault)
	assert.Equal(t, s.pods[0].Name, got.pod)

	assert.Nil(t, sight{}.trouble(), "no Deployment")
}

// TestASidecarIsNotTheImage: who does not run the new image does not put it on hold.
func TestASidecarIsNotTheImage(t *testing.T) {
	s := newStage(t, 1)
	s.pod("new", false)
	template := &s.deployment.Spec.Template.Spec
	template.Containers = []corev1.Container{{Name: "web", Image: "registry.example.com/web:v2"}, {Name: "mesh", Image: "registry.example.com/mesh:v7"}}
	for container, want := range map[string]plan.Fault{"web": plan.FaultImage, "mesh": plan.FaultInfrastructure} {
		for manifest, want := range map[string]plan.Fault{"": want, "web.yaml": plan.FaultImage} {
			c := &Cluster{config: config.Config{Image: "registry.example.com/web:v2", Manifest: manifest}}
			got := c.blamed(s.see(), &trouble{fault: plan.FaultImage, container: container, why: "crashes"})
			assert.Equal(t, want, got.fault, container+manifest)
		}
	}
	assert.Nil(t, (&Cluster{}).blamed(s.see(), nil))
}

func TestCut(t *testing.T) {
	assert.Equal(t, "one", cut("one\ntwo"))
	assert.Equal(t, "one", cut("one\r\n"))
	long := cut(strings.Repeat("ä", 400))
	assert.LessOrEqual(t, len(long), maxLine)
	assert.True(t, strings.HasSuffix(long, "..."))
}

// TestAnImageThatTheRegistryDoesNotHave is told from a registry that cannot be asked: no rerun heals it.
func TestAnImageThatTheRegistryDoesNotHave(t *testing.T) {
	for words, absent := range map[string]bool{
		`rpc error: code = NotFound desc = failed to pull and unpack image "web:v9": failed to resolve reference "web:v9": web:v9: not found`:          true,
		`Back-off pulling image "web:v9": ErrImagePull: rpc error: code = NotFound desc = failed to pull and unpack image "web:v9": web:v9: not found`: true,
		"initializing source docker://web:v9: reading manifest v9 in registry.example.com/web: manifest unknown":                                       true,
		"unexpected status: NAME_UNKNOWN: repository name not known to registry":                                                                       true,
		"failed to do request: dial tcp: lookup registry.example.com: no such host":                                                                    false,
		"pull access denied, repository does not exist or may require authorization":                                                                   false,
		`credential plugin: exec: "ecr-login": executable file not found in $PATH`:                                                                     false,
		`Back-off pulling image "web:v9"`: false,
	} {
		got := containerTrouble(corev1.ContainerStatus{Name: "web", State: waitingFor("ErrImagePull", words)}, false)
		assert.Equal(t, absent, got.absent, words)
	}
	assert.True(t, containerTrouble(corev1.ContainerStatus{State: waitingFor("InvalidImageName", "couldn't parse image reference")}, false).absent)
}

// TestAnAbsentImageIsAFaultOfTheInput, also where the back-off does not repeat what the registry said.
func TestAnAbsentImageIsAFaultOfTheInput(t *testing.T) {
	d := &appsv1.Deployment{}
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "web", Image: "registry.example.com/web:v9"}, {Name: "mesh", Image: "registry.example.com/mesh:v7"}}
	c := New(Options{Target: plan.Target{Namespace: "shop", Deployment: "web"}, Config: config.Config{Image: "registry.example.com/web:v9"}})
	waits := func(container, reason, words string) sight {
		status := corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: container, State: waitingFor(reason, words)}}}
		return sight{deployment: d, current: []corev1.Pod{{Status: status}}}
	}
	for container, want := range map[string]plan.Fault{"web": plan.FaultInput, "mesh": plan.FaultInfrastructure} {
		synctest.Test(t, func(t *testing.T) {
			g, w := goal{what: "gray pods are not ready", limit: time.Minute}, &waiting{since: time.Now()}
			require.NoError(t, c.judge(t.Context(), g, waits(container, "ErrImagePull", "code = NotFound"), w, 0))
			time.Sleep(repeated)
			err := c.judge(t.Context(), g, waits(container, "ImagePullBackOff", "Back-off pulling image"), w, 0)
			var f *plan.Failure
			require.ErrorAs(t, err, &f)
			assert.Equal(t, want, f.Fault)
			if want == plan.FaultInput {
				assert.Contains(t, f.What, "the registry has no such image")
				assert.Contains(t, f.Next, "correct the tag")
			}
		})
	}
}
