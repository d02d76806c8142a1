package plan

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
)

const digest = "sha256:1111"

func TestDecide(t *testing.T) {
	at := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	held := Record{Holds: []Hold{{Digest: digest, Template: "t1", Image: "shop:v2", At: at, Why: "errors"}}}
	with := func(acts ...func(*Record)) Record {
		var r Record
		for _, act := range acts {
			act(&r)
		}
		return r
	}
	fail := func(r *Record) {
		r.Template = "t1"
		r.AddHold(Hold{Digest: digest, Template: "t1", Image: "shop:v2", At: at, Why: "errors"})
	}
	pass := func(r *Record) { r.AddPass(Pass{Digest: digest, At: at.Add(-time.Hour)}) } // by a clock that is behind
	promote := func(r *Record) { r.End(Ended{Digest: digest, Outcome: Promoted}) }
	promoteOther := func(r *Record) { r.Template = "t2"; promote(r) }
	running := Observed{Production: Workload{Digest: "sha256:0000"}, Current: "t0", Wanted: "t1", Held: "t1"}
	there := Observed{Production: Workload{Digest: digest}, Current: "t1", Wanted: "t1", Held: "t1"}
	otherParameters := Observed{Production: Workload{Digest: digest}, Current: "t0", Wanted: "t2", Held: "t2"}
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
		{"held and passed since", running, with(fail, pass), digest, "", false, false},
		{"held again after the pass", running, with(fail, pass, fail), digest, "", false, true},
		{"held and promoted since", running, with(fail, promote), digest, "", false, false},
		{"held and promoted since in another template", running, with(fail, promoteOther), digest, "", false, true},
		{"promoted and held since", running, with(promote, fail), digest, "", false, true},
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

// TestARerunByAPersonIsAPass of what an earlier attempt of the same job put on hold, and of nothing else.
func TestARerunByAPersonIsAPass(t *testing.T) {
	const job = "github/shop/web/7/"
	for _, tt := range []struct {
		name   string
		by     Identity
		passes bool
	}{
		{"a person reruns the job", Identity{Run: job + "2/upgrade/r1", Rerun: job, Actor: "kim"}, true},
		{"a bot does", Identity{Run: job + "2/upgrade/r1", Rerun: job, Actor: "renovate[bot]"}, false},
		{"another run of the workflow", Identity{Run: "github/shop/web/8/1/upgrade/r1", Actor: "kim"}, false},
		{"a rerun of another run", Identity{Run: "github/shop/web/8/2/upgrade/r1", Rerun: "github/shop/web/8/", Actor: "kim"}, false},
		{"the attempt that failed, started again", Identity{Run: job + "1/upgrade/r1", Rerun: job, Actor: "kim"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r Record
			h := Hold{Digest: digest, Run: job + "1/upgrade/r1"}
			r.AddHold(h)
			assert.Equal(t, tt.passes, r.PassByRerun(h, tt.by, time.Now()))
			_, held := r.Held(digest, "t1")
			assert.Equal(t, !tt.passes, held)
			if tt.passes {
				require.Len(t, r.Passes, 1)
				assert.Equal(t, "kim", r.Passes[0].By)
				assert.Contains(t, r.Passes[0].Why, h.Run)
			}
		})
	}
}

func TestAnOfflineTestSendsNobodyToGray(t *testing.T) {
	p, err := BuildOffline(config.Config{OfflineTestJob: "test.yaml"}, Observed{Production: Workload{Replicas: 4}})
	require.NoError(t, err)
	var kinds []Kind
	for _, s := range p.Steps {
		kinds = append(kinds, s.Kind)
		assert.Zero(t, s.Weight)
	}
	assert.Equal(t, []Kind{StartGray, Identify, VerifyGray, VerifyRoute, RunTest, RecordPass, RemoveGray}, kinds)
	p, err = BuildOffline(config.Config{Checks: []config.Check{{Name: "sign in", Path: "/"}}}, Observed{Production: Workload{Replicas: 4}})
	require.NoError(t, err)
	assert.Len(t, p.Steps, 6)
	for name, c := range map[string]config.Config{
		"production has 0 replicas": {OfflineTestJob: "test.yaml"},
		"nothing to test with":      {Checks: []config.Check{{Name: "old version", Path: "/", Side: "production"}}},
	} {
		replicas := int32(4)
		if c.OfflineTestJob != "" {
			replicas = 0
		}
		_, err = BuildOffline(c, Observed{Production: Workload{Replicas: replicas}})
		var f *Failure
		require.ErrorAs(t, err, &f)
		assert.Equal(t, FaultInput, f.Fault)
		assert.Contains(t, f.What, name)
	}
}

func TestTheRecordStaysSmall(t *testing.T) {
	var r Record
	for i := range 500 {
		r.AddHold(Hold{Digest: fmt.Sprint(i), Why: strings.Repeat("é", 1000)})
		r.AddPass(Pass{Digest: "another", Why: strings.Repeat("x", 1000)})
		r.End(Ended{Reason: strings.Repeat("x", 1000)})
	}
	assert.Len(t, r.Holds, 50)
	assert.Len(t, r.Passes, 20)
	assert.Len(t, r.History, 20)
	assert.LessOrEqual(t, len(r.Holds[0].Why), 304)
}
