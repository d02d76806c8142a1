// Package internal_test holds the architecture: which package may know which.
package internal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/gray-upgrade/gray-upgrade/"

var (
	pure = []string{"internal/judge", "internal/config", "internal/plan", "internal/replay", "internal/drain"}
	edge = []string{
		"internal/ci", "internal/report", "internal/cluster", "internal/gateway", "internal/state", "internal/verify",
		"internal/observe", "internal/forward", "internal/prometheus", "internal/loki",
		"internal/monitor",
	}
	// Tests of every package may use these; forward is how a test gets to a pod.
	forTests = []string{"internal/golden", "internal/clustertest", "internal/forward", "internal/gateway/gatewaytest", "internal/e2e"}
)

// allowed says which packages of ours a package may import. A package that is not here fails the test: put it in a
// layer first.
var allowed = map[string][]string{
	// Pure: numbers and words in, decisions out.
	"internal/judge":  nil,
	"internal/drain":  nil,
	"internal/config": {"internal/judge"},
	"internal/plan":   {"internal/judge", "internal/config"},
	"internal/replay": {"internal/judge"},

	// The engine: runs a plan, knows the edge only by its own interfaces.
	"internal/upgrade": pure,

	// Edge: talks to the world, decides nothing, knows neither the engine nor its neighbours; monitor lies below two.
	"internal/ci":         pure,
	"internal/report":     pure,
	"internal/cluster":    pure,
	"internal/gateway":    pure,
	"internal/state":      pure,
	"internal/verify":     pure,
	"internal/observe":    pure,
	"internal/forward":    pure,
	"internal/monitor":    nil,
	"internal/prometheus": slices.Concat(pure, []string{"internal/monitor"}),
	"internal/loki":       slices.Concat(pure, []string{"internal/monitor"}),
	"cmd/gray-upgrade":    slices.Concat(pure, edge, []string{"internal/upgrade"}),
	"internal/e2e":        slices.Concat(pure, edge, forTests, []string{"internal/upgrade"}), // runs the real tool on the real cluster
	"internal/golden":     nil,
	"internal":            {"internal/config"}, // tests of the repository as a whole

	// For tests only.
	"internal/clustertest":         nil,
	"internal/gateway/gatewaytest": slices.Concat(pure, forTests, []string{"internal/gateway"}),
}

// Foreign packages that ours may not import, and why. A path that ends in /... means all beneath it too.
var forbidden = []struct {
	what string
	to   []string
	why  string
}{
	{"k8s.io/...", pure, "pure packages know no cluster"},
	{"sigs.k8s.io/...", pure, "pure packages know no cluster"},
	{"net", pure, "pure packages do no I/O"}, // net/url and net/netip are only text
	{"net/http/...", pure, "pure packages do no I/O"},
	{"os/...", pure, "pure packages do no I/O"},
	{"log/slog", pure, "pure packages return what they have to say"},
	{"context", pure, "pure packages never wait"},
	{"math/rand/...", pure, "the same input gives the same answer"},
	{"crypto/rand", pure, "the same input gives the same answer"},
	{"k8s.io/...", []string{"internal/upgrade", "internal/report", "internal/ci"}, "these know no cluster"},
	{"sigs.k8s.io/...", []string{"internal/upgrade", "internal/report", "internal/ci"}, "these know no cluster"},
	{"net/http/...", []string{"internal/upgrade", "internal/report"}, "the engine and the report do no I/O"},
	{"os/...", []string{"internal/upgrade", "internal/report"}, "the engine and the report do no I/O"},
	{"testing", slices.Concat(pure, edge, []string{"internal/upgrade", "cmd/gray-upgrade"}), "what is shipped holds no tests"},
}

// goPackage is what is used of the output of go list.
type goPackage struct {
	ImportPath, Dir                    string
	GoFiles                            []string
	Imports, TestImports, XTestImports []string
}

// packages lists what the module holds, by path within it.
func packages(t *testing.T) map[string]goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,GoFiles,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = ".."
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	require.NoError(t, err, errs.String())
	found := map[string]goPackage{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		found[strings.TrimPrefix(p.ImportPath, module)] = p
	}
	require.NotEmpty(t, found)
	return found
}

func TestImports(t *testing.T) {
	for name, p := range packages(t) {
		list, known := allowed[name]
		if !known {
			t.Errorf("%s is in no layer: put it into internal/arch_test.go", name)
			continue
		}
		inTests := slices.Concat(list, forTests, []string{name})
		for _, wrong := range slices.Concat(
			offending(name, p.Imports, list),
			offending(name, slices.Concat(p.TestImports, p.XTestImports), inTests),
		) {
			t.Error(wrong)
		}
	}
}

// offending returns one line for each import of ours that is not in the list.
func offending(name string, imports, list []string) (lines []string) {
	for _, i := range imports {
		if own, ours := strings.CutPrefix(i, module); ours && !slices.Contains(list, own) {
			lines = append(lines, fmt.Sprintf("%s -> %s: not among what it may import: %s", name, own, strings.Join(list, ", ")))
		}
	}
	return lines
}

func TestForbiddenImports(t *testing.T) {
	found := packages(t)
	for _, rule := range forbidden {
		for _, name := range rule.to {
			for _, i := range found[name].Imports {
				if matches(rule.what, i) {
					t.Errorf("%s -> %s: %s", name, i, rule.why)
				}
			}
		}
	}
}

func matches(rule, path string) bool {
	root, beneath := strings.CutSuffix(rule, "/...")
	return path == root || beneath && strings.HasPrefix(path, root+"/")
}

// clocks are the functions of package time that read the clock or wait for it.
var clocks = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

func TestPurePackagesReadNoClock(t *testing.T) {
	found := packages(t)
	for _, name := range pure {
		for _, file := range found[name].GoFiles {
			path := filepath.Join(found[name].Dir, file)
			files := token.NewFileSet()
			tree, err := parser.ParseFile(files, path, nil, 0)
			require.NoError(t, err)
			ast.Inspect(tree, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clocks, s.Sel.Name) {
						t.Errorf("%s: time.%s: pure packages are told what time it is", files.Position(s.Pos()), s.Sel.Name)
					}
				}
				return true
			})
		}
	}
}

// The rules themselves: an import that breaks one is found and named.
func TestOffendingNamesThePath(t *testing.T) {
	assert.Equal(t, []string{"internal/plan -> internal/upgrade: not among what it may import: internal/judge"},
		offending("internal/plan", []string{"fmt", module + "internal/judge", module + "internal/upgrade"}, []string{"internal/judge"}))
	assert.Empty(t, offending("internal/plan", []string{"k8s.io/api"}, nil))
}

func TestMatches(t *testing.T) {
	assert.True(t, matches("net", "net"))
	assert.False(t, matches("net", "net/url"))
	assert.True(t, matches("os/...", "os/exec"))
	assert.True(t, matches("os/...", "os"))
	assert.False(t, matches("os/...", "oss"))
}
