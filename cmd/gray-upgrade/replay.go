package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
	"github.com/gray-upgrade/gray-upgrade/internal/replay"
)

// replayCommand judges the evidence of an earlier run again. It needs no cluster.
func replayCommand(args []string, w world) int {
	read := readFlags(args, pageOf("replay"), nil)
	if read.help {
		fmt.Fprint(w.Stdout, commandHelp("replay"))
		return exitDone
	}
	file, thresholds, err := replayArgs(read)
	if err != nil {
		return newSession(w).refuse(plan.Failf(plan.FaultInput, "", "%w", err))
	}
	result, err := replayFile(file, thresholds)
	if err != nil {
		return newSession(w).refuse(plan.Failf(plan.FaultInput, "", "replay %s: %w", shown(file), err))
	}
	newSession(w).host.Print(result.String())
	if len(result.Differences) > 0 {
		return exitImage
	}
	return exitDone
}

func replayFile(name, thresholds string) (replay.Result, error) {
	f := io.NopCloser(os.Stdin)
	if name != "-" {
		var err error
		if f, err = os.Open(name); err != nil {
			return replay.Result{}, err
		}
	}
	defer func() { _ = f.Close() }()
	return replay.Replay(f, func(l judge.Limits) (judge.Limits, error) { return changed(l, thresholds) })
}

// changed are the limits of a run, with those in place of them that --thresholds names.
func changed(l judge.Limits, thresholds string) (judge.Limits, error) {
	if thresholds == "" {
		return l, nil
	}
	return config.Thresholds(thresholds, l)
}

// replayArgs are the evidence file and, with --thresholds, other limits.
func replayArgs(l line) (file, thresholds string, err error) {
	for _, in := range l.inputs {
		thresholds = in.Value
	}
	_, err = changed(judge.Defaults(), thresholds)
	switch len(l.files) {
	case 0:
		err = errors.Join(err, errors.New("replay needs the evidence file of a run, for example gray-upgrade-evidence/UPGRADE-ID/evidence.jsonl: gray-upgrade replay FILE"))
	case 1:
		file = l.files[0]
	default:
		err = errors.Join(err, fmt.Errorf("replay takes one file, and there is a second one: %s", shown(l.files[1])))
	}
	return file, thresholds, l.wrong(err)
}
