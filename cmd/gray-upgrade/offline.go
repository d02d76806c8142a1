package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/ci"
	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
	"github.com/gray-upgrade/gray-upgrade/internal/state"
)

// offlineTestCommand tests a held image offline, or records that somebody did.
func offlineTestCommand(ctx context.Context, args []string, w world) int {
	switch {
	case len(args) > 0 && (args[0] == "-h" || args[0] == "--help"):
		return helpCommand([]string{"offline-test"}, w)
	case len(args) > 0 && args[0] == "run":
		return offlineTestRun(ctx, args[1:], w)
	case len(args) > 0 && args[0] == "pass":
		return offlineTestPass(ctx, args[1:], w)
	}
	return usage(w, "offline-test needs a word; allowed: run, pass")
}

// offlineTestRun takes the inputs of an upgrade; those about its traffic do not matter.
func offlineTestRun(ctx context.Context, args []string, w world) int {
	s, code := begin("offline-test run", args, w, nil, config.Parse)
	if s == nil {
		return code
	}
	if s.config.DryRun {
		return s.refuse(plan.Failf(plan.FaultInput, "", "dry-run: offline-test run has none; gray-upgrade plan checks the same inputs and changes nothing"))
	}
	s.config.Watchdog, s.config.StepDuration, s.config.Limits.MinRequests, s.config.PrometheusURL, s.config.LokiURL = config.GuardOff, 0, 0, "", ""
	return s.act(ctx, (*app).testOffline)
}

// offlineTestPass records that a held image passed its offline test.
func offlineTestPass(ctx context.Context, args []string, w world) int {
	var p plan.Pass
	s, code := begin("offline-test pass", args, w, map[string]*string{"digest": &p.Digest, "by": &p.By, "why": &p.Why}, func(file []byte, name string, inputs []config.Input, getenv func(string) string) (config.Config, error) {
		c, err := parseTarget(file, name, inputs, getenv)
		return c, errors.Join(checkPass(p), err)
	})
	if s == nil {
		return code
	}
	s.looks = true
	cl, err := connect(s.config, s.log)
	if err != nil {
		return s.refuse(err)
	}
	p.At = time.Now().UTC()
	lease := cl.lease(s.config.Service, s.host.Identity(), s.log)
	if err := recordPass(ctx, lease, p); err != nil {
		return s.refuse(explained(cl, err))
	}
	s.host.Print(fmt.Sprintf("recorded: %s passed its offline test (%s: %s); a rerun may try it again", p.Digest, p.By, p.Why))
	return exitDone
}

var digest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

func checkPass(p plan.Pass) error {
	var faults []error
	wrong := func(flag, value, problem, allowed string) {
		if value == "" {
			problem = "is not given"
		}
		faults = append(faults, &config.Fault{Key: "flag --" + flag, Value: shown(value), Problem: problem, Allowed: allowed})
	}
	if !digest.MatchString(p.Digest) {
		wrong("digest", p.Digest, "is not a digest", "sha256: and 64 hex digits, as the notice of the failed run gives it")
	}
	for _, said := range []struct{ flag, text, allowed string }{{"by", p.By, "who tested the image"}, {"why", p.Why, "what was tested, or where the result is"}} {
		if ci.Line(said.text, maxSaid) != said.text || said.text == "" {
			wrong(said.flag, said.text, "is too long, or not one line", said.allowed+fmt.Sprintf(", one line of at most %d bytes", maxSaid))
		}
	}
	return errors.Join(faults...)
}

// maxSaid is the most bytes of what is recorded of an offline test: the record has room for many.
const maxSaid = 300

func recordPass(ctx context.Context, lease *state.Lease, p plan.Pass) error {
	if err := finished(ctx, lease); err != nil {
		return err
	}
	held, record, err := lease.Acquire(ctx, false)
	if err != nil {
		return err
	}
	defer func() { _ = lease.Release(context.WithoutCancel(ctx)) }()
	known := false
	for _, h := range record.Holds {
		known = known || h.Digest == p.Digest
	}
	if !known {
		return plan.Failf(plan.FaultInput, "", "digest %s is not on hold; %s lists what is", p.Digest, lease.Command("status"))
	}
	record.AddPass(p)
	return lease.Save(held, record)
}

// testOffline is an upgrade that stops before the first user: nobody needs a watchdog, and nothing is judged by requests.
func (a *app) testOffline(ctx context.Context) plan.Story {
	ready := a.Preflight
	a.Preflight = func(ctx context.Context) (warnings []string, guarded bool, err error) {
		warnings, guarded, err = ready(ctx)
		return warnings, guarded, errors.Join(err, a.cluster.TestJobMissing(ctx))
	}
	return a.OfflineTest(ctx)
}
