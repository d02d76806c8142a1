package observe

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// LogSource reads the lines of one side's pods from a server that keeps them. It may be slow or fail: the other sources go
// on, and after 10 s in which it did not tell all up to now the blindness is a finding (of the infrastructure). It is
// called by one goroutine.
//
// Each line is given with the time at which it was written, by this machine's clock, never too late, and with the names of its
// pod and container; "": the container is not known.
type LogSource interface {
	// History hands over what was written in the last minutes. After an error it is called again.
	History(ctx context.Context, take func(at time.Time, pod, container, text string)) error
	// Next hands over what came since. more: that was not all.
	Next(ctx context.Context, take func(at time.Time, pod, container, text string)) (more bool, err error)
}

const (
	// collectEvery is the pause between questions for new lines.
	collectEvery = time.Second
	// maxTails is how many logs of one side are told apart. More than that are not of pods that live.
	maxTails = 1000
)

// collected are the logs of one side, out of one source.
//
// A line may come long after it was written, so it is not its coming that says whether users were there: see early. And
// nothing that comes may mean that nothing was written, or that it was lost on its way; so a container counts as read only
// in a window in which a line of it came.
type collected struct {
	*Watch
	side    plan.Side
	source  LogSource
	tails   map[[2]string]*tail // by pod and container
	history bool                // was read
}

func (w *Watch) newCollected(s plan.Side, source LogSource) *collected {
	return &collected{Watch: w, side: s, source: source, tails: map[[2]string]*tail{}}
}

// followCollected reads the logs of both sides again and again, once the pods are known. The reference comes first, and where
// it cannot be read the side on trial waits: what both write must not look like news because one of them was heard later.
func (w *Watch) followCollected(ctx context.Context) {
	both := map[plan.Side]*collected{}
	for side, source := range w.Logs {
		both[side] = w.newCollected(side, source)
	}
	for {
		trial, known := w.trial()
		wait := collectEvery
		switch {
		case !known:
			wait = w.Every
		case both[trial.Other()].catchUp(ctx):
			both[trial].catchUp(ctx)
		}
		if !pause(ctx, wait) {
			return
		}
	}
}

// trial is the side on trial; known says that the pods of both sides are.
func (w *Watch) trial() (s plan.Side, known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.window.onTrial, w.gray.listed && w.prod.listed
}

// catchUp reads all that came up to now.
func (c *collected) catchUp(ctx context.Context) bool {
	source := "the logs of " + string(c.side)
	c.asking(source)
	more, err := true, error(nil)
	for more && ctx.Err() == nil {
		more, err = c.read(ctx)
		c.leave()
	}
	if ctx.Err() != nil {
		return false
	}
	c.report(source, err)
	return err == nil
}

func (c *collected) read(ctx context.Context) (more bool, err error) {
	if c.history {
		return c.source.Next(ctx, c.take)
	}
	err = c.source.History(ctx, c.take)
	c.history = err == nil
	return c.history, err
}

// take looks at what may be several lines: an agent can put a stack into one.
func (c *collected) take(at time.Time, pod, container, text string) {
	uid, ours := c.came(pod, container)
	if !ours {
		return
	}
	t := c.tail(pod, container)
	t.key.uid, t.written = uid, at
	var all tally
	for one := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		t.look([]byte(strings.TrimSuffix(one, "\r")), &all)
	}
	if c.history {
		c.count(t.key, all)
	}
}

func (c *collected) tail(pod, container string) *tail {
	name := [2]string{pod, container}
	if c.tails[name] == nil {
		if len(c.tails) >= maxTails {
			clear(c.tails)
		}
		c.tails[name] = c.newTail(stream{side: c.side, pod: pod, name: container})
	}
	return c.tails[name]
}

// came notes that a line of a container came, and says whether it is to be heard: not that of a sidecar, nor of a pod that
// goes. uid is "" for a pod that is gone: a reference is heard all the same.
func (c *collected) came(name, container string) (uid string, ours bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.of(c.side)
	for uid, p := range s.pods {
		if p.name != name {
			continue
		}
		if p.going || container != "" && !slices.Contains(p.containers, container) {
			return uid, false
		}
		for _, known := range p.containers {
			if container == "" || container == known {
				s.hears(stream{side: c.side, uid: uid, pod: name, name: known})
			}
		}
		return uid, true
	}
	return "", true
}

// leave forgets the containers of pods that are gone.
func (c *collected) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.of(c.side)
	for key := range s.open {
		if p := s.pods[key.uid]; p == nil || p.going {
			delete(s.open, key)
		}
	}
}

// early says whether a line of the side on trial was written before its pod served, or before its side had users: what comes
// late is no news of now.
func (t *tail) early(p *pod) bool {
	return !t.written.IsZero() && (t.written.Before(p.servedAt) || t.written.Before(t.of(t.key.side).users))
}
