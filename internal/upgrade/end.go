package upgrade

import (
	"context"
	"fmt"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// save writes the record before a step, so that whoever comes after a kill knows what was under way.
func (r *run) save(ctx context.Context, s plan.Step) error {
	r.record.Version, r.record.Identity, r.record.UpgradeID, r.record.Target = 1, r.Identity, r.UpgradeID, r.Target
	r.record.Config = r.Config.Hash()
	r.record.Step, r.record.Open = s.String(), true
	return r.Store.Save(ctx, r.record)
}

// saveClosing writes once into the record why users go home, with the hold: after the first write that moves them.
func (r *run) saveClosing(ctx context.Context) {
	if r.closing == nil || r.closing.saved {
		return
	}
	r.accuse(ctx, r.closing)
	r.record.Closing, r.record.Open, r.record.Step = r.closing.why, true, "closing"
	r.closing.saved = r.Store.Save(ctx, r.record) == nil
}

// settle notes in the record how the earlier run, that was just brought home, ended.
func (r *run) settle(ctx context.Context, forward bool, why plan.Reason) {
	outcome := plan.Interrupted
	switch {
	case forward:
		outcome = plan.Promoted
	case why == plan.ReasonAnomaly:
		outcome = plan.RolledBack
	case why == plan.ReasonInfrastructure:
		outcome = plan.Closed
	}
	r.record.End(plan.Ended{
		Outcome: outcome, Image: r.record.Image, Digest: r.record.Digest, Config: r.record.Config,
		Run: r.record.Identity.Run, At: time.Now().UTC(), Reason: "brought home by " + r.Identity.Run,
	})
	if err := r.Store.Save(ctx, r.record); err != nil {
		r.Log.Warn("save the record", "error", err)
	}
}

// release writes how the run ended and gives the Lease back. It runs when everything else is over.
func (r *run) release(held context.Context) {
	if held.Err() != nil {
		return // lost: nothing more is written
	}
	ctx, cancel := context.WithTimeout(held, 10*time.Second)
	defer cancel()
	if err := r.Store.Release(ctx); err != nil {
		r.Log.Warn("release the lease: it ends by itself", "error", err)
	}
}

// noteEnd puts the end of the run into the record. A run that is stuck stays open: the next one, or close, goes on.
func (r *run) noteEnd(held context.Context, err error) error {
	if held.Err() != nil || !r.record.Open {
		return err
	}
	outcome, reason := r.outcome(err)
	if outcome == plan.Stuck {
		return err
	}
	r.record.End(plan.Ended{
		Outcome: outcome, Image: r.record.Image, Digest: r.record.Digest, Config: r.record.Config,
		Run: r.Identity.Run, At: time.Now().UTC(), Reason: reason,
	})
	ctx, cancel := context.WithTimeout(held, 10*time.Second)
	defer cancel()
	if saveErr := r.Store.Save(ctx, r.record); saveErr != nil {
		r.Log.Warn("save the record", "error", saveErr)
	}
	return err
}

// outcome says how a run that returned err ended.
func (r *run) outcome(err error) (plan.Outcome, string) {
	if r.story.Outcome == plan.Stuck {
		return plan.Stuck, err.Error()
	}
	if err == nil {
		return r.story.Outcome, ""
	}
	f := r.failure(err, plan.Step{})
	if r.story.Highest > 0 && (f.Fault == plan.FaultInput || f.Fault == plan.FaultRefused) {
		return plan.Closed, f.What // invalid and refused promise that nothing was changed
	}
	switch f.Fault {
	case plan.FaultImage:
		return plan.RolledBack, f.What
	case plan.FaultInput:
		return plan.Invalid, f.What
	case plan.FaultRefused:
		return plan.Refused, f.What
	case plan.FaultEvidence:
		return plan.Undecided, f.What
	case plan.FaultInterrupted:
		return plan.Interrupted, f.What
	case plan.FaultInfrastructure:
		return plan.Closed, f.What
	}
	return plan.Closed, f.What
}

// end finishes the story: outcome, and for a failure its four lines.
func (r *run) end(err error) plan.Story {
	outcome, _ := r.outcome(err)
	r.mu.Lock()
	r.story.Outcome, r.story.End = outcome, time.Now().UTC()
	if err != nil {
		f := r.failure(err, plan.Step{})
		r.explain(f, outcome)
		r.story.Failure = f
	}
	r.mu.Unlock()
	r.Evidence.Record("outcome", map[string]any{"outcome": outcome, "failure": r.story.Failure})
	r.tell()
	return r.story
}

// explain fills what the failure does not say yet: what was done, and what to do next.
func (r *run) explain(f *plan.Failure, outcome plan.Outcome) {
	if f.Where == "" {
		f.Where = fmt.Sprintf("Deployment %s/%s, HTTPRoute %s/%s", r.Target.Namespace, r.Target.Deployment, r.Target.Namespace, r.Target.Route)
	}
	if f.Done == "" {
		f.Done = r.done(outcome)
	}
	if f.Next == "" {
		f.Next = r.next(outcome)
	}
}

func (r *run) done(outcome plan.Outcome) string {
	home := r.home
	if home == "" {
		home = r.From
	}
	switch {
	case len(r.story.Entries) == 0:
		return "nothing was changed"
	case outcome == plan.Refused && r.story.Highest == 0:
		return "gray was started without users, and removed again; production was not touched"
	case r.story.ClosedIn > 0:
		return fmt.Sprintf("gray traffic closed in %.1f s, gray removed; all users are on %s", r.story.ClosedIn, home)
	}
	if r.story.Highest > 0 {
		return fmt.Sprintf("gray removed; all users are on %s", home)
	}
	return fmt.Sprintf("gray removed; no user was sent to it, all are on %s", home)
}

// orRerun is the other way where the user takes a rerun for the offline test.
func (r *run) orRerun() string {
	if r.Config.OfflineTest != config.RerunAccepts {
		return ""
	}
	return " (a person may also just rerun this job: offline-test is rerun-accepts)"
}

func (r *run) next(outcome plan.Outcome) string {
	digest := r.record.Digest
	switch outcome {
	case plan.RolledBack:
		if r.story.Held == "" {
			return fmt.Sprintf("the digest of %s could not be learned, so nothing is on hold: give the image by digest (NAME@sha256:...) or upgrade to a fixed one "+
				"(gray is deleted; its logs are in the evidence folder)", r.record.Image)
		}
		if r.offline {
			return "look at gray's logs, and the test's, in the evidence folder; upgrade to a fixed image; or, if the test itself was wrong, correct it and run it again: " +
				plan.OfflineRun(r.Target)
		}
		return fmt.Sprintf("look at gray's logs in the evidence folder (gray is deleted); upgrade to a fixed image; or, to try this one again, test it offline: %s; then rerun%s",
			plan.OfflineTest(r.Target, digest), r.orRerun())
	case plan.Invalid:
		return "correct the input, then rerun"
	case plan.Refused:
		return "wait for the other run, or end it, then rerun"
	case plan.Undecided:
		return "rerun when there is more traffic, or lower min-requests, or make step-duration longer; the image is not blamed"
	case plan.Interrupted:
		return "rerun when you are ready; the image is not blamed"
	case plan.Closed:
		return "repair what is named above, then rerun; the image is not blamed"
	case plan.Stuck, plan.Promoted, plan.Unchanged, plan.Planned, plan.Passed:
	}
	return ""
}
