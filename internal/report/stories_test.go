package report

import (
	"math"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const newDigest = "sha256:9f8e7d6c5b4a00112233445566778899aabbccddeeff00112233445566778899"

// teller builds a story entry by entry, each beginning where the last one ended.
type teller struct{ plan.Story }

func story() *teller {
	return &teller{plan.Story{
		Identity:  plan.Identity{Run: "shop/deploy#412.1", URL: "https://ci.example.com/shop/deploy/runs/412", Actor: "mira"},
		UpgradeID: "u-7f3a",
		Target:    plan.Target{Namespace: "shop", Deployment: "web", Service: "web", Route: "web"},
		From:      "registry.example.com/shop/app:v1@sha256:1a2b3c4d5e6f00112233445566778899aabbccddeeff00112233445566778899",
		To:        "registry.example.com/shop/app:v2@" + newDigest,
		Begin:     noon,
		End:       noon,
		Evidence:  "gray-upgrade-evidence/u-7f3a",
		PeakPods:  7,
	}}
}

// did adds an entry that took that long and left that weight.
func (t *teller) did(took time.Duration, weight int, s plan.Step, more ...func(*plan.Entry)) *teller {
	e := plan.Entry{Step: s, Begin: t.End, End: t.End.Add(took), Weight: weight}
	for _, change := range more {
		change(&e)
	}
	t.Entries = append(t.Entries, e)
	t.End, t.Weight = e.End, weight
	return t
}

func (t *teller) proved(pods ...string) *teller {
	for _, pod := range pods {
		t.Proofs = append(t.Proofs,
			plan.Proof{Pod: pod, Side: plan.Gray, Account: "tester", Check: "home", Verdict: judge.Pass, Got: "200", Want: "200", Took: 12 * time.Millisecond},
			plan.Proof{Pod: pod, Side: plan.Gray, Account: "buyer", Check: "cart", Verdict: judge.Pass, Got: "200, $.account = buyer", Want: "200, $.account = buyer", Took: 31 * time.Millisecond})
	}
	return t
}

func served(gray, production float64) func(*plan.Entry) {
	return func(e *plan.Entry) { e.Served = &plan.Share{Gray: gray, Production: production, Replicas: 2} }
}

func judged(checks ...judge.Check) func(*plan.Entry) {
	return func(e *plan.Entry) { e.Checks = checks }
}

func noted(notes ...string) func(*plan.Entry) { return func(e *plan.Entry) { e.Notes = notes } }

func broken(why string) func(*plan.Entry) { return func(e *plan.Entry) { e.Error = why } }

func watch(weight int) plan.Step {
	return plan.Step{Kind: plan.Watch, Phase: plan.PhaseShift, Weight: weight, Side: plan.Gray, Duration: time.Minute}
}

func shift(phase plan.Phase, weight int) plan.Step {
	return plan.Step{Kind: plan.ShiftTraffic, Phase: phase, Weight: weight}
}

var (
	goodErrors = judge.Check{
		Name: "errors", Verdict: judge.Pass, Got: 0.04, Limit: 0.2, Unit: "percentage points", OnTrial: "0.10 %", Reference: "0.06 %",
		Why:   "gray answered 5xx to 1 of 1003 requests (0.10 %, limit 0.2 points more than production); production 2 of 3611 (0.06 %)",
		Trend: &judge.Trend{Unit: "% errors", OnTrial: []float64{0, 0, 0.5, 0}, Reference: []float64{0, 0.1, 0, 0.1}},
	}
	badErrors = judge.Check{
		Name: "errors", Verdict: judge.Fail, Got: 29.8, Limit: 0.2, Unit: "percentage points", OnTrial: "30.0 %", Reference: "0.25 %",
		Evidence: 1503, Need: 125, Where: "web-gray",
		Why:   "gray answered 5xx to 61 of 203 requests (30.0 %, limit 0.2 points more than production); production 2 of 811 (0.25 %); the odds against chance are 1503 : 1, it takes 125 : 1",
		Trend: &judge.Trend{Unit: "% errors", OnTrial: []float64{0, 5, 28, 31, 30, math.NaN()}, Reference: []float64{0, 1, 0, 0, 0.5, 0}},
	}
	newLogs = judge.Check{
		Name: "new-error-logs", Verdict: judge.Fail, Got: 1, Limit: 0, Unit: "templates", OnTrial: "61 lines", Reference: "0 lines",
		Evidence: 2e7, Need: 1000, Where: "Pod web-gray-7c9f-x2x",
		Why: "gray wrote error lines that production does not, 1 different (limit 0); the most telling, 61 times: ERROR payment 17: nil pointer",
		Lines: []judge.LogTemplate{
			{Template: "ERROR payment *: nil pointer", Line: "ERROR payment 17: nil pointer", Count: 60, Pod: "web-gray-7c9f-x2x", Pods: []string{"web-gray-7c9f-x2x", "web-gray-7c9f-b7k"}, First: noon.Add(75 * time.Second), Evidence: 2e7},
			{Template: "ERROR <b>", Line: "ERROR <b>|`x`\x1b[31m", Count: 1, Pod: "web-gray-7c9f-x2x"},
		},
	}
	noMetrics = judge.Check{Name: "memory", Verdict: judge.Inconclusive, Limit: 1.5, Unit: "x", Absent: true, Why: "metrics.k8s.io is not there: not measured"}
)

func (t *teller) toWeight20() *teller {
	return t.
		did(4200*time.Millisecond, 0, plan.Step{Kind: plan.StartGray, Phase: plan.PhaseStart, Replicas: 1}).
		did(900*time.Millisecond, 0, plan.Step{Kind: plan.VerifyGray, Phase: plan.PhaseVerify}).
		did(700*time.Millisecond, 0, plan.Step{Kind: plan.VerifyRoute, Phase: plan.PhaseVerify}).
		did(2300*time.Millisecond, 5, shift(plan.PhaseShift, 5), served(3, 57)).
		did(time.Minute, 5, watch(5), served(601, 11390), judged(goodErrors, noMetrics)).
		did(2100*time.Millisecond, 20, shift(plan.PhaseShift, 20), served(12, 48))
}

func promoted() plan.Story {
	t := story().toWeight20().proved("web-gray-7c9f-x2x", "web-gray-7c9f-k8d", "web-gray-7c9f-q1z")
	t.Warnings = []string{"metrics.k8s.io is not there: CPU and memory are not judged", "no gray parameters are set: queue consumers and schedulers of gray run as in production"}
	t.did(time.Minute, 20, watch(20), served(2410, 9580), judged(goodErrors)).
		did(6*time.Second, 20, plan.Step{Kind: plan.GrowGray, Phase: plan.PhaseGrow, Weight: 100, Replicas: 3}, noted("2 pods joined and were verified")).
		did(2*time.Second, 100, shift(plan.PhaseAll, 100), served(60, 0)).
		did(10*time.Second, 100, plan.Step{Kind: plan.Silence, Phase: plan.PhaseAll, Weight: 100, Side: plan.Production, Duration: 10 * time.Second}).
		did(9*time.Second, 100, plan.Step{Kind: plan.Roll, Phase: plan.PhaseRoll, Weight: 100}).
		did(time.Second, 100, plan.Step{Kind: plan.Promote, Phase: plan.PhaseRoll, Weight: 100}).
		did(2*time.Second, 0, shift(plan.PhaseReturn, 0), served(0, 60)).
		did(12*time.Second, 0, plan.Step{Kind: plan.RemoveGray, Phase: plan.PhaseRemove})
	t.Outcome, t.Compared = plan.Promoted, 4
	t.Changes = []plan.Change{
		{Object: "Deployment web", Field: "spec.template.spec.containers[web].image", Before: `"registry.example.com/shop/app:v1"`, After: `"registry.example.com/shop/app:v2@` + newDigest + `"`},
		{Object: "Deployment web", Field: "spec.template.spec.containers[web].env[FEATURES].value", After: "(not shown)"},
	}
	return t.Story
}

func rolledBack() plan.Story {
	t := story().toWeight20().proved("web-gray-7c9f-x2x")
	t.did(14*time.Second, 20, watch(20), served(203, 811), judged(goodErrors, badErrors, newLogs), broken("gray answered 5xx to 61 of 203 requests (30 %, limit 0.2 points more than production)")).
		did(400*time.Millisecond, 0, plan.Step{Kind: plan.ShiftTraffic, Phase: plan.PhaseClose, Why: "production is usable"}, served(0, 60)).
		did(11*time.Second, 0, plan.Step{Kind: plan.RemoveGray, Phase: plan.PhaseClose})
	t.Outcome, t.ClosedIn, t.Held, t.Compared = plan.RolledBack, 0.4, newDigest, 4
	t.Failure = &plan.Failure{
		Fault: plan.FaultImage, Step: watch(20),
		What:  "at weight 20 gray answered 5xx to 61 of 203 requests (30 %, limit 0.2 points more than production); production to 2 of 811 (0.2 %)",
		Where: "Deployment shop/web-gray (pod web-gray-7c9f-x2x), HTTPRoute shop/web",
		Done:  "gray traffic closed at 12:01:24 in 0.4 s; all users are on app:v1@sha256:1a2b3c4d5e6f",
		Next: "look at gray's logs in the evidence folder (gray is deleted); upgrade to a fixed image; or, to try this one again, test it offline: " +
			plan.OfflineTest(t.Target, newDigest) + "; then rerun",
		Checks: []judge.Check{badErrors, newLogs},
	}
	t.Met = judge.Traffic{Requests: 871, Errors: 64}
	t.Watched = &judge.Sample{
		OnTrial: judge.Numbers{Name: "gray", Logs: append(newLogs.Lines[:1:1],
			judge.LogTemplate{Template: "ERROR retry *", Line: "ERROR retry 3", Count: 9, Pods: []string{"web-gray-7c9f-b7k"}, First: noon.Add(70 * time.Second), Evidence: 1.5},
		)},
		Reference: judge.Numbers{Name: "production", Logs: []judge.LogTemplate{{Template: "ERROR retry *", Count: 4}}},
	}
	return t.Story
}

func passed() plan.Story {
	t := story().
		did(5*time.Second, 0, plan.Step{Kind: plan.StartGray, Phase: plan.PhaseStart, Replicas: 1}).
		did(1100*time.Millisecond, 0, plan.Step{Kind: plan.VerifyGray, Phase: plan.PhaseVerify}).
		did(34*time.Second, 0, plan.Step{Kind: plan.RunTest, Phase: plan.PhaseOffline}).
		did(100*time.Millisecond, 0, plan.Step{Kind: plan.RecordPass, Phase: plan.PhaseOffline},
			noted("recorded: offline-test run: 2 checks passed on 1 targets; Job web-offline-test succeeded in 34s")).
		did(3*time.Second, 0, plan.Step{Kind: plan.RemoveGray, Phase: plan.PhaseRemove}).
		proved("web-gray-7c9f-x2x")
	t.Outcome, t.Compared = plan.Passed, 4
	return t.Story
}

func accountFailure() plan.Story {
	t := story().
		did(5*time.Second, 0, plan.Step{Kind: plan.StartGray, Phase: plan.PhaseStart, Replicas: 3}).
		did(1100*time.Millisecond, 0, plan.Step{Kind: plan.VerifyGray, Phase: plan.PhaseVerify}, broken("pod web-gray-7c9f-k8d failed check cart as account buyer")).
		did(3*time.Second, 0, plan.Step{Kind: plan.RemoveGray, Phase: plan.PhaseClose}).
		proved("web-gray-7c9f-x2x", "web-gray-7c9f-k8d", "web-gray-7c9f-q1z")
	bad := &t.Proofs[3]
	bad.Verdict, bad.Got = judge.Fail, `500, body "internal error: account store"`
	t.Outcome, t.Held = plan.RolledBack, newDigest
	t.Failure = &plan.Failure{
		Fault: plan.FaultImage, Step: plan.Step{Kind: plan.VerifyGray, Phase: plan.PhaseVerify},
		What:  "1 of 3 gray pods failed check cart as account buyer: got 500, want 200",
		Where: "pod shop/web-gray-7c9f-k8d",
		Done:  "gray carried no user's request and is removed",
		Next:  "test app:v2@sha256:9f8e7d6c5b4a offline, record it with: gray-upgrade offline-test pass; then rerun",
	}
	return t.Story
}

func stuck() plan.Story {
	t := story().toWeight20().proved("web-gray-7c9f-x2x")
	t.did(8*time.Second, 20, watch(20), judged(badErrors), broken("gray answered 5xx to 61 of 203 requests")).
		did(5*time.Minute, 20, plan.Step{Kind: plan.ShiftTraffic, Phase: plan.PhaseClose, Why: "production is usable"}, broken("the weight is not confirmed: gateway replica traefik-1 did not answer for 5m0s"))
	t.Outcome = plan.Stuck
	t.Failure = &plan.Failure{
		Fault: plan.FaultImage, Step: watch(20),
		What:  "gray answered 5xx to 61 of 203 requests (30 %), and the close is not confirmed: gateway replica traefik-1 did not answer for 5m0s",
		Where: "Pod gateway/traefik-1, HTTPRoute shop/web",
		Done:  "weight 0 was written to HTTPRoute shop/web at 12:01:24; 1 of 2 gateway replicas serves it",
		Next:  "mend or delete Pod gateway/traefik-1, then run: gray-upgrade close --namespace shop --service web",
	}
	return t.Story
}

func refused() plan.Story {
	t := story()
	t.Outcome, t.To = plan.Refused, "registry.example.com/shop/app:v2"
	t.PeakPods, t.Evidence = 0, ""
	t.Failure = &plan.Failure{
		Fault: plan.FaultRefused, Step: plan.Step{Phase: plan.PhasePreflight},
		What:  "another run upgrades shop/web: shop/deploy#411.1, started by noor, at step watch gray at weight 20 for 1m0s since 11:58:02",
		Where: "Lease shop/gray-upgrade-web",
		Done:  "nothing was changed",
		Next:  "wait for https://ci.example.com/shop/deploy/runs/411, or end it with: gray-upgrade close --namespace shop --service web",
	}
	return t.Story
}

func running() plan.Story {
	t := story().toWeight20().proved("web-gray-7c9f-x2x").did(0, 20, watch(20))
	t.Entries[len(t.Entries)-1].End = time.Time{}
	t.End = time.Time{}
	return t.Story
}

func planned() plan.Story {
	t := story()
	t.Outcome, t.Evidence = plan.Planned, ""
	t.Plan.Steps = []plan.Step{
		{Kind: plan.StartGray, Phase: plan.PhaseStart, Replicas: 1},
		{Kind: plan.VerifyGray, Phase: plan.PhaseVerify},
		{Kind: plan.PinScaling, Phase: plan.PhaseShift, Why: "production keeps its pods: they are the way back"},
		shift(plan.PhaseShift, 5), watch(5),
	}
	return t.Story
}

// picture is the run that the README shows: a good version all the way, at the default steps.
func picture() plan.Story {
	t := story().
		did(8*time.Second, 0, plan.Step{Kind: plan.StartGray, Phase: plan.PhaseStart, Replicas: 1}).
		did(4*time.Second, 0, plan.Step{Kind: plan.VerifyGray, Phase: plan.PhaseVerify})
	for _, w := range []int{5, 20, 25} {
		t.did(2*time.Second, w, shift(plan.PhaseShift, w)).
			did(time.Minute, w, watch(w), served(float64(120*w), float64(120*(100-w))))
	}
	for _, w := range []int{50, 75, 100} {
		t.did(6*time.Second, t.Weight, plan.Step{Kind: plan.GrowGray, Phase: plan.PhaseShift, Weight: w}).
			did(2*time.Second, w, shift(plan.PhaseShift, w)).
			did(time.Minute, w, watch(w), served(float64(120*w), float64(120*(100-w))))
	}
	t.did(20*time.Second, 100, plan.Step{Kind: plan.Silence, Phase: plan.PhaseAll, Weight: 100, Side: plan.Production}).
		did(80*time.Second, 100, plan.Step{Kind: plan.Roll, Phase: plan.PhaseRoll, Weight: 100}, served(4000, 0))
	for _, w := range []int{50, 0} {
		t.did(2*time.Second, w, shift(plan.PhaseReturn, w)).
			did(time.Minute, w, plan.Step{Kind: plan.Watch, Phase: plan.PhaseReturn, Weight: w, Side: plan.Production, Duration: time.Minute},
				served(float64(120*w), float64(120*(100-w))))
	}
	t.did(time.Minute, 0, plan.Step{Kind: plan.RemoveGray, Phase: plan.PhaseRemove})
	t.Outcome = plan.Promoted
	return t.Story
}
