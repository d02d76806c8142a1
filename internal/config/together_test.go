package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/golden"
)

const root = "../.."

// decode reads a YAML file with one or more documents of the same shape.
func decode[T any](t *testing.T, path string) []T {
	t.Helper()
	file, err := os.Open(filepath.Join(root, path))
	require.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	var out []T
	for d := yaml.NewDecoder(file); ; {
		var v T
		if err := d.Decode(&v); err != nil {
			require.ErrorContains(t, err, "EOF")
			return out
		}
		out = append(out, v)
	}
}

// described is how Keys are told to people in action.yml and in the Task.
func described(k Key) string {
	if k.Default == "" {
		return k.Description
	}
	return k.Description + " Default: " + k.Default + "."
}

type actionFile struct {
	Inputs map[string]struct {
		Description string
		Required    bool
		Default     *string
	}
	Outputs map[string]struct{ Description string }
	Runs    map[string]any
}

type taskFile struct {
	Spec struct {
		Params []struct {
			Name, Type, Description string
			Default                 *string
		}
		Results    []struct{ Name, Description string }
		Workspaces []struct{ Name string }
		Steps      []struct {
			Command, Args   []string
			Script, Timeout string
			Env             []struct{ Name, Value string }
			SecurityContext map[string]any `yaml:"securityContext"`
		}
	}
}

var outputs = []string{"evidence", "image", "last-step", "outcome", "reason", "upgrade-id"}

func TestActionHasEveryInput(t *testing.T) {
	action := decode[actionFile](t, "action.yml")[0]
	command := action.Inputs["command"]
	require.NotNil(t, command.Default)
	assert.Equal(t, "run", *command.Default)
	delete(action.Inputs, "command") // not an input of the tool: its first words
	for _, k := range Keys {
		in, ok := action.Inputs[k.Name]
		require.True(t, ok, "action.yml has no input %s", k.Name)
		assert.Equal(t, described(k), in.Description, k.Name)
		assert.Equal(t, k.Required, in.Required, k.Name)
		if !k.Required {
			require.NotNil(t, in.Default, k.Name)
			assert.Empty(t, *in.Default, "%s: the runner would hand a default over like the user's own word, over the config file's", k.Name)
		}
		delete(action.Inputs, k.Name)
	}
	assert.Empty(t, action.Inputs, "inputs that gray-upgrade does not know")
	assert.Equal(t, outputs, sorted(action.Outputs))
	assert.Equal(t, map[string]any{"using": "docker", "image": "Dockerfile", "entrypoint": "/gray-upgrade", "args": []any{"${{ inputs.command }}"},
		"post-entrypoint": "/gray-upgrade-close"}, action.Runs)
}

func sorted[T any](m map[string]T) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func TestTaskHasEveryInput(t *testing.T) {
	task := decode[taskFile](t, "tekton/task/gray-upgrade/0.1/gray-upgrade.yaml")[0]
	require.Len(t, task.Spec.Steps, 1)
	step := task.Spec.Steps[0]
	env := map[string]string{}
	for _, e := range step.Env {
		env[e.Name] = e.Value
	}
	own := []string{"command", "tool-image", "run-url", "actor", "accounts-secret"}
	for _, p := range task.Spec.Params {
		assert.Equal(t, "string", p.Type, p.Name)
		if slices.Contains(own, p.Name) {
			continue
		}
		i := slices.IndexFunc(Keys, func(k Key) bool { return k.Name == p.Name })
		require.GreaterOrEqual(t, i, 0, "param %s is not an input", p.Name)
		k := Keys[i]
		assert.Equal(t, described(k), p.Description, k.Name)
		assert.Equal(t, k.Required, p.Default == nil, k.Name)
		if p.Default != nil {
			assert.Empty(t, *p.Default, k.Name)
		}
		assert.Equal(t, "$(params."+k.Name+")", env[k.Env()], k.Name)
	}
	assert.Len(t, task.Spec.Params, len(own)+len(Keys)-1, "every input but evidence, which is a workspace")
	assert.Equal(t, "$(workspaces.evidence.path)", env["GRAY_EVIDENCE"])
	var results []string
	for _, r := range task.Spec.Results {
		results = append(results, r.Name)
		assert.Equal(t, "$(results."+r.Name+".path)", env["GRAY_RESULT_"+strings.ToUpper(strings.ReplaceAll(r.Name, "-", "_"))])
	}
	slices.Sort(results)
	assert.Equal(t, outputs, results)
	assert.Equal(t, []string{"/gray-upgrade"}, step.Command)
	assert.Equal(t, []string{"$(params.command)"}, step.Args)
	assert.Empty(t, step.Script)
	assert.Empty(t, step.Timeout, "Tekton kills such a step without a signal")
	assert.Equal(t, true, step.SecurityContext["readOnlyRootFilesystem"])
	assert.Equal(t, true, step.SecurityContext["runAsNonRoot"])
}

// TestTaskReadme keeps the table of inputs in the Task's README; -update writes it.
func TestTaskReadme(t *testing.T) {
	path := filepath.Join(root, "tekton/task/gray-upgrade/0.1/README.md")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(text), " -->\n")
	require.True(t, ok)
	_, after, ok := strings.Cut(rest, "<!-- /inputs -->")
	require.True(t, ok)
	want := before + " -->\n" + Table() + "<!-- /inputs -->" + after
	if golden.Update() {
		require.NoError(t, os.WriteFile(path, []byte(want), 0o600))
		return
	}
	assert.Equal(t, want, string(text), "write it with: make golden")
}

type samplePart struct {
	Kind string
	Spec struct {
		Tasks, Finally []struct {
			Name, Timeout string
			Retries       *int
			Params        []struct{ Name, Value string }
		}
	}
}

func TestSamplePipeline(t *testing.T) {
	parts := decode[samplePart](t, "tekton/task/gray-upgrade/0.1/samples/pipeline.yaml")
	require.Len(t, parts, 2)
	task := decode[taskFile](t, "tekton/task/gray-upgrade/0.1/gray-upgrade.yaml")[0]
	pipeline := parts[0].Spec
	require.Len(t, pipeline.Tasks, 1)
	require.Len(t, pipeline.Finally, 1)
	assert.Zero(t, *pipeline.Tasks[0].Retries)
	limit, err := time.ParseDuration(pipeline.Tasks[0].Timeout)
	require.NoError(t, err)
	assert.Greater(t, limit, Defaults().Timeout+Defaults().CloseTimeout)
	for _, run := range slices.Concat(pipeline.Tasks, pipeline.Finally) {
		given := map[string]string{}
		for _, p := range run.Params {
			given[p.Name] = p.Value
			assert.NotContains(t, p.Value, "$(tasks.", "a result that was never written would skip the task")
		}
		for _, p := range task.Spec.Params {
			if p.Default == nil {
				assert.Contains(t, given, p.Name, run.Name)
			}
			delete(given, p.Name)
		}
		assert.Empty(t, given, "%s: params that the Task does not have", run.Name)
	}
}

type rbacObject struct {
	Kind     string
	Metadata struct{ Namespace string }
	Rules    []struct {
		APIGroups        []string `yaml:"apiGroups"`
		Resources, Verbs []string
	}
}

func TestPermissionsStaySmall(t *testing.T) {
	objects := decode[rbacObject](t, "tekton/rbac.yaml")
	require.Len(t, objects, 8)
	for _, o := range objects {
		assert.Contains(t, []string{"ServiceAccount", "Role", "RoleBinding"}, o.Kind, "nothing cluster-wide")
		assert.NotEmpty(t, o.Metadata.Namespace)
		for _, r := range o.Rules {
			assert.NotEmpty(t, r.APIGroups)
			for _, word := range slices.Concat(r.APIGroups, r.Resources, r.Verbs) {
				assert.NotContains(t, word, "*")
				assert.NotContains(t, word, "secret")
			}
			if o.Metadata.Namespace == "gateway" && !slices.Contains(r.Resources, "pods/portforward") {
				assert.Subset(t, []string{"get", "list"}, r.Verbs, "the gateway's Role only reads")
			}
		}
	}
}

func example(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "testdata/examples", name))
	require.NoError(t, err)
	return text
}

func TestExampleConfigs(t *testing.T) {
	c, err := Parse(example(t, "minimal.yaml"), "minimal.yaml", nil, nil)
	require.NoError(t, err)
	assert.Equal(t, "cart", c.Service)

	env := lookup(map[string]string{"SHOP_TOKEN_1": "t1", "SHOP_SESSION_2": "s2"})
	c, err = Parse(example(t, "gray-upgrade.yaml"), "gray-upgrade.yaml", flags("image", "registry.example.com/shop/cart:1.4.2"), env)
	require.NoError(t, err)
	assert.Len(t, c.Accounts, 2)
	assert.Len(t, c.Checks, 3)
	assert.ElementsMatch(t, []string{"t1", "Bearer t1", "s2"}, c.Secrets())
}

type workflowFile struct {
	Permissions map[string]string
	Concurrency struct {
		Group            string
		CancelInProgress *bool `yaml:"cancel-in-progress"`
	}
	Jobs map[string]struct {
		TimeoutMinutes int `yaml:"timeout-minutes"`
		Steps          []struct {
			Uses string
			With map[string]string
			Env  map[string]string
		}
	}
}

func TestExampleWorkflow(t *testing.T) {
	w := decode[workflowFile](t, "testdata/examples/github-workflow.yml")[0]
	assert.Equal(t, map[string]string{"contents": "read"}, w.Permissions)
	assert.NotEmpty(t, w.Concurrency.Group)
	require.NotNil(t, w.Concurrency.CancelInProgress)
	assert.False(t, *w.Concurrency.CancelInProgress)
	job := w.Jobs["upgrade"]
	assert.Greater(t, time.Duration(job.TimeoutMinutes)*time.Minute, Defaults().Timeout+Defaults().CloseTimeout)
	found := false
	for _, s := range job.Steps {
		if !strings.HasPrefix(s.Uses, "gray-upgrade/") {
			continue
		}
		found = true
		for name := range s.With {
			assert.Contains(t, keyNames(), name)
		}
		for _, k := range Keys {
			if k.Required {
				assert.NotEmpty(t, s.With[k.Name], k.Name)
			}
		}
		set := func(name string) string { return strings.Repeat("x", min(1, len(s.Env[name]))) }
		_, err := Parse(example(t, "gray-upgrade.yaml"), s.With["config"], flags("image", "cart:1"), set)
		assert.NoError(t, err, "the job gives every variable that the config file asks for")
	}
	assert.True(t, found)
}
