package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/ci"
	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
	"github.com/gray-upgrade/gray-upgrade/internal/report"
	"github.com/gray-upgrade/gray-upgrade/internal/state"
)

// Names of what a GitHub job keeps for its post step.
const (
	stateID   = "upgrade-id"
	stateDone = "done"
)

// upgradeCommand runs the whole upgrade, or with dry-run only plans it.
func upgradeCommand(ctx context.Context, args []string, w world) int {
	s, code := begin("run", args, w, nil, config.Parse)
	if s == nil {
		return code
	}
	if s.config.DryRun {
		return s.plan(ctx)
	}
	return s.act(ctx, (*app).Run)
}

// act lets the engine do one whole job, and tells how it ended. The post step knows of it meanwhile.
func (s *session) act(ctx context.Context, do func(*app, context.Context) plan.Story) int {
	a, err := wire(ctx, s.config, s.host, s.log)
	if err != nil {
		return s.refuse(err)
	}
	defer a.Close()
	if err := s.host.State(stateID, a.UpgradeID); err != nil {
		s.log.Warn("the post step will not know of this upgrade", "error", err)
	}
	story := do(a, ctx)
	story.Warnings = append(story.Warnings, told(a.failed.Load())...)
	s.finish(story)
	if story.Outcome != plan.Stuck {
		_ = s.host.State(stateDone, "true")
	}
	return exitCode(story.Outcome)
}

// planCommand checks everything and prints the plan.
func planCommand(ctx context.Context, args []string, w world) int {
	s, code := begin("plan", args, w, nil, config.Parse)
	if s == nil {
		return code
	}
	return s.plan(ctx)
}

func (s *session) plan(ctx context.Context) int {
	s.config.DryRun, s.looks = true, true
	a, err := wire(ctx, s.config, s.host, s.log)
	if err != nil {
		return s.refuse(err)
	}
	defer a.Close()
	record, holder, err := a.lease.Load(ctx)
	if err != nil {
		return s.refuse(err)
	}
	if holder != nil {
		s.host.Warn(fmt.Sprintf("run %s upgrades this service now: until it ends another one is refused", holder))
	}
	story := a.Plan(ctx, record, holder != nil)
	if story.Failure != nil {
		s.warn(story.Warnings) // a rule that is missing may be among them
	}
	if story.Outcome != plan.Planned {
		s.finish(story)
		return exitCode(story.Outcome)
	}
	s.host.Print(fmt.Sprintf("plan: Deployment %s/%s from %s to %s, at most %d pods, at least %s\n\n%s", story.Target.Namespace, story.Target.Deployment,
		story.From, story.To, story.PeakPods, story.Plan.Least(), story.Plan))
	if story.Foresight != "" {
		s.host.Print(story.Foresight + "\n")
	}
	s.warn(story.Warnings)
	story.UpgradeID = "" // nothing in the cluster carries it
	s.outputs(story, "")
	return exitDone
}

func (s *session) warn(texts []string) {
	for _, text := range texts {
		s.host.Warn(text)
	}
}

// closeCommand brings users home from whatever an earlier run left.
func closeCommand(ctx context.Context, args []string, w world) int {
	s, code := begin("close", args, w, nil, parseTarget)
	if s == nil {
		return code
	}
	return s.close(ctx)
}

// afterwards is GitHub's post step. It gets main's arguments and always runs, so it acts only where main's upgrade is
// unfinished.
func afterwards(ctx context.Context, w world) int {
	host := ci.Detect(w.Getenv, w.Stdout, w.Stderr)
	if host.SavedState(stateID) == "" || host.SavedState(stateDone) == "true" {
		fmt.Fprintln(w.Stdout, "nothing to close: no upgrade of this job is unfinished")
		return exitDone
	}
	s := newSession(w)
	s.after = true
	if code, over := s.begin("close", nil, nil, parseLeft); over {
		return code
	}
	return s.close(ctx)
}

// parseLeft reads what the post step needs. The config file may be gone with the workspace by now: what the inputs say is
// enough to close.
func parseLeft(file []byte, name string, inputs []config.Input, getenv func(string) string) (config.Config, error) {
	c, err := parseTarget(file, name, inputs, getenv)
	if err == nil {
		return c, nil
	}
	inputs = slices.DeleteFunc(slices.Clone(inputs), func(in config.Input) bool { return in.Key == "config" })
	if c, without := parseTarget(nil, "", inputs, getenv); without == nil {
		return c, nil
	}
	return c, err
}

func (s *session) close(ctx context.Context) int {
	a, err := wire(ctx, s.config, s.host, s.log)
	if err != nil {
		return s.notClosed(err)
	}
	defer a.Close()
	story := a.Upgrade.Close(ctx, s.takesOver(ctx, a.lease))
	s.finish(story)
	if story.Failure == nil {
		return exitDone
	}
	return exitCode(story.Outcome)
}

// takesOver says whether this close takes the Lease from a run that may live. Who holds it is read a moment before it is
// taken: another run could only have got it in between if the one that was read has just ended in order. The post step also
// runs after a main that was killed while it waited for another job's upgrade: that one is not its business while it lives.
func (s *session) takesOver(ctx context.Context, lease *state.Lease) bool {
	_, holder, err := lease.Load(ctx)
	if err != nil || holder == nil {
		return !s.after && s.host.TakesOver("")
	}
	if s.after && holder.Run != s.host.Identity().Run && !strings.HasPrefix(holder.Run, ci.WatchdogRun) {
		return false
	}
	return s.host.TakesOver(holder.Run)
}

// notClosed tells of a close that could not even look at what is there. Unless the command itself is wrong, nobody knows
// where users are: a person must act. The post step's command is never wrong: it is that of an upgrade that was begun.
func (s *session) notClosed(err error) int {
	f := s.failure(err)
	if cl, unknown := connect(s.config, s.log); unknown == nil {
		s.config.Namespace = cl.namespace
	}
	again := plan.Target{Namespace: s.config.Namespace, Service: cmp.Or(s.config.Service, "SERVICE"), Flags: s.config.Reach}
	f.Next = strings.TrimSuffix(f.Next, ", then rerun") + ", then run: " + again.Command("close")
	if f.Fault == plan.FaultInput && !s.after && !denied(err) {
		return s.end(f, plan.Invalid)
	}
	f.Done = "nothing was changed; gray may still have users"
	return s.end(f, plan.Stuck)
}

// statusCommand prints what is under way, what is held and how earlier runs ended.
func statusCommand(ctx context.Context, args []string, w world) int {
	s, code := begin("status", args, w, nil, parseTarget)
	if s == nil {
		return code
	}
	a, err := wire(ctx, s.config, s.host, s.log)
	if err != nil {
		return s.unseen(err)
	}
	defer a.Close()
	record, holder, err := a.lease.Load(ctx)
	if err != nil {
		return s.unseen(err)
	}
	o, err := a.cluster.Observe(ctx)
	if err != nil {
		return s.unseen(err)
	}
	o.Weight, err = a.Gateway.Weight(ctx)
	if err != nil {
		return s.unseen(err)
	}
	var text strings.Builder
	writeStatus(&text, a.Target, record, holder, o)
	s.host.Print(text.String())
	return exitDone
}

func writeStatus(w io.Writer, t plan.Target, r plan.Record, h *state.Holder, o plan.Observed) {
	fmt.Fprintf(w, "production  %s, %d of %d pods ready\n", o.Production.Image, o.Production.Ready, o.Production.Replicas)
	if o.Gray.Exists {
		fmt.Fprintf(w, "gray        %s, %d of %d pods ready, weight %d\n", o.Gray.Image, o.Gray.Ready, o.Gray.Replicas, o.Weight)
	} else {
		fmt.Fprintf(w, "gray        none, weight %d\n", o.Weight)
	}
	switch {
	case h != nil:
		fmt.Fprintf(w, "running     %s, step: %s\n", h, r.Step)
	case r.Open:
		fmt.Fprintf(w, "unfinished  run %s, step: %s\n", state.Holder{Identity: r.Identity}, r.Step)
		fmt.Fprintf(w, "            next: %s\n", t.Command("close"))
	default:
		fmt.Fprintln(w, "running     nothing")
	}
	for _, hold := range r.Holds {
		fmt.Fprintf(w, "on hold     %s %s since %s: %s\n", hold.Image, hold.Digest, hold.At.UTC().Format(time.RFC3339), hold.Why)
		fmt.Fprintf(w, "            next: %s\n", plan.OfflineTest(t, hold.Digest))
	}
	for _, e := range slices.Backward(r.History) { // the last one is what people ask for
		fmt.Fprintf(w, "ended       %s %s %s %s %s\n", e.At.UTC().Format(time.RFC3339), e.Outcome, e.Image, e.Digest, e.Reason)
	}
}

// session is one command: its config, its CI host and its log.
type session struct {
	config config.Config
	host   *ci.Host
	log    *slog.Logger
	world  world
	after  bool // the post step of the job that left work behind
	looks  bool // the command moves no user: where it cannot do its work, nothing is closed
}

// begin is session.begin of a new session; nil where the command is over, with this exit code.
func begin(command string, args []string, w world, own map[string]*string, parse parser) (*session, int) {
	s := newSession(w)
	if code, over := s.begin(command, args, own, parse); over {
		return nil, code
	}
	return s, exitDone
}

// parser makes a config of the file and the inputs.
type parser func(file []byte, name string, inputs []config.Input, getenv func(string) string) (config.Config, error)

// begin reads the inputs of a command and tells all their faults at once. The command is over where help was asked for, or
// something is wrong.
func (s *session) begin(command string, args []string, own map[string]*string, parse parser) (code int, over bool) {
	w := s.world
	read := readFlags(args, pageOf(command), own)
	if read.help {
		fmt.Fprint(w.Stdout, commandHelp(command))
		return exitDone, true
	}
	inputs := append(s.host.Inputs(config.Keys), read.inputs...)
	file, name := readConfig(w, inputs)
	c, err := parse(file, name, inputs, w.Getenv)
	if err = read.wrong(err); err != nil {
		return s.refuse(plan.Failf(plan.FaultInput, "", "%w", err)), true
	}
	s.config = c
	s.config.Reach = reach(s.host, read.inputs, c)
	for _, secret := range c.Secrets() {
		s.host.Mask(secret)
	}
	for _, text := range misspelt(w.Environ()) {
		s.host.Warn(text)
	}
	return exitDone, false
}

// reach are the flags by which a command that is offered finds the same cluster: the context, and the kubeconfig that somebody
// gave on the command line of a terminal. The path of a CI job means nothing to who copies its command.
func reach(host *ci.Host, given []config.Input, c config.Config) string {
	flags := ""
	byFlag := func(in config.Input) bool { return in.Key == "kubeconfig" }
	if c.Kubeconfig != "" && host.Name == "terminal" && slices.ContainsFunc(given, byFlag) {
		flags += " --kubeconfig " + plan.Quoted(c.Kubeconfig)
	}
	if c.Context != "" {
		flags += " --context " + plan.Quoted(c.Context)
	}
	return flags
}

func newSession(w world) *session {
	host := ci.Detect(w.Getenv, w.Stdout, w.Stderr)
	return &session{host: host, world: w, log: slog.New(slog.NewTextHandler(host.Log(w.Stderr), nil))}
}

// parseTarget reads what a command needs that only looks or closes. It keeps no evidence: that in the folder is the run's
// whose work it may bring home.
func parseTarget(file []byte, name string, inputs []config.Input, _ func(string) string) (config.Config, error) {
	c, err := config.ParseTarget(file, name, inputs)
	c.Evidence = ""
	return c, err
}

// usage tells of a command line without a command that could read its inputs.
func usage(w world, format string, args ...any) int {
	return newSession(w).refuse(plan.Failf(plan.FaultInput, "", format, args...))
}

// noCommand says which commands there are.
func noCommand(name string, w world) int {
	near := config.Nearest(name, commands())
	if near != "" {
		near = ", did you mean " + near + "?"
	}
	return usage(w, "there is no command %q%s; allowed: %s", shown(name), near, strings.Join(commands(), ", "))
}

// readConfig reads the config file. Why it cannot be read is noted with the input that names it.
func readConfig(w world, inputs []config.Input) (file []byte, name string) {
	if name = config.FileName(inputs); name == "" {
		return nil, ""
	}
	file, err := w.ReadFile(name)
	if err == nil {
		return file, name
	}
	var about *fs.PathError
	if errors.As(err, &about) {
		err = about.Err // the input is named already
	}
	for i, in := range slices.Backward(inputs) { // the strongest comes last
		if in.Key == "config" && strings.TrimSpace(in.Value) == name {
			inputs[i].Unread = err
			break
		}
	}
	return nil, name
}

// refuse tells of an error that ended the command before the engine began, and returns the exit code.
func (s *session) refuse(err error) int {
	if s.after {
		return s.notClosed(err)
	}
	f := s.failure(err)
	outcome := unbegun(f.Fault)
	if s.looks && outcome == plan.Closed {
		outcome = plan.Undecided
	}
	return s.end(f, outcome)
}

// unseen is refuse for a command that only looks: it has no outcome, and its job's summary is another command's.
func (s *session) unseen(err error) int {
	f := s.failure(err)
	s.host.Fail(f)
	return exitCode(unbegun(f.Fault))
}

// unbegun is the outcome of what ended before the engine began.
func unbegun(f plan.Fault) plan.Outcome {
	switch f {
	case plan.FaultInput:
		return plan.Invalid
	case plan.FaultRefused:
		return plan.Refused
	case plan.FaultInterrupted:
		return plan.Interrupted
	case plan.FaultImage, plan.FaultInfrastructure, plan.FaultEvidence:
	}
	return plan.Closed
}

// failure makes the four lines of an error from before the engine began.
func (s *session) failure(err error) *plan.Failure {
	f := &plan.Failure{Fault: plan.FaultInfrastructure, What: err.Error(), Done: "nothing was changed", Err: err}
	var own *plan.Failure
	switch {
	case errors.As(err, &own):
		f.Fault, f.Where, f.Next = own.Fault, own.Where, own.Next
	case denied(err):
		f.Fault, f.Next = plan.FaultInput, "give the job the Role of tekton/rbac.yaml, then rerun"
	case errors.Is(err, context.Canceled):
		f.Fault, f.What = plan.FaultInterrupted, "the job was cancelled"
	}
	hide := s.config.Hider().Replace
	f.What, f.Where, f.Next = hide(f.What), hide(f.Where), hide(f.Next)
	switch {
	case f.Next != "":
	case f.Fault == plan.FaultInput:
		f.Next = "correct what is named above, then rerun"
	case f.Fault == plan.FaultInterrupted:
		f.Next = "rerun when you are ready"
	default:
		f.Next = "repair what is named above, then rerun"
	}
	return f
}

func (s *session) end(f *plan.Failure, outcome plan.Outcome) int {
	now := time.Now().UTC()
	s.finish(plan.Story{
		Identity: s.host.Identity(), Target: plan.Target{Namespace: s.config.Namespace, Service: s.config.Service},
		To: s.config.Image, Begin: now, End: now, Outcome: outcome, Failure: f,
	})
	return exitCode(outcome)
}

// maxReason is the most bytes of the output reason: what Tekton has room for.
const maxReason = 300

// finish tells the CI host how it ended: summary, outputs, and for a failure its four lines.
func (s *session) finish(story plan.Story) {
	if err := s.host.Summary(report.Markdown(story)); err != nil {
		s.log.Warn("write the summary", "error", err)
	}
	reason := ""
	if story.Failure != nil {
		s.host.Fail(story.Failure)
		reason = reasonOf(story.Failure)
	} else {
		s.host.Print(report.Text(story))
	}
	s.outputs(story, reason)
}

// another begins a fault after another one; lines that belong to one are indented.
var another = regexp.MustCompile(`\n(\S)`)

// reasonOf is a failure in one line.
func reasonOf(f *plan.Failure) string {
	return ci.Line(string(f.Fault)+": "+another.ReplaceAllString(f.What, "; $1"), maxReason)
}

// outputs are what later steps of the job read. An image is there to be committed: one that production does not run is none.
func (s *session) outputs(story plan.Story, reason string) {
	last, image := "", ""
	if s.host.Name == "terminal" {
		reason = "" // it was just told in full
	}
	if n := len(story.Entries); n > 0 {
		last = story.Entries[n-1].Step.String()
	}
	if story.Outcome == plan.Promoted || story.Outcome == plan.Unchanged {
		image = story.To
	}
	for _, o := range [][2]string{
		{"outcome", string(story.Outcome)}, {"reason", reason}, {"last-step", last},
		{"upgrade-id", story.UpgradeID}, {"image", image}, {"evidence", story.Evidence},
	} {
		if err := s.host.Output(o[0], o[1]); err != nil {
			s.log.Warn("write an output", "output", o[0], "error", err)
		}
	}
}

// progress rewrites the summary after every step, so that a killed job leaves the last one.
type progress struct {
	host   *ci.Host
	folder string
	log    *slog.Logger
}

// Update is told the whole story so far.
func (p progress) Update(s plan.Story) {
	if err := p.host.Summary(report.Markdown(s)); err != nil {
		p.log.Warn("write the summary", "error", err)
	}
	if s.Outcome == "" || p.folder == "" {
		return
	}
	if _, err := os.Stat(p.folder); err == nil {
		writeReport(p.folder, s, p.log)
	}
}
