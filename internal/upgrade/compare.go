package upgrade

import (
	"context"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// compareTime bounds the look at the objects when everything else is over.
const compareTime = 10 * time.Second

// compared remembers how the objects are now, and returns what tells in the story, when the run is over, which of their fields
// differ. People need not take our word for it that nothing is left.
func (r *run) compared(ctx context.Context) (tell func(), err error) {
	before, err := r.Objects(ctx)
	if err != nil {
		return nil, err
	}
	return func() { //nolint:contextcheck // the Lease was perhaps taken back: another context
		if r.held.Err() != nil {
			return // another run works on them
		}
		ctx, cancel := context.WithTimeout(r.held, compareTime)
		defer cancel()
		after, err := r.Objects(ctx)
		if err != nil {
			r.note("the objects were not compared with those before: %v", err)
			return
		}
		r.mu.Lock()
		r.story.Compared, r.story.Changes = len(before), plan.Changes(before, after)
		for i, c := range r.story.Changes {
			r.story.Changes[i].Before, r.story.Changes[i].After = r.hide.Replace(c.Before), r.hide.Replace(c.After)
		}
		r.mu.Unlock()
		r.Evidence.Record("changes", r.story.Changes)
	}, nil
}
