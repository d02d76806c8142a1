package main

import (
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// quiet is how long a step may take before it is shown at all: what go has cached is done by then.
const quiet = 2 * time.Second

// progress says what goes on and for how long: a line that counts on a terminal, else a line every 15 s.
type progress struct {
	title string
	start time.Time
	done  chan struct{}
	ended sync.WaitGroup
}

func startProgress(title string, start time.Time) *progress {
	p := &progress{title: title, start: start, done: make(chan struct{})}
	p.ended.Go(p.show)
	return p
}

// stop ends the display and says how long it took, if anything was shown.
func (p *progress) stop() {
	close(p.done)
	p.ended.Wait()
}

func (p *progress) show() {
	every, before, after := 15*time.Second, "", "\n"
	if isTerminal(os.Stderr) {
		every, before, after = time.Second, "\r", ""
	}
	wait := quiet
	shown := false
	for {
		select {
		case <-p.done:
			if shown {
				fmt.Fprintf(os.Stderr, "%s%s: done in %s   \n", before, p.title, time.Since(p.start).Round(time.Second))
			}
			return
		case <-time.After(wait):
			fmt.Fprintf(os.Stderr, "%s%s: %s%s", before, p.title, time.Since(p.start).Round(time.Second), after)
			shown, wait = true, every
		}
	}
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
