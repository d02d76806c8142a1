package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseFaults(t *testing.T) {
	tests := []struct {
		name, text string
		want       Faults
		err        string
	}{
		{name: "nothing", text: " \n"},
		{name: "some", text: `{"errorShare":0.3,"onlyPath":"/x"}`, want: Faults{ErrorShare: 0.3, OnlyPath: "/x"}},
		{name: "pause as text", text: `{"faultsAfter":"1m"}`, want: Faults{FaultsAfter: pause(time.Minute)}},
		{name: "pause in seconds", text: `{"faultsAfter":1.5}`, want: Faults{FaultsAfter: pause(1500 * time.Millisecond)}},
		{name: "bad pause", text: `{"faultsAfter":"soon"}`, err: "invalid duration"},
		{name: "unknown field", text: `{"errorRate":1}`, err: "unknown field"},
		{name: "share too large", text: `{"errorShare":30}`, err: "errorShare is 30"},
		{name: "mode", text: `{"onlyMode":"canary"}`, err: "onlyMode"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := parseFaults([]byte(tt.text))
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, f)
			text, err := json.Marshal(f)
			require.NoError(t, err)
			again, err := parseFaults(text)
			require.NoError(t, err)
			require.Equal(t, f, again, "what is written reads back as it was")
		})
	}
}

func TestHits(t *testing.T) {
	tests := []struct {
		only, path string
		want       bool
	}{
		{"", "/cart", true},
		{"/", "/", true},
		{"/", "/cart", false},
		{"/cart", "/cart", true},
		{"/cart", "/cart/1", true},
		{"/cart/", "/cart", true},
		{"/cart", "/carts", false},
	}
	for _, tt := range tests {
		require.Equal(t, tt.want, Faults{OnlyPath: tt.only}.hits(tt.path), "%q on %q", tt.only, tt.path)
	}
}

func TestShareIsMetAndRepeats(t *testing.T) {
	for _, share := range []float64{0, 0.02, 0.3, 1} {
		f, hit := Faults{ErrorShare: share}, 0
		for n := range uint64(10000) {
			once, again := f.errs(7, n), f.errs(7, n)
			require.Equal(t, once, again)
			if once {
				hit++
			}
		}
		require.InDelta(t, share, float64(hit)/10000, 0.015)
	}
}

func TestActive(t *testing.T) {
	start := time.Unix(1000, 0)
	all := Faults{ErrorShare: 1}
	tests := []struct {
		name     string
		set      Faults
		customer bool
		after    time.Duration
		want     bool
	}{
		{name: "at once", set: all, want: true},
		{name: "this version", set: Faults{ErrorShare: 1, OnlyVersion: "v2"}, want: true},
		{name: "another version", set: Faults{ErrorShare: 1, OnlyVersion: "v1"}},
		{name: "another mode", set: Faults{ErrorShare: 1, OnlyMode: "gray"}},
		{name: "no customer yet", set: Faults{ErrorShare: 1, FaultsAfter: pause(time.Second)}, after: time.Hour},
		{name: "too early", set: Faults{ErrorShare: 1, FaultsAfter: pause(time.Second)}, customer: true, after: 999 * time.Millisecond},
		{name: "due", set: Faults{ErrorShare: 1, FaultsAfter: pause(time.Second)}, customer: true, after: time.Second, want: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			box := &faultBox{version: "v2", mode: "production"}
			box.put(tt.set)
			if tt.customer {
				box.seen(start)
				box.seen(start.Add(time.Hour)) // only the first one counts
			}
			require.Equal(t, tt.want, box.active(start.Add(tt.after)).ErrorShare == 1)
		})
	}
}
