package plan

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const digest = "sha256:1111"

func TestDecide(t *testing.T) {
	at := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	held := Record{Holds: []Hold{{Digest: digest, Template: "t1", Image: "shop:v2", At: at, Why: "errors"}}}
	passed := held
	passed.Passes = []Pass{{Digest: digest, At: at.Add(time.Hour)}}
	passedBefore := held
	passedBefore.Passes = []Pass{{Digest: digest, At: at.Add(-time.Hour)}}
	promoted := held
	promoted.History = []Ended{{Digest: digest, Outcome: Promoted}}
	running := Observed{Production: Workload{Digest: "sha256:0000"}, Current: "t0", Wanted: "t1"}
	there := Observed{Production: Workload{Digest: digest}, Current: "t1", Wanted: "t1"}
	otherParameters := Observed{Production: Workload{Digest: digest}, Current: "t0", Wanted: "t2"}
	for _, tt := range []struct {
		name      string
		o         Observed
		r         Record
		digest    string
		ignore    string
		unchanged bool
		refused   bool
	}{
		{"a new image", running, Record{}, digest, "", false, false},
		{"not known yet", running, held, "", "", false, false},
		{"runs already", there, Record{}, digest, "", true, false},
		{"same image, other parameters", otherParameters, Record{}, digest, "", false, false},
		{"held", running, held, digest, "", false, true},
		{"held in another template", otherParameters, held, digest, "", false, false},
		{"held and passed since", running, passed, digest, "", false, false},
		{"held again after the pass", running, passedBefore, digest, "", false, true},
		{"promoted before", running, promoted, digest, "", false, false},
		{"held, ignored with a reason", running, held, digest, "urgent", false, false},
		{"another digest", running, held, "sha256:2222", "", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			unchanged, err := Decide(tt.o, tt.r, tt.digest, tt.ignore)
			assert.Equal(t, tt.unchanged, unchanged)
			if !tt.refused {
				require.NoError(t, err)
				return
			}
			var f *Failure
			require.ErrorAs(t, err, &f)
			assert.Equal(t, FaultRefused, f.Fault)
			assert.Contains(t, f.Next, "offline-test pass")
		})
	}
}

func TestLeftOver(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    Observed
		r    Record
		want Reason
		left bool
	}{
		{"nothing", Observed{}, Record{}, "", false},
		{"an open record", Observed{}, Record{Open: true}, ReasonInterrupted, true},
		{"gray stands, no record", Observed{Gray: Workload{Exists: true}}, Record{}, ReasonInterrupted, true},
		{"a weight, no record", Observed{Weight: 5}, Record{}, ReasonInterrupted, true},
		{"marks on production", Observed{Touched: true}, Record{}, ReasonInterrupted, true},
		{"an anomaly stays one", Observed{Weight: 5}, Record{Open: true, Closing: ReasonAnomaly}, ReasonAnomaly, true},
	} {
		why, left := LeftOver(tt.o, tt.r)
		assert.Equal(t, tt.left, left, tt.name)
		assert.Equal(t, tt.want, why, tt.name)
	}
}

// TestAHoldThatWasIgnoredIsInTheHistory, whoever closes the record, and only in that of the run that ignored it.
func TestAHoldThatWasIgnoredIsInTheHistory(t *testing.T) {
	at := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	h := Hold{Digest: digest, At: at}
	r := Record{Ignored: h.Ignored("urgent fix, approved by kim")}
	r.End(Ended{Outcome: RolledBack, Reason: "errors"})
	r.End(Ended{Outcome: Closed, Reason: "node lost"})
	r.Ignored = h.Ignored("again")
	r.End(Ended{Outcome: Promoted})
	assert.Equal(t, "hold of sha256:1111 since 2026-05-04T03:02:01Z ignored: urgent fix, approved by kim; errors", r.History[0].Reason)
	assert.Equal(t, "node lost", r.History[1].Reason)
	assert.Equal(t, "hold of sha256:1111 since 2026-05-04T03:02:01Z ignored: again", r.History[2].Reason)
	assert.Empty(t, r.Ignored)
	assert.LessOrEqual(t, len(h.Ignored(strings.Repeat("x", 1000))), 303)
}

func TestTheRecordStaysSmall(t *testing.T) {
	var r Record
	for range 500 {
		r.AddHold(Hold{Why: strings.Repeat("é", 1000)})
		r.AddPass(Pass{Why: strings.Repeat("x", 1000)})
		r.End(Ended{Reason: strings.Repeat("x", 1000)})
	}
	assert.Len(t, r.Holds, 50)
	assert.Len(t, r.Passes, 20)
	assert.Len(t, r.History, 20)
	assert.LessOrEqual(t, len(r.Holds[0].Why), 304)
}
