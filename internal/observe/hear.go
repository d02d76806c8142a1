package observe

import (
	"bytes"
	"io"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/drain"
)

// readAlong reads a log that is being written. Lines that come faster than they can be looked at are dropped, so that
// neither the log waits for the watch nor the watch for the log.
func (t *tail) readAlong(log io.Reader) error {
	chunks, ended := make(chan chunk, backlog), make(chan error, 1)
	go func() {
		defer close(chunks)
		ended <- readChunks(log, t.buffer, func(c chunk) {
			select {
			case chunks <- c:
			default:
				t.drop(c)
			}
		})
	}()
	for c := range chunks {
		t.take(c)
	}
	return <-ended
}

func (t *tail) buffer() []byte {
	select {
	case b := <-t.free:
		return b
	default:
		return make([]byte, chunkSize)
	}
}

// done gives a buffer back.
func (t *tail) done(c chunk) {
	select {
	case t.free <- c.lines[:cap(c.lines)]:
	default:
	}
}

func (t *tail) drop(c chunk) {
	n := bytes.Count(c.lines, newline)
	all := tally{bytes: len(c.lines) + c.less, dropped: n}
	all.levels[drain.Unstated] = n
	t.done(c)
	t.count(t.key, all)
}

var newline = []byte("\n")

// take looks at the lines of a chunk.
func (t *tail) take(c chunk) {
	var all tally
	for rest := c.lines; len(rest) > 0; {
		var line []byte
		line, rest, _ = bytes.Cut(rest, newline)
		text, fresh := t.at.take(bytes.TrimSuffix(line, []byte("\r")))
		if !fresh {
			continue
		}
		t.look(text, &all)
	}
	all.bytes += c.less
	t.done(c)
	if !t.history {
		t.count(t.key, all)
	}
}

// look takes one line, without its end.
func (t *tail) look(text []byte, all *tally) {
	level, event := t.reads.Line(text)
	if event != nil {
		t.hear(event)
	}
	all.levels[level]++
	all.bytes += len(text) + 1
	if len(text) > drain.MaxLine {
		all.long++
	}
}

// hear counts an event. A side on trial is heard only while it carries users, and a pod of it only since it serves: what
// it writes when it starts is no anomaly.
func (t *tail) hear(e *drain.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, before := t.of(t.key.side), t.counted
	onTrial := t.key.side == t.window.onTrial
	t.counted = 0
	if p := s.pods[t.key.uid]; onTrial && (p == nil || !p.served || !t.carries() || t.early(p)) || e.Amends && before == 0 {
		return
	}
	now := time.Now()
	t.counted = t.miner.Group(e)
	s.known.add(t.counted, e.Line, t.key.pod, now) // without its kind it stays known, too: a line may come between the two
	if onTrial && e.Amends {
		t.takeBack(before)
	}
	t.first = e.Amends && t.first || t.turnsUp(t.key.side, t.counted) // one event is one, whatever it turns out to be
	t.wrote(t.key.side, t.counted)
	if onTrial {
		t.window.logs.add(t.counted, e.Line, t.key.pod, now)
	}
}
