package config

import (
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
)

// Defaults returns what holds where the user says nothing: the only place where defaults are values. Key.Default says
// the same in words, and a test holds the two together.
func Defaults() Config {
	return Config{
		Bypass:       Refuse,
		Steps:        []int{5, 20, 50},
		StepDuration: 60 * time.Second,
		ReturnSteps:  []int{50, 0},
		Limits:       judge.Defaults(),
		GitOps:       Refuse,
		OfflineTest:  TestRequired,
		CloseFloor:   50,
		Drain:        10 * time.Second,
		Timeout:      30 * time.Minute,
		CloseTimeout: 5 * time.Minute,
		PodTimeout:   3 * time.Minute,
		Watchdog:     GuardAuto, WatchdogAfter: 30 * time.Second,
		LokiQuery: StandardLokiQuery,
		PodAccess: PortForward, Evidence: "gray-upgrade-evidence",
	}
}
