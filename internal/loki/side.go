package loki

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	// history is how far back is read at first.
	history = 10 * time.Minute
	// historyLines bounds that: as much as of twenty pods, each read by itself.
	historyLines = 40_000
	// lag is how much later than newer ones of its side a line may come and is still read: agents send batches of seconds,
	// and Loki takes lines in any order. So much is read again each time.
	lag = 10 * time.Second
	// pageLines is how many lines are asked for at once; not so many where that fails.
	pageLines  = 1000
	leastLines = 100
	moreLines  = 100 // that a page grows by after a good one
	// mostLines is what Loki allows where nobody raised max_entries_limit_per_query. A page grows to it while there is more: what
	// a page costs Loki is mostly the same (3.7.8, 300,000 lines of 20 streams: 6,000 a second in pages of 1000, 23,000 in these).
	mostLines = 5000
	// maxSeen is how many lines may be known at once, 16 bytes and their room in the map each.
	maxSeen = 500_000
)

// Take is given a line: when it was written, by our own clock and up to a second early; the names of its pod and, where a
// label says it, of its container.
type Take = func(at time.Time, pod, container, text string)

// Side reads the lines of one side, each once. It is not safe for concurrent use.
//
// Lines are told apart by labels, time and text, as Loki does itself (it keeps one of those that share all three): by 64 bits
// of a hash.
type Side struct {
	server *Server
	query  string
	size   int   // of the next page, lines
	most   int   // that size grows to
	from   int64 // where a walk goes on, ns; 0: none is under way
	newest int64 // ns of the newest line; 0: there was none
	seen   map[uint64]int64
}

// Side returns what a query finds: LogQL without placeholders.
func (s *Server) Side(query string) *Side {
	return &Side{server: s, query: query, size: pageLines, most: mostLines, seen: map[uint64]int64{}}
}

// History hands over what was written in the ten minutes before, the newest 40,000 lines of it: newer pages first, each with
// the oldest line first. After an error it is to be called again.
func (s *Side) History(ctx context.Context, take Take) error {
	q := question{query: s.query, since: history, backward: true}
	for read := 0; read < historyLines; {
		p, full, err := s.page(ctx, q)
		if err != nil {
			return err
		}
		slices.Reverse(p.lines) // of one time, Loki gives the last line first
		slices.SortStableFunc(p.lines, func(a, b line) int { return cmp.Compare(a.at, b.at) })
		for _, l := range p.lines {
			s.note(l)
			take(p.written(l), l.pod, l.container, l.text)
		}
		if err := s.forget(); err != nil {
			return err
		}
		if q.start == 0 {
			q.start = time.Now().Add(p.ahead - history).UnixNano()
		}
		if !full || p.lines[0].at <= q.start || q.end == p.lines[0].at+1 {
			return nil
		}
		q.end = p.lines[0].at + 1 // what else was written at that very time
		read += len(p.lines)
	}
	return nil
}

// Next hands over lines that came since, the oldest first. more says that this was not all: ask again at once.
func (s *Side) Next(ctx context.Context, take Take) (more bool, err error) {
	q := question{query: s.query, start: s.from, since: history}
	if q.start == 0 && s.newest > 0 {
		q.start = s.newest - int64(lag)
	}
	p, full, err := s.page(ctx, q)
	if err != nil {
		return false, err // and go on from there: it may not get as far again
	}
	s.from = 0
	for _, l := range p.lines {
		if s.note(l) {
			take(p.written(l), l.pod, l.container, l.text)
		}
	}
	if err := s.forget(); err != nil || !full {
		return false, err
	}
	s.from = p.lines[len(p.lines)-1].at
	if s.from > q.start {
		return true, nil
	}
	if len(p.lines) >= mostLines {
		s.from = 0
		return false, fmt.Errorf("%d lines or more have the same time: Loki cannot be asked for what follows; let the agent set times of less than a second", mostLines)
	}
	s.size = mostLines
	return true, nil
}

// page asks for a page of as many lines as went well of late, and for more after a full one, unless that failed once. full says
// that there may be others.
func (s *Side) page(ctx context.Context, q question) (p page, full bool, err error) {
	q.limit = s.size
	p, err = s.server.ask(ctx, q)
	switch full = err == nil && len(p.lines) >= q.limit; {
	case err != nil:
		if s.size > pageLines {
			s.most = pageLines
		}
		s.size = max(leastLines, min(s.size, pageLines)/2)
	case full && s.size >= pageLines:
		s.size = min(s.most, 2*s.size)
	default:
		s.size = min(pageLines, s.size+moreLines)
	}
	return p, full, err
}

// written is when a line was written, by our own clock.
func (p page) written(l line) time.Time { return time.Unix(0, l.at).Add(-p.ahead) }

// note remembers a line, and says whether it is new.
func (s *Side) note(l line) bool {
	if _, known := s.seen[l.id]; known {
		return false
	}
	s.seen[l.id] = l.at
	s.newest = max(s.newest, l.at)
	return true
}

// forget drops what will not be asked for again.
func (s *Side) forget() error {
	for id, at := range s.seen {
		if at < s.newest-int64(lag) {
			delete(s.seen, id)
		}
	}
	if len(s.seen) > maxSeen {
		clear(s.seen)
		return fmt.Errorf("more than %d lines within %s: narrow loki-query", maxSeen, lag)
	}
	return nil
}
