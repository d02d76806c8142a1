package observe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// maxStreams is how many logs are followed at once, of both sides.
const maxStreams = 20

// What is read of the log of a reference's container before the watch, so that a known error is no news.
const (
	historySeconds = 600
	historyLines   = 2000
)

// Pauses between attempts to follow a log.
const (
	firstRetry = 250 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// stream is the log of one container.
type stream struct {
	side           plan.Side
	uid, pod, name string
}

// followLogs follows the logs that matter now, and others when the pods or the side on trial change.
func (w *Watch) followLogs(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	stops := map[stream]context.CancelFunc{}
	defer func() {
		for _, stop := range stops {
			stop()
		}
	}()
	for {
		wanted := w.wanted(stops)
		for key, stop := range stops {
			if !slices.Contains(wanted, key) {
				stop()
				delete(stops, key)
			}
		}
		for _, key := range wanted {
			if stops[key] != nil {
				continue
			}
			one, stop := context.WithCancel(ctx)
			stops[key] = stop
			running.Go(func() { w.follow(one, key) })
		}
		select {
		case <-ctx.Done():
			return
		case <-w.pods:
		}
	}
}

// wanted chooses the logs to follow; those already followed come first, so that a new pod does not move them.
func (w *Watch) wanted(followed map[stream]context.CancelFunc) []stream {
	w.mu.Lock()
	defer w.mu.Unlock()
	trial, ref := w.of(w.window.onTrial), w.of(other(w.window.onTrial))
	return choose(trial.streams(followed), ref.streams(followed), maxStreams)
}

// choose takes all logs of the side on trial and those of as many pods of the reference as are on trial, at least one;
// above the limit each side is left at least half of it.
func choose(trial, ref [][]stream, limit int) []stream {
	ref = ref[:min(len(ref), max(1, len(trial)))]
	mine, theirs := slices.Concat(trial...), slices.Concat(ref...)
	if len(mine)+len(theirs) > limit {
		theirs = theirs[:min(len(theirs), max(limit/2, limit-len(mine)))]
		mine = mine[:min(len(mine), limit-len(theirs))]
	}
	return append(mine, theirs...)
}

// streams returns the logs of a side, one entry a pod, in a stable order: pods that are followed first, then by name. What a
// sidecar writes blames nobody, so it is not read.
func (s *side) streams(followed map[stream]context.CancelFunc) [][]stream {
	var old, fresh [][]stream
	byName := func(a, b string) int { return strings.Compare(s.pods[a].name+a, s.pods[b].name+b) }
	for _, uid := range slices.SortedFunc(maps.Keys(s.pods), byName) {
		p := s.pods[uid]
		var all []stream
		seen := false
		for _, container := range p.containers {
			key := stream{side: s.name, uid: uid, pod: p.name, name: container}
			all = append(all, key)
			seen = seen || followed[key] != nil
		}
		switch {
		case p.going || len(all) == 0:
		case seen:
			old = append(old, all)
		default:
			fresh = append(fresh, all)
		}
	}
	return append(old, fresh...)
}

// unread counts the containers whose log could be read now and was not at any time since Begin.
func (s *side) unread() int {
	n := 0
	for uid, p := range s.pods {
		for _, container := range p.containers {
			if !p.going && !s.read[stream{side: s.name, uid: uid, pod: p.name, name: container}] {
				n++
			}
		}
	}
	return n
}

// follow reads one log until ctx ends, and again from where it was when the connection breaks.
func (w *Watch) follow(ctx context.Context, key stream) {
	var at position
	for retry := firstRetry; ; retry = min(2*retry, lastRetry) {
		begun := time.Now()
		err := w.followOnce(ctx, key, &at)
		w.closed(key)
		if ctx.Err() != nil {
			return
		}
		w.Log.Debug("log ended", "pod", key.pod, "container", key.name, "error", err)
		if at.left.IsZero() || time.Since(begun) > lastRetry {
			retry = firstRetry
		}
		at.left = time.Now()
		if !pause(ctx, retry) {
			return
		}
	}
}

func (w *Watch) followOnce(ctx context.Context, key stream, at *position) error {
	log, err := w.Kube.CoreV1().Pods(w.Target.Namespace).GetLogs(key.pod, w.logOptions(key, at)).Stream(ctx)
	if err != nil {
		return fmt.Errorf("follow log: %w", err)
	}
	defer log.Close()
	w.opened(key)
	at.reconnected()
	return readLines(log, func(line string) {
		if text, fresh := at.take(line); fresh {
			w.line(key, text)
		}
	})
}

// logOptions says where to begin. No clock but the node's is used: the time of the last line, or how long ago the
// connection broke; at first the end of the log, or, for a reference, its history.
func (w *Watch) logOptions(key stream, at *position) *corev1.PodLogOptions {
	o := &corev1.PodLogOptions{Container: key.name, Follow: true, Timestamps: true}
	w.mu.Lock()
	onTrial := key.side == w.window.onTrial
	w.mu.Unlock()
	switch {
	case !at.last.IsZero():
		o.SinceTime = &metav1.Time{Time: at.last}
	case at.open:
		seconds := int64(time.Since(at.left).Seconds()) + 1
		o.SinceSeconds = &seconds
	case onTrial:
		o.TailLines = new(int64)
	default:
		seconds, lines := int64(historySeconds), int64(historyLines)
		o.SinceSeconds, o.TailLines = &seconds, &lines
	}
	return o
}

func (w *Watch) opened(key stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.of(key.side)
	s.open[key], s.read[key], s.read0 = true, true, true
}

func (w *Watch) closed(key stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.of(key.side).open, key)
}

// line takes one line of a log. A side on trial is heard only while it carries users, and a pod of it only since it
// serves: what it writes when it starts is no anomaly.
func (w *Watch) line(key stream, text string) {
	template, isError := Template(text)
	if !isError {
		return
	}
	if hidden := w.Hide(text); hidden != text { // before it is cut: half of a secret could not be found any more
		text = hidden
		template, _ = Template(text)
	}
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.of(key.side)
	if key.side != w.window.onTrial {
		s.known.add(template, text, key.pod, now)
		w.wrote(key.side, template)
		return
	}
	p := s.pods[key.uid]
	if p == nil || !p.served || !w.carries() {
		return
	}
	s.known.add(template, text, key.pod, now)
	w.wrote(key.side, template)
	w.window.logs.add(template, text, key.pod, now)
}

// position is how far a log was read: the time of the last line, and how many lines have that very time.
type position struct {
	last      time.Time
	same      int
	open      bool      // it was followed before
	left      time.Time // when the connection broke
	replaying bool      // lines that were seen may come again
	replayed  int
}

func (p *position) reconnected() {
	p.replaying, p.replayed = p.open && !p.last.IsZero(), 0
	p.open = true
}

// take cuts the timestamp off a line and says whether the line was not seen before. The API takes whole seconds to
// begin at, so lines come again after a reconnect. Time may run back a little between stdout and stderr.
func (p *position) take(line string) (text string, fresh bool) {
	stamp, rest, _ := strings.Cut(line, " ")
	t, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		return line, !p.replaying
	}
	if p.replaying && !t.After(p.last) {
		if t.Before(p.last) || p.replayed < p.same {
			if t.Equal(p.last) {
				p.replayed++
			}
			return "", false
		}
	}
	switch {
	case t.After(p.last):
		p.last, p.same, p.replaying = t, 1, false
	case t.Equal(p.last):
		p.same++
	}
	return rest, true
}

// readLines calls take with every line, each cut to maxLine bytes, until the log ends.
func readLines(log io.Reader, take func(line string)) error {
	b := bufio.NewReaderSize(log, maxLine)
	for {
		piece, err := b.ReadSlice('\n')
		line := strings.TrimRight(string(piece), "\r\n")
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = b.ReadSlice('\n')
		}
		if line != "" {
			take(line)
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read log: %w", err)
		}
	}
}
