// Corpus records upgrades on the embedded cluster: for each kind of fault, and for what looks like one, the evidence that the
// tool wrote while a real gateway served the shop. Its test replays them. make corpus runs it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/tools/clientcmd"
)

// run is one recorded upgrade. Its evidence is beside the index: see file.
type run struct {
	Name    string    `json:"name"`
	Blame   bool      `json:"blame"`             // the image has a fault, and must be blamed
	Faulty  time.Time `json:"faulty,omitzero"`   // when it began
	Outcome string    `json:"outcome,omitempty"` // what the tool said
}

// index is the file that lists the runs.
const index = "runs.json"

func main() {
	folder := flag.String("folder", "testdata/corpus", "where the runs are written")
	only := flag.String("only", "", "regular expression: record kinds whose name it matches; the other runs stay")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := record(ctx, *folder, *only)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "corpus:", err)
		os.Exit(1)
	}
}

// record records the kinds, three at a time, and writes the index.
func record(ctx context.Context, folder, only string) error {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	if !slices.ContainsFunc(kinds(), func(k kind) bool { return wanted.MatchString(k.name) }) {
		return fmt.Errorf("-only: no kind's name matches %s", only)
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return err
	}
	cfg.QPS, cfg.Burst = 100, 200
	runs, err := readIndex(folder)
	if err != nil {
		return err
	}
	s := shelf{folder: folder, runs: slices.DeleteFunc(runs, func(r run) bool { return !known(r.Name) })}
	var tasks sync.WaitGroup
	free := make(chan struct{}, 3)
	for _, k := range kinds() {
		if !wanted.MatchString(k.name) {
			continue
		}
		free <- struct{}{}
		tasks.Go(func() {
			defer func() { <-free }()
			s.put(k.record(ctx, cfg))
		})
	}
	tasks.Wait()
	return errors.Join(s.fails...)
}

// shelf is the folder of recorded runs: evidence and index change together.
type shelf struct {
	folder string

	mu    sync.Mutex
	runs  []run
	fails []error
}

// put keeps a run in the place of the one that had its name.
func (s *shelf) put(r run, evidence string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		err = keep(file(s.folder, r.Name), evidence)
	}
	if err != nil {
		s.fails = append(s.fails, fmt.Errorf("%s: %w", r.Name, err))
		return
	}
	fmt.Printf("%-40s %s\n", r.Name, r.Outcome)
	s.runs = append(slices.DeleteFunc(s.runs, func(o run) bool { return o.Name == r.Name }), r)
	if err := writeIndex(s.folder, s.runs); err != nil {
		s.fails = append(s.fails, err)
	}
}

func known(name string) bool {
	return slices.ContainsFunc(kinds(), func(k kind) bool { return k.name == name })
}

func readIndex(folder string) ([]run, error) {
	text, err := os.ReadFile(filepath.Join(folder, index))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var runs []run
	return runs, json.Unmarshal(text, &runs)
}

func writeIndex(folder string, runs []run) error {
	slices.SortFunc(runs, func(a, b run) int { return strings.Compare(a.Name, b.Name) })
	text, err := json.MarshalIndent(runs, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, index), append(text, '\n'), 0o600)
}

// file is where the evidence of a run is.
func file(folder, name string) string {
	return filepath.Join(folder, slug(name)+".jsonl.gz")
}

// slug is a name as files and namespaces may have it.
func slug(name string) string { return strings.ToLower(strings.ReplaceAll(name, " ", "-")) }
