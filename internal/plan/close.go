package plan

// Close returns what to do next to bring users home, given only what is seen now and why the upgrade ended. The
// engine does the first step, looks again and asks again; an empty answer means that users are home and nothing of
// ours is left. floor is the percent of production's pods that count as usable (at least one pod).
//
// The first rule that matches wins. Two things hold for every answer: gray is never raised while a baseline production
// pod serves, and no side with users is left empty while the other one serves. The rules come out of a model that
// runs every starting state with drift after any step (close_test.go). A rule of "the weight with the least overload"
// alone is a trap: it raises a bad version from 5 to 25 when one of four production pods is down.
func Close(o Observed, why Reason, floor int) []Step {
	for _, rule := range []func(Observed, Reason, int) []Step{
		feedTheHungry, finishForward, leaveForeignAlone, homeToBaseline, undoOurs, removeGray,
	} {
		if steps := rule(o, why, floor); steps != nil {
			return steps
		}
	}
	return nil
}

// feedTheHungry (a): a side with users and no serving endpoint: move them to the side that has one, production first.
func feedTheHungry(o Observed, _ Reason, _ int) []Step {
	grayServes, productionServes := o.Gray.Ready > 0, serves(o.Production)
	switch {
	case o.Weight > 0 && !grayServes && productionServes:
		return shift(0, "gray has no serving pod")
	case o.Weight < full && !productionServes && grayServes:
		return shift(full, "production has no serving pod")
	}
	return nil
}

// finishForward (b): past the point of no return only an anomaly goes back.
func finishForward(o Observed, why Reason, floor int) []Step {
	if !o.Promoted || why == ReasonAnomaly || o.Production.Template == Baseline {
		return nil
	}
	switch {
	case o.Weight > 0 && o.Production.Unserved:
		return await(unserved)
	case o.Weight > 0 && o.Production.Ready < usable(o.Production.Replicas, floor):
		return await("production has too few ready pods of the new version")
	case o.Weight > 0:
		return shift(0, "the upgrade is promoted")
	}
	return nil
}

// unserved is what a person must do who deleted it.
const unserved = "production's Service is gone, and gray has its users: apply it again"

// leaveForeignAlone: production runs a template that is neither the baseline nor ours. It is never written; users go
// there once it serves.
func leaveForeignAlone(o Observed, _ Reason, _ int) []Step {
	if o.Production.Template != Foreign || o.Weight == 0 {
		return nil
	}
	if o.Production.Ready == 0 {
		return await("production runs a template of somebody else's and no pod of it is ready")
	}
	return shift(0, "production runs a template of somebody else's")
}

// homeToBaseline (c, d): with enough baseline pods users go home at once; with too few, as many as fit, and gray never
// gets more than it has.
func homeToBaseline(o Observed, _ Reason, floor int) []Step {
	if o.Production.Template != Baseline || o.Weight == 0 {
		return nil
	}
	switch {
	case o.Production.Old > 0 && o.Production.Paused:
		return await("production cannot roll back while its Deployment is paused: resume it")
	case o.Production.Old > 0:
		return await("production is rolling back")
	case o.Production.Ready >= usable(o.Production.Replicas, floor):
		return shift(0, "production is usable")
	case o.Production.Unserved:
		return await(unserved)
	case o.Production.Ready == 0:
		return await("production has no ready pod")
	}
	least := balanceWeight(o.Gray.Ready, o.Production.Ready)
	if least < o.Weight {
		return shift(least, "production is below its floor: the least overload that does not raise gray")
	}
	return await("production is below its floor")
}

// undoOurs (e): production is on our template and must not stay: users to gray where gray can take them, then back.
// UndoRoll stops production pods, so it waits until the data plane serves all of it from gray.
func undoOurs(o Observed, why Reason, _ int) []Step {
	if o.Production.Template != Ours || (o.Promoted && why != ReasonAnomaly) {
		return nil
	}
	if o.Gray.Ready > 0 && o.Production.Old == 0 && (o.Weight < full || o.Served != full) {
		return shift(full, "production is on the new template and must go back")
	}
	return []Step{{Kind: UndoRoll, Phase: PhaseClose, Weight: o.Weight}}
}

// removeGray (f): users are home; when the data plane says so and nothing is under way, everything of ours goes.
func removeGray(o Observed, _ Reason, _ int) []Step {
	switch {
	case o.Weight > 0 && !o.Production.Exists:
		return await("production's Deployment is gone, and gray has its users: apply it again")
	case o.Weight > 0:
		return await("neither side can take the users of the other")
	case !o.Gray.Exists && !o.Touched:
		return nil
	case o.Served != 0:
		return shift(0, "the data plane has not been seen serving it")
	case !o.Drained:
		return []Step{{Kind: Silence, Phase: PhaseClose, Side: Gray}}
	}
	return []Step{{Kind: RemoveGray, Phase: PhaseClose}}
}

// usable is the least number of pods that count as a usable production.
func usable(replicas int32, floor int) int32 {
	return max(1, (replicas*int32(floor)+full-1)/full) //nolint:gosec // a percent
}

func serves(w Workload) bool { return w.Ready+w.Old > 0 }

func shift(weight int, why string) []Step {
	return []Step{{Kind: ShiftTraffic, Phase: PhaseClose, Weight: weight, Why: why}}
}

func await(why string) []Step { return []Step{{Kind: Await, Phase: PhaseClose, Why: why}} }
