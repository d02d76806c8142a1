package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/cluster"
	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
	"github.com/gray-upgrade/gray-upgrade/internal/state"
)

const (
	vigilance = time.Second     // between two looks at the Lease
	patience  = 5 * time.Second // for one of them
	// fresh is how old the last successful look may be for the watchdog to count as ready.
	fresh = 10 * time.Second
)

// watchdogCommand runs in the watchdog's pod. It closes when the Lease was not renewed for watchdog-after while its record is
// open, and knows nothing else. It ends when no upgrade is open, or when it is told to; errors do not end it.
func watchdogCommand(ctx context.Context, args []string, w world) int {
	s, code := begin("watchdog", args, w, nil, parseTarget)
	if s == nil {
		return code
	}
	cl, err := connect(s.config, s.log)
	if err != nil {
		return s.refuse(err)
	}
	lease := cl.lease(s.config.Service, s.host.Identity(), s.log)
	d := &watchdog{after: s.config.WatchdogAfter, vigil: lease.Vigil(), close: s.closeFor, log: s.log}
	stop, err := d.serve(ctx, fmt.Sprintf(":%d", cluster.WatchdogPort))
	if err != nil {
		return s.refuse(err)
	}
	defer stop()
	return d.watch(ctx)
}

// closeFor is close for the watchdog: between looking for the objects and the takeover it asks once more whether it must.
func (s *session) closeFor(ctx context.Context, must func() bool) int {
	a, err := wire(ctx, s.config, s.host, s.log)
	if err != nil {
		s.log.Error("cannot close yet", "error", err)
		return exitStuck
	}
	defer a.Close()
	if !must() {
		return exitInterrupted
	}
	story := a.Upgrade.Close(ctx, true)
	s.finish(story)
	if story.Failure == nil {
		return exitDone
	}
	return exitCode(story.Outcome)
}

// watchdog looks at one Lease.
type watchdog struct {
	after time.Duration
	vigil *state.Vigil
	close func(ctx context.Context, must func() bool) int
	log   *slog.Logger
	seen  atomic.Int64 // when the Lease was last read, in Unix nanoseconds
}

// watch looks until no upgrade is open. An eviction is an end with an error, so that the Job makes another pod.
func (d *watchdog) watch(ctx context.Context) int {
	d.log.Info("watching the lease", "after", d.after)
	for {
		open, lost := d.look(ctx)
		switch {
		case !open:
			d.log.Info("no upgrade is open: the watchdog ends")
			return exitDone
		case lost:
			d.log.Warn("the lease was not renewed: the runner is lost, closing", "after", d.after)
			if d.close(ctx, func() bool { _, lost := d.look(ctx); return lost }) == exitDone {
				return exitDone
			}
		}
		select {
		case <-ctx.Done():
			return exitInterrupted
		case <-time.After(vigilance):
		}
	}
}

// look reads the Lease. What cannot be read is open, and nobody is lost: the runner may well go on.
func (d *watchdog) look(ctx context.Context) (open, lost bool) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	open, still, err := d.vigil.Look(ctx)
	if err != nil {
		d.log.Warn("look at the lease: trying again", "error", err)
		return true, false
	}
	d.seen.Store(time.Now().UnixNano())
	return open, open && still >= d.after
}

// ready says that the Lease can be read.
func (d *watchdog) ready() bool { return time.Since(time.Unix(0, d.seen.Load())) < fresh }

func (d *watchdog) answer(w http.ResponseWriter, _ *http.Request) {
	if !d.ready() {
		http.Error(w, "the lease cannot be read", http.StatusServiceUnavailable)
	}
}

// serve answers the kubelet's probe.
func (d *watchdog) serve(ctx context.Context, address string) (stop func(), err error) {
	mux := http.NewServeMux()
	mux.HandleFunc(cluster.WatchdogReady, d.answer)
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for the kubelet's probe: %w", err)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			d.log.Error("answer the kubelet's probe", "error", err)
		}
	}()
	return func() { _ = server.Close() }, nil
}

// guard says whether a watchdog is wanted and can be had. What is missing is a warning, or, where it is required, a fault.
func guard(ctx context.Context, c config.Config, dog cluster.Watchdog) (on bool, warnings []string, err error) {
	if c.Watchdog == config.GuardOff {
		return false, nil, nil
	}
	missing, err := dog.Missing(ctx)
	switch {
	case err == nil && len(missing) == 0:
		return true, nil, nil
	case err != nil && c.Watchdog == config.GuardRequired:
		return false, nil, err
	case err != nil:
		missing = []string{err.Error()}
	}
	what := strings.Join(missing, ", and ")
	if c.Watchdog == config.GuardRequired {
		f := plan.Failf(plan.FaultInput, "", "watchdog: required, and it lacks %s", what)
		f.Next = "give what is missing, or set watchdog: auto, then rerun"
		return false, nil, f
	}
	return false, []string{"no watchdog: it lacks " + what +
		". If the runner is lost, users may stay on gray until the post step, finally, gray-upgrade close or the next run closes; watchdog: off silences this"}, nil
}
