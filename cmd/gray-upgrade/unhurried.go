package main

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// unhurried writes to a file that may hang (a network volume): the watch and the close never wait for it. What it cannot
// take in time is lost, and said at the end.
type unhurried struct {
	to    io.WriteCloser
	lines chan []byte
	done  chan struct{}

	mu     sync.Mutex
	closed bool
	lost   int
	err    error
}

// Lines that wait at most (a sample has some KiB), and how long the end waits for them.
const (
	waitingLines = 4096
	lastWait     = 5 * time.Second
)

func newUnhurried(to io.WriteCloser) *unhurried {
	u := &unhurried{to: to, lines: make(chan []byte, waitingLines), done: make(chan struct{})}
	go u.write()
	return u
}

func (u *unhurried) write() {
	defer close(u.done)
	for line := range u.lines {
		if _, err := u.to.Write(line); err != nil {
			u.mu.Lock()
			u.err = err
			u.mu.Unlock()
			break
		}
	}
	for range u.lines {
		continue // after an error nothing more is written: a line would follow half of one
	}
}

// Write takes one line, and never waits.
func (u *unhurried) Write(line []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return len(line), nil
	}
	select {
	case u.lines <- slices.Clone(line):
	default:
		u.lost++
	}
	return len(line), nil
}

// Close waits a little for what was not written yet. The error says what is missing.
func (u *unhurried) Close() error {
	u.mu.Lock()
	closed := u.closed
	u.closed = true
	u.mu.Unlock()
	if closed {
		return nil
	}
	close(u.lines)
	late := false
	select {
	case <-u.done:
	case <-time.After(lastWait):
		late = true
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.err != nil:
		return fmt.Errorf("the evidence ends early: %w", u.err)
	case late:
		return fmt.Errorf("the evidence ends early: its file takes nothing more since %s", lastWait)
	case u.lost > 0:
		return fmt.Errorf("the evidence lacks %d lines: its file was too slow", u.lost)
	}
	return u.to.Close()
}
