package upgrade

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// errUnchanged ends an upgrade whose image production already runs.
var errUnchanged = errors.New("production already runs this image")

// start makes gray stand. Where its pods never get ready by the image's own fault, they still tell which digest they run,
// so that a tag that is on hold is refused and not blamed anew.
func (r *run) start(ctx context.Context, s plan.Step) error {
	err := r.Gray.Start(ctx, s.Replicas)
	var f *plan.Failure
	if !errors.As(err, &f) || f.Fault != plan.FaultImage {
		return err
	}
	o, unseen := r.observe(ctx)
	if unseen != nil || o.Pulled == "" {
		return err
	}
	if refused := r.admit(o, o.Pulled); refused != nil {
		return refused
	}
	return err
}

// identify learns which digest gray runs.
func (r *run) identify(ctx context.Context) error {
	digest, err := r.Gray.Digest(ctx)
	if err != nil {
		return err
	}
	o, err := r.observe(ctx)
	if err != nil {
		return err
	}
	return r.admit(o, digest)
}

// admit notes the digest that gray runs: one that is held goes no further, one that production already runs the same way
// is nothing to upgrade. An offline test takes any.
func (r *run) admit(o plan.Observed, digest string) error {
	r.learn(o, digest)
	if r.offline {
		return nil
	}
	unchanged, err := r.decide(o, digest)
	if err != nil {
		return err
	}
	if unchanged {
		return errUnchanged
	}
	return nil
}

// learn notes the digest of the image that is upgraded to.
func (r *run) learn(o plan.Observed, digest string) {
	r.record.Digest, r.record.Template = digest, o.Held
	if r.record.Image == "" {
		r.record.Image = o.Gray.Image // of the manifest
	}
	r.mu.Lock()
	r.story.To = pinned(r.record.Image, digest)
	r.mu.Unlock()
}

// decide asks plan.Decide, and tells, once, of a hold that does not count because the user gave a reason.
func (r *run) decide(o plan.Observed, digest string) (unchanged bool, err error) {
	r.acceptRerun(o, digest)
	r.record.Target = r.Target // that on record does not say how this run reaches it
	unchanged, err = plan.Decide(o, r.record, digest, r.Config.IgnoreHold)
	if unchanged || err != nil {
		return unchanged, err
	}
	if hold, held := r.record.Held(digest, o.Held); held && r.record.Ignored == "" {
		r.record.Ignored = hold.Ignored(r.Config.IgnoreHold)
		r.note("%s", r.record.Ignored)
	}
	return false, nil
}

// acceptRerun ends the hold on a digest where the user takes a rerun by a person for the offline test.
func (r *run) acceptRerun(o plan.Observed, digest string) {
	hold, held := r.record.Held(digest, o.Held)
	if held && r.Config.OfflineTest == config.RerunAccepts && r.record.PassByRerun(hold, r.Identity, time.Now().UTC()) {
		r.note("the hold of %s since %s is over: %s started the job anew (offline-test: rerun-accepts)", digest, hold.At.UTC().Format(time.RFC3339), r.Identity.Actor)
	}
}

// hold puts the image on hold in the record, which is saved right after the first write of the close. A gray that never
// got ready has not been identified yet: what one of its pods tells is enough, or the digest that the user gave.
func (r *run) hold(o plan.Observed, f *plan.Failure) {
	if r.record.Digest == "" {
		r.learn(o, cmp.Or(o.Pulled, plan.DigestOf(r.record.Image)))
	}
	if r.record.Digest == "" {
		r.note("the image is not put on hold: no gray pod reports its digest")
		return
	}
	r.record.Template = o.Held
	r.record.AddHold(plan.Hold{
		Digest: r.record.Digest, Template: r.record.Template, Image: r.record.Image,
		At: time.Now().UTC(), Why: f.What, Run: r.Identity.Run, URL: r.Identity.URL,
	})
	r.mu.Lock()
	r.story.Held = r.record.Digest
	r.mu.Unlock()
}

// pinned returns the reference with its digest: what to commit to Git or to a chart's values.
func pinned(image, digest string) string {
	name, _, _ := strings.Cut(image, "@")
	if digest == "" {
		return image
	}
	return name + "@" + digest
}
