package state

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

func TestName(t *testing.T) {
	long := strings.Repeat("a", 60)
	for _, tt := range []struct{ name, service, want string }{
		{"short", "cart", "gray-upgrade-cart"},
		{"longest that fits", strings.Repeat("a", 50), "gray-upgrade-" + strings.Repeat("a", 50)},
		{"one more", strings.Repeat("a", 51), "gray-upgrade-" + strings.Repeat("a", 41) + "-bfc5fe0e"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.want, Name(tt.service))
			assert.LessOrEqual(t, len(Name(tt.service)), 63)
		})
	}
	assert.NotEqual(t, Name(long+"b"), Name(long+"c"), "names that differ past the cut")
}

func TestNextFence(t *testing.T) {
	born := metav1.NewTime(time.Date(2026, 1, 1, 0, 16, 40, 0, time.UTC))
	for _, tt := range []struct {
		name        string
		born        metav1.Time
		transitions *int32
		want        int32
	}{
		{"new: above every fence of a predecessor", born, nil, 1001},
		{"taken before", born, ptr.To[int32](1001), 1002},
		{"made before the epoch", metav1.NewTime(time.Unix(0, 0)), ptr.To[int32](7), 8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			have := &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{LeaseTransitions: tt.transitions}}
			have.CreationTimestamp = tt.born
			assert.Equal(t, tt.want, nextFence(have))
		})
	}
}

func TestRecordSurvives(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r := plan.Record{
		Version: 1, Identity: plan.Identity{Run: "7/1", URL: "https://ci/7?a=1&b=<2>", Actor: "ann"}, Step: "weight 5", Open: true,
		Target:  plan.Target{Namespace: "shop", Deployment: "cart", Service: "cart", Route: "cart"},
		Holds:   []plan.Hold{{Digest: "sha256:1", At: at, Why: "14 × 500"}},
		Passes:  []plan.Pass{{Digest: "sha256:2", By: "ann", At: at}},
		History: []plan.Ended{{Outcome: plan.Promoted, Run: "6/1", At: at}},
	}
	text, err := encode(r)
	require.NoError(t, err)
	got, err := decode(text)
	require.NoError(t, err)
	assert.Equal(t, r, got)
	assert.Contains(t, text, "a=1&b=<2>", "not grown by HTML escapes")
}

func TestRecordIsBounded(t *testing.T) {
	hostile := strings.Repeat("\x00\n\u2028é<", 1000)
	var r plan.Record
	for i := range 100 {
		id := fmt.Sprint(i)
		r.Holds = append(r.Holds, plan.Hold{Digest: id, Why: hostile})
		r.Passes = append(r.Passes, plan.Pass{Digest: id, Why: hostile, By: hostile})
		r.History = append(r.History, plan.Ended{Run: id, Reason: hostile})
	}
	text, err := encode(r)
	require.NoError(t, err)
	assert.LessOrEqual(t, len(text), maxRecord)
	got, err := decode(text)
	require.NoError(t, err)
	assert.Len(t, got.Holds, 50)
	assert.Len(t, got.Passes, 20)
	assert.Len(t, got.History, 20)
	assert.Equal(t, "99", got.Holds[49].Digest, "the newest stay")
	assert.Len(t, r.Holds, 100, "the caller's record is left alone")
	assert.Equal(t, hostile, r.Holds[99].Why)
	for _, h := range got.Holds {
		assert.LessOrEqual(t, len(h.Why), maxText)
		assert.NotContains(t, h.Why, "\n")
	}
}

func TestRecordTooLargeLosesHistoryNeverHolds(t *testing.T) {
	var r plan.Record
	for i := range 50 {
		r.Holds = append(r.Holds, plan.Hold{Digest: fmt.Sprint(i), Image: strings.Repeat("i", 800), Why: strings.Repeat("w", 300)})
	}
	for i := range 20 {
		r.History = append(r.History, plan.Ended{Run: fmt.Sprint(i), Image: strings.Repeat("i", 800)})
	}
	text, err := encode(r)
	require.NoError(t, err)
	assert.LessOrEqual(t, len(text), maxRecord)
	got, err := decode(text)
	require.NoError(t, err)
	assert.Len(t, got.Holds, 50)
	assert.Less(t, len(got.History), 20)
	if n := len(got.History); n > 0 {
		assert.Equal(t, "19", got.History[n-1].Run, "the oldest go first")
	}

	r.Image = strings.Repeat("i", maxRecord)
	_, err = encode(r)
	assert.ErrorContains(t, err, "more than the 65536 that are kept")
}

func TestDecodeRefuses(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"not JSON", "{", "the record cannot be read"},
		{"another type", `[]`, "the record cannot be read"},
		{"of a newer program", `{"version":2}`, "it has version 2, this program reads up to 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := decode(tt.text)
			require.ErrorIs(t, err, errRecord)
			assert.ErrorContains(t, err, tt.want)
		})
	}
	r, err := decode("")
	require.NoError(t, err)
	assert.Zero(t, r)
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"version":1,"holds":[{"digest":"sha256:1"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := decode(text)
		if err != nil {
			return
		}
		if out, err := encode(r); err == nil && len(out) > maxRecord {
			t.Errorf("%d bytes", len(out))
		}
	})
}

func TestStill(t *testing.T) {
	start := time.Now()
	lease := func(holder string, renewed time.Duration, fence int32) *coordinationv1.Lease {
		return &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{
			HolderIdentity: &holder, LeaseTransitions: &fence,
			RenewTime: ptr.To(metav1.NewMicroTime(time.Unix(0, 0).Add(renewed))), // a clock far away from ours
		}}
	}
	type look struct {
		after time.Duration
		lease *coordinationv1.Lease
	}
	for _, tt := range []struct {
		name  string
		looks []look
		want  time.Duration
		moved bool
	}{
		{"first look", []look{{0, lease("a", 0, 1)}}, 0, false},
		{"nothing happens", []look{{0, lease("a", 0, 1)}, {15 * time.Second, lease("a", 0, 1)}}, 15 * time.Second, false},
		{"renewed", []look{{0, lease("a", 0, 1)}, {2 * time.Second, lease("a", time.Second, 1)}}, 0, true},
		{"renewed with a clock that went back", []look{{0, lease("a", 0, 1)}, {2 * time.Second, lease("a", -time.Hour, 1)}}, 0, true},
		{"renewed, then dead", []look{{0, lease("a", 0, 1)}, {2 * time.Second, lease("a", 1, 1)}, {9 * time.Second, lease("a", 1, 1)}}, 7 * time.Second, true},
		{"another took it", []look{{0, lease("a", 0, 1)}, {time.Second, lease("b", 0, 2)}}, 0, true},
		{"taken again under the same name", []look{{0, lease("a", 0, 1)}, {time.Second, lease("a", 0, 2)}}, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var o observation
			var got time.Duration
			for _, l := range tt.looks {
				got = o.still(l.lease, start.Add(l.after))
			}
			assert.Equal(t, tt.want, got)
			assert.Equal(t, tt.moved, o.moved)
		})
	}
}

func TestRefusedNamesTheHolder(t *testing.T) {
	taken := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	who, err := json.Marshal(plan.Identity{Run: "shop/42/1", URL: "https://ci/42", Actor: "ann"})
	require.NoError(t, err)
	full := &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{
		HolderIdentity: ptr.To("shop/42/1"), LeaseDurationSeconds: ptr.To[int32](15),
		AcquireTime: ptr.To(metav1.NewMicroTime(taken)), RenewTime: ptr.To(metav1.NewMicroTime(taken.Add(time.Minute))),
	}}
	full.Annotations = map[string]string{annotationHolder: string(who)}
	bare := &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{HolderIdentity: ptr.To("by hand")}}
	bare.Annotations = map[string]string{annotationHolder: string(who)} // of somebody before
	for _, tt := range []struct {
		name   string
		lease  *coordinationv1.Lease
		record plan.Record
		want   string
	}{
		{"everything is known", full, plan.Record{Identity: plan.Identity{Run: "shop/42/1"}, Step: "weight 5"},
			`run shop/42/1 (by ann, https://ci/42) upgrades service shop/cart since 2026-03-01 12:00:00Z and is at step "weight 5"; ` +
				`its lease ends at 2026-03-01 12:01:15Z unless it is renewed, as it is every few seconds`},
		{"the record is of the run before", full, plan.Record{Identity: plan.Identity{Run: "shop/41/1"}, Step: "weight 50"},
			`run shop/42/1 (by ann, https://ci/42) upgrades service shop/cart since 2026-03-01 12:00:00Z; ` +
				`its lease ends at 2026-03-01 12:01:15Z unless it is renewed, as it is every few seconds`},
		{"a lease made by hand", bare, plan.Record{},
			`run by hand upgrades service shop/cart since an unknown time; its lease ends at an unknown time unless it is renewed, as it is every few seconds`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := &Lease{Options: Options{Namespace: "shop", Service: "cart"}}
			var f *plan.Failure
			require.ErrorAs(t, l.refused(tt.lease, tt.record), &f)
			assert.Equal(t, plan.FaultRefused, f.Fault)
			assert.Equal(t, tt.want, f.What)
			assert.Equal(t, "Lease shop/gray-upgrade-cart", f.Where)
			assert.Contains(t, f.Next, "gray-upgrade close --namespace shop --service cart")
		})
	}
}
