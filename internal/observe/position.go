package observe

import (
	"bytes"
	"time"
)

// beganAgain is how far time must run back from one line to the next to mean that the log is sent once more from an
// earlier place. Between stdout and stderr it runs back by moments.
const beganAgain = time.Second

// replayLasts is how long that takes at most. If times are still early then, the node's clock was set back.
const replayLasts = 5 * time.Second

// position is how far a log was read: the time of the last line, and how many lines have that very time.
type position struct {
	last      time.Time
	same      int
	open      bool      // it was followed before
	left      time.Time // when the connection broke
	replaying bool      // lines that were seen may come again
	replayed  int
	until     time.Time // when it must be over; zero: whenever a line is later
}

func (p *position) reconnected() {
	p.replaying, p.replayed, p.until = p.open && !p.last.IsZero(), 0, time.Time{}
	p.open = true
}

// take cuts the timestamp off a line and says whether the line was not seen before. The API takes whole seconds to
// begin at, so lines come again after a reconnect; a kubelet that rotates the log may begin again by itself.
func (p *position) take(line []byte) (text []byte, fresh bool) {
	stamp, rest, _ := bytes.Cut(line, []byte(" "))
	var t time.Time
	if t.UnmarshalText(stamp) != nil {
		return line, !p.replaying
	}
	if !p.replaying && t.Before(p.last.Add(-beganAgain)) {
		p.replaying, p.replayed, p.until = true, 0, time.Now().Add(replayLasts)
	}
	if p.replaying && !p.until.IsZero() && time.Now().After(p.until) {
		p.last, p.same, p.replaying = t, 0, false
	}
	if p.replaying && !t.After(p.last) {
		if t.Before(p.last) || p.replayed < p.same {
			if t.Equal(p.last) {
				p.replayed++
			}
			return nil, false
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
