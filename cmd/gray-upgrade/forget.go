package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
	"github.com/gray-upgrade/gray-upgrade/internal/state"
)

// forgetCommand deletes the Lease of a service, and with it holds, passes and history. Nothing may be under way or left.
func forgetCommand(ctx context.Context, args []string, w world) int {
	var holds string
	s, code := begin("forget", args, w, map[string]*string{"holds": &holds}, parseTarget)
	if s == nil {
		return code
	}
	s.looks = true
	cl, err := connect(s.config, s.log)
	if err != nil {
		return s.refuse(err)
	}
	lease := cl.lease(s.config.Service, s.host.Identity(), s.log)
	if err := forget(ctx, lease, holds == "true"); err != nil {
		return s.refuse(explained(cl, err))
	}
	s.host.Print(fmt.Sprintf("forgotten: nothing is recorded of service %s/%s any more", cl.namespace, s.config.Service))
	return exitDone
}

// forget deletes the Lease that it takes; a run that lives is named and left alone.
func forget(ctx context.Context, lease *state.Lease, holds bool) error {
	if err := finished(ctx, lease); err != nil {
		return err
	}
	_, record, err := lease.Acquire(ctx, false)
	if err != nil {
		return err
	}
	if err := errors.Join(unfinished(record, lease), forgettable(record, holds, lease.Command("forget --holds=true"))); err != nil {
		return errors.Join(err, lease.Release(context.WithoutCancel(ctx)))
	}
	return lease.Forget(context.WithoutCancel(ctx))
}

// finished refuses a service with an upgrade that nobody brought home, or that lives, before its Lease is taken: a run that
// only paused must find it untaken.
func finished(ctx context.Context, lease *state.Lease) error {
	record, holder, err := lease.Load(ctx)
	if err != nil || holder != nil { // who holds it is told by who wants it
		return err
	}
	return unfinished(record, lease)
}

func unfinished(r plan.Record, lease *state.Lease) error {
	if !r.Open {
		return nil
	}
	f := plan.Failf(plan.FaultRefused, "", "the upgrade of run %s is not finished: its record is what brings users home", r.Identity.Run)
	f.Next = "bring it home first: " + lease.Command("close")
	return f
}

// forgettable refuses to forget holds that nobody asked to drop.
func forgettable(r plan.Record, holds bool, command string) error {
	if len(r.Holds) == 0 || holds {
		return nil
	}
	f := plan.Failf(plan.FaultRefused, "", "%d images are on hold, the last one %s: forgetting would let them to users again", len(r.Holds), r.Holds[len(r.Holds)-1].Digest)
	f.Next = "test them offline first, or forget their holds as well: " + command
	return f
}
