package e2e

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

// DemoOptions are how the demo goes.
type DemoOptions struct {
	Namespace   string
	NameVersion bool // the shop names its version in its answers
	Rate        int  // requests a second
	Requests    int  // at least so many are sent
	Folder      string
}

// DemoReport is what the demo measured.
type DemoReport struct {
	Load         Summary
	GoodCode     int           // exit code of the upgrade to the good version
	GoodTook     time.Duration // start to end
	BadCode      int
	BadAnswers   int           // 5xx answers of the bad version that users got
	Close        time.Duration // first bad answer to the last answer of the bad version that a user got
	ImageAfter   string
	Differences  []string // of the namespace before and after both upgrades, but for the promoted image
	GoodOutput   string
	BadOutput    string
	GoodSummary  string
	BadSummary   string
	LostExamples []Answer
}

// badness is the fault of the bad version: 30 % of its answers are errors.
const badness = `{"errorShare":0.3,"onlyVersion":"v3"}`

// Demo runs the demo: under one load, a good version is promoted, and a bad one, whose errors begin in the middle of a
// step, is thrown out. The shop's pods end at once on SIGTERM.
func Demo(ctx context.Context, cfg *rest.Config, out io.Writer, o DemoOptions) (r DemoReport, err error) {
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	say("a shop of 4 pods behind the gateway, version v1; pods end at once on SIGTERM")
	s, err := NewShop(ctx, cfg, o.Namespace, Options{Replicas: 4, Cart: true, Args: []string{fmt.Sprintf("--name-version=%t", o.NameVersion)}})
	if err != nil {
		return r, err
	}
	say("load: %d requests/s, open loop, every fourth a POST, none sent twice", o.Rate)
	load, err := s.StartLoad(o.Folder, o.Rate)
	if err != nil {
		return r, err
	}
	begin := time.Now()
	if err := s.good(ctx, &r, o, say); err != nil {
		return r, err
	}
	badFrom, err := s.bad(ctx, &r, o, say)
	if err != nil {
		return r, err
	}
	rest := time.Duration(o.Requests)*time.Second/time.Duration(o.Rate) - time.Since(begin) + time.Second
	if rest > 0 {
		time.Sleep(rest)
	}
	var answers []Answer
	if r.Load, answers, err = load.Stop(); err != nil {
		return r, err
	}
	r.judge(answers, badFrom)
	r.ImageAfter, err = s.Image(ctx)
	return r, err
}

func (s *Shop) good(ctx context.Context, r *DemoReport, o DemoOptions, say func(string, ...any)) error {
	before, err := s.Snapshot(ctx)
	if err != nil {
		return err
	}
	begin := time.Now()
	say("upgrade to v2, a good version")
	folder := filepath.Join(o.Folder, "good")
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return err
	}
	tool, err := s.StartTool(ctx, folder, "run", "--image="+Repository+":v2", "--step-duration=5s", "--gray-args=--mode=gray")
	if err != nil {
		return err
	}
	tool.Steps(func(step string) { say("  %s", step) })
	r.GoodCode, err = tool.Wait()
	r.GoodOutput = tool.Output()
	r.GoodTook = time.Since(begin)
	r.GoodSummary = filepath.Join(folder, "summary.md")
	say("  exit code %d after %.0f s", r.GoodCode, r.GoodTook.Seconds())
	if err != nil {
		return err
	}
	return s.leftBehind(ctx, r, before)
}

// leftBehind notes what differs from before, but for the image that was promoted.
func (s *Shop) leftBehind(ctx context.Context, r *DemoReport, before map[string]string) error {
	after, err := s.Snapshot(ctx)
	for _, line := range Diff(before, after) {
		if !strings.HasPrefix(line, "deployments/web:") || !strings.Contains(line, `"image":`) {
			r.Differences = append(r.Differences, line)
		}
	}
	return err
}

// bad upgrades to the bad version and switches its errors on 2 s into the step at weight 20. It returns that moment.
func (s *Shop) bad(ctx context.Context, r *DemoReport, o DemoOptions, say func(string, ...any)) (time.Time, error) {
	before, err := s.Snapshot(ctx)
	if err != nil {
		return time.Time{}, err
	}
	say("upgrade to v3, a version that will answer 30 %% of its requests with an error")
	folder := filepath.Join(o.Folder, "bad")
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return time.Time{}, err
	}
	tool, err := s.StartTool(ctx, folder, "run", "--image="+Repository+":v3", "--step-duration=5s", "--gray-args=--mode=gray")
	if err != nil {
		return time.Time{}, err
	}
	var telling sync.WaitGroup
	telling.Go(func() { tool.Steps(func(step string) { say("  %s", step) }) })
	defer telling.Wait()
	if !tool.WaitFor("watch gray at weight 20", 2*time.Minute) {
		return time.Time{}, fmt.Errorf("the upgrade to v3 did not get to weight 20:\n%s", tool.Output())
	}
	time.Sleep(2 * time.Second)
	say("  ... its errors begin")
	from := time.Now()
	if err := s.Fault(ctx, GraySelector, 0, badness); err != nil {
		return from, err
	}
	r.BadCode, err = tool.Wait()
	telling.Wait()
	r.BadOutput, r.BadSummary = tool.Output(), filepath.Join(folder, "summary.md")
	if err != nil {
		return from, err
	}
	say("  exit code %d, and the job says:", r.BadCode)
	for line := range strings.Lines(notice(r.BadOutput)) {
		say("    %s", strings.TrimRight(line, "\n"))
	}
	after, err := s.Snapshot(ctx)
	r.Differences = append(r.Differences, Diff(before, after)...)
	return from, err
}

// notice is the last error that the tool printed as an order for GitHub's runner, as people see it there.
func notice(output string) string {
	_, last, _ := strings.Cut(output[max(0, strings.LastIndex(output, "::error ")):], "::error ")
	line, _, _ := strings.Cut(last, "\n")
	_, text, _ := strings.Cut(line, "::")
	return strings.NewReplacer("%0A", "\n", "%0D", "", "%25", "%").Replace(text)
}

// judge counts what users met.
func (r *DemoReport) judge(answers []Answer, badFrom time.Time) {
	isBad := func(a Answer) bool {
		return a.At().After(badFrom) && (a.Side == "gray" || a.Version == "v3")
	}
	for _, a := range answers {
		if a.Bad() && isBad(a) {
			r.BadAnswers++
		}
		if a.Lost && len(r.LostExamples) < 10 {
			r.LostExamples = append(r.LostExamples, a)
		}
	}
	r.Close, _ = LastAfterFirstBad(answers, isBad)
}

// Print shows the report, and returns whether every bar is met: nothing lost, the good version promoted, the bad one
// thrown out within 5 s, nothing left behind.
func (r *DemoReport) Print(out io.Writer, o DemoOptions) bool {
	all := true
	row := func(ok bool, what, got, want string) {
		mark := "ok  "
		if !ok {
			mark, all = "FAIL", false
		}
		fmt.Fprintf(out, "  %s  %-44s %-22s %s\n", mark, what, got, want)
	}
	fmt.Fprintf(out, "\n        %-44s %-22s %s\n", "measured", "got", "bar")
	row(r.Load.Requests >= o.Requests, "requests sent", fmt.Sprintf("%d (%d POST)", r.Load.Requests, r.Load.Posts), fmt.Sprintf(">= %d", o.Requests))
	row(r.Load.Lost == 0, "requests lost", fmt.Sprint(r.Load.Lost), "0")
	row(r.GoodCode == 0, "good version: exit code", fmt.Sprint(r.GoodCode), "0, promoted")
	row(r.BadCode == 1, "bad version: exit code", fmt.Sprint(r.BadCode), "1, thrown out")
	row(r.BadAnswers > 0 && r.Close <= 5*time.Second, "bad version: first bad to last answer", fmt.Sprintf("%.2f s, %d bad", r.Close.Seconds(), r.BadAnswers), "<= 5 s")
	row(len(r.Differences) == 0, "left behind by either version", fmt.Sprint(len(r.Differences)), "0 differences")
	fmt.Fprintf(out, "        %-44s %.1f / %.1f ms\n", "latency of all requests, p50 / p99", r.Load.P50, r.Load.P99)
	fmt.Fprintf(out, "        %-44s %s\n", "production now runs", r.ImageAfter)
	for _, d := range r.Differences {
		fmt.Fprintln(out, "        left behind:", d)
	}
	for _, a := range r.LostExamples {
		fmt.Fprintf(out, "        lost: %s %s %s %d %s\n", a.At().UTC().Format("15:04:05.000"), a.Method, a.Why, a.Code, a.Error)
	}
	return all
}
