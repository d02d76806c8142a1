package plan

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Kept in the record: older entries are dropped.
const (
	keepHistory = 20
	keepHolds   = 50
	maxWhy      = 300 // bytes of a reason
)

// LeftOver says whether something of an earlier run must be brought home before anything else, and why that run is
// being closed: an anomaly it had found stays one.
func LeftOver(o Observed, r Record) (Reason, bool) {
	if !r.Open && !o.Gray.Exists && o.Weight == 0 && !o.Touched {
		return "", false
	}
	if r.Closing != "" {
		return r.Closing, true
	}
	return ReasonInterrupted, true
}

// DigestOf returns the digest of an image reference, "" where it has none.
func DigestOf(image string) string {
	_, digest, _ := strings.Cut(image, "@")
	return digest
}

// Decide says whether an image of this digest may be started: nil to go on, or a *Failure with FaultRefused while it is
// on hold. unchanged is true where production already runs exactly what is asked for.
func Decide(o Observed, r Record, digest, ignoreHold string) (unchanged bool, err error) {
	if digest == "" {
		return false, nil
	}
	if digest == o.Production.Digest && o.Current == o.Wanted && o.Wanted != "" {
		return true, nil
	}
	hold, held := r.Held(digest, o.Held)
	if !held || ignoreHold != "" {
		return false, nil
	}
	return false, refusal(hold, r.Target)
}

// Foretell says what on record a run of this image would meet beside its plan, in words. A tag tells its digest only once gray
// runs it, so that a hold on what it stood for is no more than a warning. What stands of a run that is under way is not left
// over.
func Foretell(o Observed, r Record, image string, running bool) []string {
	var told []string
	if _, left := LeftOver(o, r); left && !running {
		told = append(told, "an earlier run left work behind ("+r.Identity.Run+"): a run closes it first")
	}
	if DigestOf(image) != "" {
		return told
	}
	for _, h := range r.Holds {
		if h.Image == image && h.covers(o.Held) {
			told = append(told, fmt.Sprintf("%s is on hold since %s where it stands for %s: the run is refused unless the tag was moved since, or the image passes an offline test",
				h.Image, h.At.UTC().Format(time.RFC3339), h.Digest))
		}
	}
	return told
}

func refusal(h Hold, t Target) *Failure {
	f := Failf(FaultRefused, "Deployment "+t.Namespace+"/"+t.Deployment,
		"%s (%s) is on hold since %s: %s", h.Image, h.Digest, h.At.UTC().Format(time.RFC3339), h.Why)
	f.Next = fmt.Sprintf("test the image offline: %s; then rerun this job", OfflineTest(t, h.Digest))
	return f
}

// OfflineTest says how an image on hold gets its pass: by the tool, or by a person.
func OfflineTest(t Target, digest string) string {
	return OfflineRun(t) + "; or record a test of your own: " + t.Command("offline-test pass") + " --digest " + digest + " --by WHO --why TEXT"
}

// OfflineRun says how the tool tests an image offline.
func OfflineRun(t Target) string {
	return t.Command("offline-test run") + " (with the other inputs of this job)"
}

// Held returns the hold on a digest that would run in this template.
func (r Record) Held(digest, template string) (Hold, bool) {
	for _, h := range r.Holds {
		if h.Digest == digest && h.covers(template) {
			return h, true
		}
	}
	return Hold{}, false
}

// covers says that the hold is on whatever runs in this template.
func (h Hold) covers(template string) bool { return h.Template == template || h.Template == "" }

// AddHold puts a digest on hold, in place of an earlier hold of the same.
func (r *Record) AddHold(h Hold) {
	h.Why = clip(h.Why)
	r.Holds = slices.DeleteFunc(r.Holds, func(old Hold) bool { return old.Digest == h.Digest && old.Template == h.Template })
	r.Holds = last(append(r.Holds, h), keepHolds)
}

// AddPass records that a digest passed its offline test, which ends its holds. (No clocks are compared: a pass and a hold
// may come from machines that disagree.)
func (r *Record) AddPass(p Pass) {
	p.Why = clip(p.Why)
	r.Passes = last(append(r.Passes, p), keepHistory)
	r.Holds = slices.DeleteFunc(r.Holds, func(h Hold) bool { return h.Digest == p.Digest })
}

// PassByRerun takes a rerun by a person for the pass of the image that an earlier attempt of the same job put on hold. It
// returns false, and changes nothing, where this is none.
func (r *Record) PassByRerun(h Hold, by Identity, now time.Time) bool {
	if by.Rerun == "" || by.Run == h.Run || !strings.HasPrefix(h.Run, by.Rerun) || strings.HasSuffix(by.Actor, "[bot]") {
		return false
	}
	r.AddPass(Pass{Digest: h.Digest, By: by.Actor, At: now, Why: "rerun of " + h.Run + " (offline-test: rerun-accepts)"})
	return true
}

// Ignored says in the user's words why the hold does not count this time.
func (h Hold) Ignored(reason string) string {
	return clip(fmt.Sprintf("hold of %s since %s ignored: %s", h.Digest, h.At.UTC().Format(time.RFC3339), reason))
}

// End closes the record of a run with its outcome. A hold that the run ignored comes first in the reason; a promotion ends
// the holds on what was promoted.
func (r *Record) End(e Ended) {
	if e.Outcome == Promoted {
		r.Holds = slices.DeleteFunc(r.Holds, func(h Hold) bool { return h.Digest == e.Digest && h.covers(r.Template) })
	}
	if r.Ignored != "" {
		e.Reason = strings.TrimSuffix(r.Ignored+"; "+e.Reason, "; ")
	}
	e.Reason = clip(e.Reason)
	r.History = last(append(r.History, e), keepHistory)
	r.Open, r.Closing, r.Step, r.Ignored = false, "", "", ""
}

func last[E any](all []E, n int) []E { return all[max(0, len(all)-n):] }

// clip cuts a text to what the record keeps of it, never inside a UTF-8 sequence.
func clip(s string) string {
	if len(s) <= maxWhy {
		return s
	}
	return strings.ToValidUTF8(s[:maxWhy], "") + "…"
}

const (
	// grown is from which ratio on the load counts as grown: less is the noise of a measurement.
	grown = 1.1
	// crowded is how many times the load of a production pod at the start a gray pod may carry where gray may grow no
	// further. Production carries it, too, at the same bound. It is not nearer to 1 because ten seconds of a service with
	// a few requests a second are off by a fifth by chance, and without an HPA the bound is production's size: a healthy
	// upgrade must not end by that.
	crowded = 1.5
)

// GrayFor is how many gray pods the weight of a step needs: planned, or more where the service now gets over a tenth
// more requests a second than at the start (rate against base, both of all sides together; 0: not measured). The bound is
// that of the HPA, or production's size. Where even so each gray pod would carry more than `crowded` times what a
// production pod did, gray is too small: a *Failure with FaultInfrastructure, and the weight must not rise.
func GrayFor(s Step, o Observed, rate, base float64) (int32, error) {
	if base <= 0 || rate <= grown*base {
		return s.Replicas, nil
	}
	least := min(s.Replicas, PodsFor(s.Weight, o.Production.Replicas)) // the user may have asked for more than it takes
	load := float64(least) * rate / base                               // in pods of the start
	bound := max(o.MaxPods, o.Production.Replicas, s.Replicas)
	need := int32(math.Ceil(load - 1e-9))
	if load <= crowded*float64(bound) {
		return max(s.Replicas, min(need, bound)), nil
	}
	f := Failf(FaultInfrastructure, "", "gray needs %d pods for weight %d (%.0f requests/s now, %.0f at the start); the most there may be are %d",
		need, s.Weight, rate, base, bound)
	f.Next = fmt.Sprintf("raise the HPA's maxReplicas (without an HPA, production's replicas) to %d, or rerun when there is less load; the image is not blamed", need)
	return 0, f
}
