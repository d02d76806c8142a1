package cluster

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	goyaml "github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// sample is the content of a file of testdata.
type sample struct {
	deployment *appsv1.Deployment
	service    *corev1.Service
	budget     *policyv1.PodDisruptionBudget
}

func load(t *testing.T, name string) sample {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return parse(t, string(data))
}

func parse(t *testing.T, text string) sample {
	t.Helper()
	s := sample{}
	for _, document := range strings.Split(text, "\n---\n") {
		var kind struct{ Kind string }
		require.NoError(t, yaml.Unmarshal([]byte(document), &kind))
		var into any
		switch kind.Kind {
		case "Deployment":
			s.deployment = &appsv1.Deployment{}
			into = s.deployment
		case "Service":
			s.service = &corev1.Service{}
			into = s.service
		case "PodDisruptionBudget":
			s.budget = &policyv1.PodDisruptionBudget{}
			into = s.budget
		}
		require.NoError(t, yaml.UnmarshalStrict([]byte(document), into))
	}
	return s
}

// text is objects as YAML, for golden files.
func text(t *testing.T, objects ...any) []byte {
	t.Helper()
	var documents []string
	for _, o := range objects {
		raw, err := json.Marshal(o)
		require.NoError(t, err)
		document, err := goyaml.JSONToYAML(raw)
		require.NoError(t, err)
		documents = append(documents, string(document))
	}
	return []byte(strings.Join(documents, "---\n"))
}

func target(s sample) plan.Target {
	return plan.Target{Namespace: s.deployment.Namespace, Deployment: s.deployment.Name, Service: s.service.Name, Route: "shop"}
}

// fault requires a *plan.Failure somewhere in the error and returns its fault.
func fault(t *testing.T, err error) plan.Fault {
	t.Helper()
	var failure *plan.Failure
	require.ErrorAs(t, err, &failure)
	return failure.Fault
}
