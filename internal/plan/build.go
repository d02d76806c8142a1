package plan

import (
	"fmt"
	"slices"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
)

// Build returns the upgrade in order: the method of patent CN113778491A, one line a step; the numbers in the
// comments are the patent's. It fails with FaultInput where the plan cannot be made of what is seen, or not in time.
//
// A watchdog that is on is there before the first user is on gray.
//
// Gray is sized before its weight rises. Up to the weight at which both sides' nodes carry the same, gray keeps its
// first size; above it, gray grows first, so that no gray pod carries more than a production pod did before.
func Build(c config.Config, o Observed) (Plan, error) {
	if o.Production.Replicas == 0 {
		return Plan{}, Failf(FaultInput, "", "production has 0 replicas: there is nothing to upgrade under traffic; scale it up first")
	}
	first := firstSize(c, o)
	b := &builder{phase: PhaseStart}
	b.add(Step{Kind: StartGray, Replicas: first}) // 1: the new image, in gray mode, no user
	b.add(Step{Kind: Identify, Replicas: first})  // 2b: a held digest goes no further
	b.in(PhaseVerify).add(Step{Kind: VerifyGray}) // 2: every gray pod, every test account
	b.add(Step{Kind: VerifyRoute})                //    and the way to it through the gateway
	b.in(PhaseShift).add(Step{Kind: PinScaling, Why: "production keeps its pods: they are the way back"})
	if c.Watchdog != config.GuardOff {
		b.add(Step{Kind: Guard}) // not the patent's: a runner that is lost leaves nobody on gray
	}
	balance := balanceWeight(first, o.Production.Replicas)
	for i, w := range weights(c.Steps, balance) { // 3, 3b and 4
		size := max(first, PodsFor(w, o.Production.Replicas))
		if w > balance {
			b.in(growPhase(w)).add(Step{Kind: GrowGray, Weight: w, Replicas: size}) // 4: nodes before weight
			b.add(Step{Kind: VerifyGray})                                           // 2: also those that joined
		}
		if w == full && i > 0 {
			b.in(shiftPhase(w)).add(Step{Kind: PinScaling, Why: "production keeps its pods while it is idle, also those that joined since"})
		}
		b.in(shiftPhase(w)).add(Step{Kind: ShiftTraffic, Weight: w})
		b.add(Step{Kind: Watch, Weight: w, Side: Gray, Duration: c.StepDuration, Balance: w == balance})
	}
	b.in(PhaseAll).add(Step{Kind: Silence, Weight: full, Side: Production, Duration: c.Drain}) // 4: all of it on gray
	b.in(PhaseRoll).add(Step{Kind: Roll, Weight: full})                                        // 5: the same digest, in production mode
	b.add(Step{Kind: VerifyProduction, Weight: full})
	b.add(Step{Kind: Promote, Weight: full})
	for _, w := range c.ReturnSteps { // 5: traffic back, watched like the way up
		b.in(PhaseReturn).add(Step{Kind: ShiftTraffic, Weight: w})
		b.add(Step{Kind: Watch, Weight: w, Side: Production, Duration: c.StepDuration})
	}
	b.in(PhaseRemove).add(Step{Kind: Silence, Side: Gray, Duration: c.Drain})
	b.add(Step{Kind: RemoveGray})
	p := Plan{Steps: b.steps}
	return p, p.inTime(c)
}

// inTime refuses a plan that cannot end in time even if no step takes longer than it must.
func (p Plan) inTime(c config.Config) error {
	if c.Timeout == 0 || p.Least() < c.Timeout {
		return nil
	}
	watches := 0
	for _, s := range p.Steps {
		if s.Kind == Watch {
			watches++
		}
	}
	f := Failf(FaultInput, "", "timeout %s: this plan takes at least %s (%d watches of step-duration %s, and two drains of %s)",
		c.Timeout, p.Least(), watches, c.StepDuration, c.Drain)
	f.Next = fmt.Sprintf("give a timeout well above %s, a shorter step-duration or fewer steps, then rerun", p.Least())
	return f
}

// Least is the time that the plan takes where nothing has to be waited for but what it says itself.
func (p Plan) Least() time.Duration {
	var all time.Duration
	for _, s := range p.Steps {
		all += s.Duration
	}
	return all
}

// PeakPods is the most pods of the service that live at one time: production with its surge, and gray at full size.
func PeakPods(c config.Config, o Observed) int32 {
	return o.Production.Replicas + o.Surge + max(firstSize(c, o), PodsFor(full, o.Production.Replicas))
}

const full = 100 // percent

// firstSize is the user's number of gray pods, or a tenth of production, at least one.
func firstSize(c config.Config, o Observed) int32 {
	if c.GrayReplicas > 0 {
		return c.GrayReplicas
	}
	return max(1, o.Production.Replicas/10)
}

// balanceWeight is the percent at which a gray pod and a production pod carry the same.
func balanceWeight(gray, production int32) int {
	return int(gray) * full / int(gray+production)
}

// PodsFor is the number of gray pods that carry a weight with no more load on each than a production pod had before.
func PodsFor(weight int, production int32) int32 {
	return (int32(weight)*production + full - 1) / full //nolint:gosec // a weight is 0..100
}

// weights are the user's steps with the balance added and the last stretch to 100 filled in. Steps that end in 100
// are the user's whole wish (the fast lane of an urgent fix) and are taken as they are.
func weights(steps []int, balance int) []int {
	if len(steps) > 0 && steps[len(steps)-1] == full {
		return steps
	}
	all := append(slices.Clone(steps), balance, 75, full)
	slices.Sort(all)
	all = slices.Compact(all)
	return slices.DeleteFunc(all, func(w int) bool { return w <= 0 })
}

func growPhase(weight int) Phase {
	if weight == full {
		return PhaseAll
	}
	return PhaseGrow
}

func shiftPhase(weight int) Phase {
	if weight == full {
		return PhaseAll
	}
	return PhaseShift
}

type builder struct {
	phase Phase
	steps []Step
}

func (b *builder) in(p Phase) *builder {
	b.phase = p
	return b
}

func (b *builder) add(s Step) {
	s.Phase = b.phase
	b.steps = append(b.steps, s)
}

// String is the step in a few words, as the log, the summary and a refused second run show it.
func (s Step) String() string {
	switch s.Kind {
	case StartGray:
		return fmt.Sprintf("start %d gray %s", s.Replicas, pods(s.Replicas))
	case Identify:
		return "identify the image by its digest"
	case GrowGray:
		return fmt.Sprintf("grow gray to at least %d %s, before weight %d", s.Replicas, pods(s.Replicas), s.Weight)
	case VerifyGray:
		return "verify every gray pod"
	case VerifyRoute:
		return "verify the route to gray"
	case PinScaling:
		return "pin the HPA, if there is one"
	case Guard:
		return "start the watchdog"
	case ShiftTraffic:
		return fmt.Sprintf("weight %d", s.Weight)
	case Watch:
		return fmt.Sprintf("watch %s at weight %d for %s", s.Side, s.Weight, s.Duration.Round(time.Millisecond))
	case Silence:
		return fmt.Sprintf("wait until %s serves nothing", s.Side)
	case Roll:
		return "roll production to the same image"
	case VerifyProduction:
		return "verify every production pod"
	case Promote:
		return "mark as promoted"
	case RemoveGray:
		return "remove gray"
	case RunTest:
		return "run the offline test's Job"
	case RecordPass:
		return "record the pass"
	case UndoRoll:
		return "give production its old template back"
	case Await:
		return "wait: " + s.Why
	}
	return string(s.Kind)
}

func pods(n int32) string {
	if n == 1 {
		return "pod"
	}
	return "pods"
}
