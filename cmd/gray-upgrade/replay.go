package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
	"github.com/gray-upgrade/gray-upgrade/internal/replay"
)

// replayCommand judges the evidence of an earlier run again. It needs no cluster.
func replayCommand(args []string, w world) int {
	file, thresholds, err := replayArgs(args)
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
	f, err := os.Open(name)
	if err != nil {
		return replay.Result{}, err
	}
	defer func() { _ = f.Close() }()
	return replay.Replay(f, func(l judge.Limits) (judge.Limits, error) {
		if thresholds == "" {
			return l, nil
		}
		return config.Thresholds(thresholds, l)
	})
}

// replayArgs are the evidence file and, with --thresholds, other limits.
func replayArgs(args []string) (file, thresholds string, err error) {
	for len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		if file != "" {
			return "", "", fmt.Errorf("replay takes one file, and there is a second one: %s", shown(args[0]))
		}
		file, args = args[0], args[1:]
	}
	l := readFlags(args, nil)
	for _, in := range l.inputs {
		if in.Key != "thresholds" {
			return "", "", fmt.Errorf("replay takes no --%s; allowed: replay FILE, and --thresholds with limits other than the run had", in.Key)
		}
		thresholds = in.Value
	}
	if err := l.wrong(nil); err != nil {
		return "", "", err
	}
	if file == "" {
		return "", "", errors.New("replay needs the evidence file of a run, for example gray-upgrade-evidence/UPGRADE-ID/evidence.jsonl: gray-upgrade replay FILE")
	}
	return file, thresholds, nil
}
