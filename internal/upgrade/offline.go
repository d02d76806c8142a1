package upgrade

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// OfflineTest tests the image on gray pods that get no production traffic, with the test accounts and the user's own Job.
// A pass is put on record and ends the image's hold; a failure by the image's fault puts it on hold. Like Run it first
// brings home what an earlier run left, and leaves nothing behind.
func (u *Upgrade) OfflineTest(ctx context.Context) plan.Story {
	r := u.newRun()
	r.offline = true
	return r.end(r.locked(ctx, false, r.testOffline))
}

func (r *run) testOffline(ctx, held context.Context) error {
	if done, err := r.tidyUp(held); done || err != nil {
		return err
	}
	o, err := r.ready(ctx)
	if err != nil {
		return err
	}
	if r.story.Plan, err = plan.BuildOffline(r.Config, o); err != nil {
		return err
	}
	return r.carryOut(ctx, held, plan.Passed)
}

// runTest runs the user's own test, whose log is evidence either way.
func (r *run) runTest(ctx context.Context) (err error) {
	r.tested, err = r.TestJob(ctx)
	return err
}

// recordPass writes down that gray's digest passed: what was asked, by whom, where to read more. Gray's logs are kept with it.
func (r *run) recordPass(ctx context.Context) error {
	r.keepLogs(ctx)
	p := plan.Pass{Digest: r.record.Digest, By: r.Identity.Actor, Why: r.passed(), At: time.Now().UTC()}
	if p.By == "" {
		p.By = r.Identity.Run
	}
	r.record.AddPass(p)
	if err := r.Store.Save(ctx, r.record); err != nil {
		return err
	}
	r.note("recorded: %s", p.Why)
	return nil
}

// passed says in a line what the image passed.
func (r *run) passed() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	pods, checks := map[string]bool{}, 0
	for _, p := range r.story.Proofs {
		pods[p.Pod] = true
		if p.Verdict == judge.Pass {
			checks++
		}
	}
	var words []string
	if checks > 0 {
		words = append(words, fmt.Sprintf("%d checks passed on %d targets", checks, len(pods)))
	}
	for _, more := range []string{r.tested, r.Identity.URL} {
		if more != "" {
			words = append(words, more)
		}
	}
	return "offline-test run: " + strings.Join(words, "; ")
}
