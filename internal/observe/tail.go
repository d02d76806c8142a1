package observe

import (
	"context"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gray-upgrade/gray-upgrade/internal/drain"
)

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

// tail follows the log of one container, through the ends of connections and of the container.
type tail struct {
	*Watch
	key     stream
	at      position
	reads   *drain.Stream
	free    chan []byte // buffers to use again
	history bool        // what is read now was written before the watch
	counted int         // group of the last event; 0: it was not counted
	first   bool        // it was counted as one that turned up
	written time.Time   // when the line was that is looked at; zero: now
}

func (w *Watch) newTail(key stream) *tail {
	return &tail{Watch: w, key: key, reads: drain.NewStream(w.Hide), free: make(chan []byte, spare)}
}

// follow reads the log until ctx ends, and again from where it was when the connection breaks.
func (t *tail) follow(ctx context.Context) {
	for retry := firstRetry; ; retry = min(2*retry, lastRetry) {
		begun := time.Now()
		err := t.followOnce(ctx)
		t.closed(t.key)
		if ctx.Err() != nil {
			return
		}
		t.Log.Debug("log ended", "pod", t.key.pod, "container", t.key.name, "error", err)
		if t.at.left.IsZero() || time.Since(begun) > lastRetry {
			retry = firstRetry
		}
		t.at.left = time.Now()
		if !pause(ctx, retry) {
			return
		}
	}
}

func (t *tail) followOnce(ctx context.Context) error {
	again := t.at.open
	if !again && !t.onTrial() {
		if err := t.readHistory(ctx); err != nil {
			return err
		}
	}
	log, err := t.ask(ctx, t.options(&corev1.PodLogOptions{Follow: true}))
	if err != nil {
		return err
	}
	defer log.Close()
	t.opened(t.key)
	if again {
		t.readLastWords(ctx)
	}
	t.at.reconnected()
	return t.readAlong(log)
}

// readHistory reads the end of a reference's log.
func (t *tail) readHistory(ctx context.Context) error {
	seconds, lines := int64(historySeconds), int64(historyLines)
	t.at.left = time.Now()
	log, err := t.ask(ctx, &corev1.PodLogOptions{SinceSeconds: &seconds, TailLines: &lines})
	if err != nil {
		return err
	}
	defer log.Close()
	t.history = true
	err = readChunks(log, t.buffer, t.take)
	t.history, t.at.open = false, err == nil // else it is read again: what is known twice is known
	return err
}

// readLastWords reads what the container wrote before it was started again and was not read yet. It is asked for after
// each end of a connection, and when the next one is open, so that no restart falls between the two; mostly there was none.
func (t *tail) readLastWords(ctx context.Context) {
	log, err := t.ask(ctx, t.options(&corev1.PodLogOptions{Previous: true}))
	if err != nil {
		return
	}
	defer log.Close()
	t.at.reconnected()
	if err := readChunks(log, t.buffer, t.take); err != nil {
		t.Log.Debug("read log before restart", "pod", t.key.pod, "container", t.key.name, "error", err)
	}
}

func (t *tail) ask(ctx context.Context, o *corev1.PodLogOptions) (io.ReadCloser, error) {
	o.Container, o.Timestamps = t.key.name, true
	log, err := t.Kube.CoreV1().Pods(t.Target.Namespace).GetLogs(t.key.pod, o).Stream(ctx)
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	return log, nil
}

func (t *tail) onTrial() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.key.side == t.window.onTrial
}

// options says where to begin. No clock but the node's is used: the time of the last line, or how long ago the connection
// broke; at first the end of the log.
func (t *tail) options(o *corev1.PodLogOptions) *corev1.PodLogOptions {
	switch {
	case !t.at.last.IsZero():
		o.SinceTime = &metav1.Time{Time: t.at.last}
	case t.at.open:
		seconds := int64(time.Since(t.at.left).Seconds()) + 1
		o.SinceSeconds = &seconds
	default:
		o.TailLines = new(int64)
	}
	return o
}

func (w *Watch) opened(key stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.of(key.side).hears(key)
}

// hears notes that a log is followed.
func (s *side) hears(key stream) { s.open[key], s.read[key], s.read0 = true, true, true }

func (w *Watch) closed(key stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.of(key.side).open, key)
}
