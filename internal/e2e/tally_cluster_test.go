package e2e

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// tally counts what was done to upgrades and how they ended. make crash writes it down.
var tally counts

type counts struct {
	mu          sync.Mutex
	rows        map[string]*row
	tried, held int // kill points
}

// row is one kind of disturbance.
type row struct {
	injected int
	ended    map[string]int // upgrades, by how they ended
}

func (c *counts) add(what string, injected int, ended string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rows == nil {
		c.rows = map[string]*row{}
	}
	r := c.rows[what]
	if r == nil {
		r = &row{ended: map[string]int{}}
		c.rows[what] = r
	}
	r.injected += injected
	r.ended[ended]++
}

// killed counts a kill point, and whether it ended as it must.
func (c *counts) killed(held bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tried++
	if held {
		c.held++
	}
}

// table is Markdown.
func (c *counts) table() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	b.WriteString("| what was done | how often | upgrades | how they ended |\n|---|---|---|---|\n")
	for _, what := range slices.Sorted(maps.Keys(c.rows)) {
		r, upgrades := c.rows[what], 0
		var ends []string
		for _, end := range slices.Sorted(maps.Keys(r.ended)) {
			upgrades += r.ended[end]
			ends = append(ends, fmt.Sprintf("%d %s", r.ended[end], end))
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %s |\n", what, r.injected, upgrades, strings.Join(ends, ", "))
	}
	return b.String()
}

// reliability is the file that make crash writes.
const reliability = "../../docs/reliability.md"

const foreword = `# Reliability: what was done to upgrades, and how they ended

The tool runs on a machine that may vanish, against an API server that may fail. ` + "`" + `make crash` + "`" + ` breaks both, on the embedded
cluster with the real gateway, and writes the table below; ` + "`" + `make test` + "`" + ` runs a part of it every time.

- **Killed**: the process gets SIGKILL before a write reaches the API server, after it, or the write is done and its answer is lost.
  Then it is run again, as CI would. After every write of every run an observer looks: no users on a side without a ready pod, no
  gray pod ready before it is verified.
- **API server**: a call is answered with a fault, never answered, answered with what was true some seconds ago, or done and the
  answer lost.

An upgrade ends right when production and the namespace are what an undisturbed run leaves, or as they were before with no
hold on the image (the allow-list: image, production parameters, the Deployment's revision, the Lease).

How to read a row: "how often" counts faults or kills, "upgrades" the upgrades that they were put into. "500, each call once: 193, 8,
6 closed, 2 promoted" is 8 upgrades in which the first call of each kind and path was answered with 500, 193 such answers in
all; 6 of the 8 closed, with no hold. A killed one ended "at once" where the run itself went on to its end, or "by the rerun",
which is "refused" where the image is on hold already.

`

const afterword = `
The decision of a close (` + "`" + `internal/plan/close.go` + "`" + `) is checked in every state that it can meet, with drift after every step, and the
engine is ended at every write in memory; both run within seconds in ` + "`" + `go test ./internal/plan ./internal/upgrade` + "`" + `.
`

// TestMain writes the tally down when all tests of make crash passed, and prints last how many kill points held.
func TestMain(m *testing.M) {
	code := m.Run()
	if os.Getenv("CRASH") == "all" {
		code = max(code, report(code == 0))
	}
	os.Exit(code)
}

func report(passed bool) (code int) {
	points := fmt.Sprintf("Kill points that ended as they must: %d / %d\n", tally.held, tally.tried)
	if passed {
		if err := os.WriteFile(reliability, []byte(foreword+tally.table()+"\n"+points+afterword), 0o600); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	fmt.Print(points)
	return code
}
