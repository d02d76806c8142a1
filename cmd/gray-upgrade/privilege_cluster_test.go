package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gray-upgrade/gray-upgrade/internal/clustertest"
	"github.com/gray-upgrade/gray-upgrade/internal/e2e"
)

// extras give the shop everything that a rule of the Role is for: a scaler, a budget, and a claim of a volume.
const extras = `
apiVersion: v1
kind: PersistentVolume
metadata: {name: NAMESPACE}
spec:
  capacity: {storage: 1Mi}
  accessModes: [ReadWriteMany]
  hostPath: {path: /tmp}
  claimRef: {name: data, namespace: NAMESPACE}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: NAMESPACE}
spec:
  accessModes: [ReadWriteMany]
  storageClassName: ""
  volumeName: NAMESPACE
  resources: {requests: {storage: 1Mi}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: NAMESPACE}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  maxReplicas: 4
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web, namespace: NAMESPACE}
spec:
  minAvailable: 1
  selector: {matchLabels: {app: web}}
`

// orphans are what is left of gray where somebody deleted its Deployment alone.
const orphans = `
apiVersion: v1
kind: Service
metadata: {name: web-gray, namespace: NAMESPACE, labels: {gray-upgrade.dev/side: gray, gray-upgrade.dev/service: web}}
spec:
  selector: {app: web-gray}
  ports: [{port: 80}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web-gray, namespace: NAMESPACE, labels: {gray-upgrade.dev/side: gray, gray-upgrade.dev/service: web}}
spec:
  minAvailable: 1
  selector: {matchLabels: {app: web-gray}}
`

// TestTheShippedRoleIsEnoughAndNotTooMuch runs an upgrade that is rolled back, one that is promoted and a close under the
// shipped Role, and compares it with the API server's audit log: what is granted and never asked for is too much.
func TestTheShippedRoleIsEnoughAndNotTooMuch(t *testing.T) {
	t.Parallel()
	s := newStory(t, e2e.Options{Replicas: 2})
	clustertest.Apply(t, s.Rest, strings.ReplaceAll(extras, "NAMESPACE", s.Namespace))
	t.Cleanup(func() {
		assert.NoError(t, s.Kube.CoreV1().PersistentVolumes().Delete(context.WithoutCancel(t.Context()), s.Namespace, metav1.DeleteOptions{}))
	})
	s.mount("data")
	s.shippedRole()
	s.actAs(10 * time.Minute)
	code, output := s.run("run", quick...)
	assert.Equal(t, 2, code, output)
	assert.Contains(t, output, "the credential ends at ")
	assert.Contains(t, output, "an upgrade may take timeout + close-timeout = 35m0s")
	assert.Contains(t, output, "nothing was changed")

	s.actAs(2 * time.Hour)
	checks := filepath.Join(t.TempDir(), "checks.yaml")
	require.NoError(t, os.WriteFile(checks, []byte("checks: [{name: front page, path: /}]\n"), 0o600))
	watched := append([]string{"--watchdog=required", "--watchdog-image=127.0.0.1:5000/gray-upgrade:dev", "--config=" + checks}, quick...)
	code, output = s.run("plan", watched...)
	assert.Equal(t, 0, code, output)
	assert.NotContains(t, output, "lacks", "plan warns of rules that the shipped roles do not hold")
	assert.Contains(t, output, "start the watchdog")
	code, output = s.run("run", append(watched, `--gray-env=APP_FAULTS={"neverReady":true}`, "--pod-timeout=10s", "--pod-access=direct")...)
	require.Equal(t, 1, code, output)
	code, output = s.run("run", append(watched, "--ignore-hold=the test asks for it")...)
	require.Equal(t, 0, code, output)
	now, err := s.Image(t.Context())
	require.NoError(t, err)
	assert.Contains(t, now, e2e.Repository+":v2@sha256:")
	code, output = s.run("status")
	assert.Equal(t, 0, code, output)
	assert.Regexp(t, `(?m)^ended .* promoted `+e2e.Repository+":v2", output)
	clustertest.Apply(t, s.Rest, strings.ReplaceAll(orphans, "NAMESPACE", s.Namespace))
	code, output = s.run("close")
	assert.Equal(t, 0, code, output)
	s.asksForAll(shipped(t)["gray-upgrade"], s.Namespace)
	s.asksForAll(shipped(t)["gray-upgrade-gateway"], "gateway")
}

// mount gives web's pods the claim, and waits until they have it.
func (s *story) mount(claim string) {
	s.t.Helper()
	patch := `{"spec":{"template":{"spec":{"volumes":[{"name":"data","persistentVolumeClaim":{"claimName":"` + claim + `"}}],` +
		`"containers":[{"name":"web","volumeMounts":[{"name":"data","mountPath":"/data"}]}]}}}}`
	d, err := s.Kube.AppsV1().Deployments(s.Namespace).Patch(s.t.Context(), "web", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
	require.NoError(s.t, err)
	require.Eventually(s.t, func() bool {
		now, err := s.Deployment(s.t.Context(), "web")
		return err == nil && now.Status.ObservedGeneration >= d.Generation && now.Status.UpdatedReplicas == 2 && now.Status.ReadyReplicas == 2 && now.Status.Replicas == 2
	}, 2*time.Minute, 100*time.Millisecond, "web does not roll")
}

// asksForAll asserts that each verb of the Role was used in the namespace by the shipped ServiceAccount.
func (s *story) asksForAll(role rbacv1.Role, namespace string) {
	s.t.Helper()
	used := s.audited("system:serviceaccount:"+s.Namespace+":gray-upgrade", namespace)
	for _, rule := range role.Rules {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				if resource == "pods/portforward" && verb == "create" {
					continue // only where WebSocket does not pass
				}
				name := verb + " " + rule.APIGroups[0] + "/" + resource
				assert.True(s.t, used[name], "%s in namespace %s is granted and never used", name, namespace)
			}
		}
	}
}

// audited are the verbs that a user used in a namespace, as the API server wrote them down.
func (s *story) audited(user, namespace string) map[string]bool {
	s.t.Helper()
	file, err := os.Open(os.Getenv("CLUSTER_AUDIT_LOG"))
	require.NoError(s.t, err)
	defer func() { _ = file.Close() }()
	used := map[string]bool{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if !bytes.Contains(lines.Bytes(), []byte(user)) {
			continue
		}
		var event struct {
			User      struct{ Username string }
			Verb      string
			ObjectRef struct{ Resource, Subresource, Namespace, APIGroup string }
		}
		require.NoError(s.t, json.Unmarshal(lines.Bytes(), &event))
		if o := event.ObjectRef; event.User.Username == user && o.Namespace == namespace {
			used[event.Verb+" "+o.APIGroup+"/"+strings.TrimSuffix(o.Resource+"/"+o.Subresource, "/")] = true
		}
	}
	require.NoError(s.t, lines.Err())
	return used
}
