package plan

import "github.com/gray-upgrade/gray-upgrade/internal/config"

// BuildOffline returns an offline test in order: the part of an upgrade that no user ever sees, and the user's own test
// Job, where there is one. Gray gets no production traffic at any time. It fails with FaultInput where nothing would be
// tested: pods that are ready have passed no test.
func BuildOffline(c config.Config, o Observed) (Plan, error) {
	if o.Production.Replicas == 0 {
		return Plan{}, Failf(FaultInput, "", "production has 0 replicas: gray is made from it, and checked against it; scale it up first")
	}
	if c.OfflineTestJob == "" && !c.ProvesGray() {
		return Plan{}, Failf(FaultInput, "", "offline-test run has nothing to test with; give checks for gray in the config file, a Job with offline-test-job, or both")
	}
	first := firstSize(c, o)
	b := &builder{phase: PhaseStart}
	b.add(Step{Kind: StartGray, Replicas: first})
	b.add(Step{Kind: Identify, Replicas: first})
	b.in(PhaseVerify).add(Step{Kind: VerifyGray})
	b.add(Step{Kind: VerifyRoute})
	b.in(PhaseOffline)
	if c.OfflineTestJob != "" {
		b.add(Step{Kind: RunTest})
	}
	b.add(Step{Kind: RecordPass})
	b.in(PhaseRemove).add(Step{Kind: RemoveGray})
	return Plan{Steps: b.steps}, nil
}
