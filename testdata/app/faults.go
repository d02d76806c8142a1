package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strings"
	"sync"
	"time"
)

// Faults is what goes wrong, and where and when. Zero: nothing does.
type Faults struct {
	ErrorShare      float64 `json:"errorShare,omitempty"`      // share of requests answered 500, each with an ERROR line
	SlowMs          int     `json:"slowMs,omitempty"`          // what a slow answer takes longer
	SlowShare       float64 `json:"slowShare,omitempty"`       // share of slow answers; 0 with slowMs set: all
	LeakMBPerSecond float64 `json:"leakMBPerSecond,omitempty"` // memory kept
	CPUBurn         float64 `json:"cpuBurn,omitempty"`         // cores kept busy
	CrashAfter      int     `json:"crashAfter,omitempty"`      // the process ends at this request, counted from when the faults were set
	FailAccounts    bool    `json:"failAccounts,omitempty"`    // requests of accounts are refused with 403
	NeverReady      bool    `json:"neverReady,omitempty"`      // /healthz fails, whatever faultsAfter says
	ReadyFail       bool    `json:"readyFail,omitempty"`       // /healthz fails while the faults are active
	NewErrorLog     bool    `json:"newErrorLog,omitempty"`     // one request in ten writes an ERROR line that is otherwise never written
	StackTrace      bool    `json:"stackTrace,omitempty"`      // one request in ten writes the stack of a panic that is recovered
	LogLines        int     `json:"logLines,omitempty"`        // lines at level WARN that each request writes
	OtherWords      bool    `json:"otherWords,omitempty"`      // no fault: each request writes a line at level INFO, in words of its own for each mode
	WrongAnswers    bool    `json:"wrongAnswers,omitempty"`    // every answer is 200 and says nothing

	OnlyPath    string `json:"onlyPath,omitempty"`    // requests of this path and below; "/" is the path "/" alone
	OnlyVersion string `json:"onlyVersion,omitempty"` // in this version only
	OnlyMode    string `json:"onlyMode,omitempty"`    // in this mode only: production or gray

	FaultsAfter pause `json:"faultsAfter,omitzero"` // from the first customer request on; 0: at once
}

// pause is a duration, written "20s" or as a number of seconds.
type pause time.Duration

// UnmarshalJSON takes both forms.
func (p *pause) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] != '"' {
		var seconds float64
		err := json.Unmarshal(b, &seconds)
		*p = pause(seconds * float64(time.Second))
		return err
	}
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	d, err := time.ParseDuration(text)
	*p = pause(d)
	return err
}

// MarshalJSON writes the duration's text.
func (p pause) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(p).String()) }

// parseFaults reads one JSON object; nothing is no fault, an unknown field is an error.
func parseFaults(text []byte) (Faults, error) {
	var f Faults
	if len(bytes.TrimSpace(text)) == 0 {
		return f, nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return Faults{}, fmt.Errorf("faults: %w", err)
	}
	for name, share := range map[string]float64{"errorShare": f.ErrorShare, "slowShare": f.SlowShare} {
		if share < 0 || share > 1 {
			return Faults{}, fmt.Errorf("faults: %s is %v, must be from 0 to 1", name, share)
		}
	}
	if f.OnlyMode != "" && f.OnlyMode != "production" && f.OnlyMode != "gray" {
		return Faults{}, fmt.Errorf("faults: onlyMode is %q, must be production or gray", f.OnlyMode)
	}
	return f, nil
}

// hits says whether the faults concern requests of the path.
func (f Faults) hits(path string) bool {
	only := strings.TrimSuffix(f.OnlyPath, "/")
	return f.OnlyPath == "" || path == f.OnlyPath || only != "" && (path == only || strings.HasPrefix(path, only+"/"))
}

// errs and slow draw whether request n is one of the share; equal seeds draw alike.
func (f Faults) errs(seed, n uint64) bool { return draw(seed, n) < f.ErrorShare }

func (f Faults) slow(seed, n uint64) bool {
	return f.SlowMs > 0 && (f.SlowShare == 0 || draw(^seed, n) < f.SlowShare)
}

// draw is a number from 0 to 1 that only seed and n decide (splitmix64).
func draw(seed, n uint64) float64 {
	z := seed*0xd1342543de82ef95 + n*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return float64((z^z>>31)>>11) / (1 << 53)
}

// faultBox holds the faults that are set and knows from when on they count.
type faultBox struct {
	version, mode string

	mu       sync.Mutex
	set      Faults
	hit      int       // requests since the faults became active
	customer time.Time // of the first customer request
}

// put replaces the faults.
func (b *faultBox) put(f Faults) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.set, b.hit = f, 0
}

// seen notes a customer request; only the first one matters.
func (b *faultBox) seen(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.customer.IsZero() {
		b.customer = now
	}
}

// given is what was put, active or not.
func (b *faultBox) given() Faults {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.set
}

// active is the faults that count now: none in another version or mode, or before their time.
func (b *faultBox) active(now time.Time) Faults {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.activeLocked(now)
}

func (b *faultBox) activeLocked(now time.Time) Faults {
	f := b.set
	if f.OnlyVersion != "" && f.OnlyVersion != b.version || f.OnlyMode != "" && f.OnlyMode != b.mode {
		return Faults{}
	}
	if f.FaultsAfter > 0 && (b.customer.IsZero() || now.Sub(b.customer) < time.Duration(f.FaultsAfter)) {
		return Faults{NeverReady: f.NeverReady}
	}
	return f
}

// request is the faults that concern a request, and whether it is the one the process ends at.
func (b *faultBox) request(now time.Time, path string) (f Faults, crash bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f = b.activeLocked(now)
	if !f.hits(path) {
		return Faults{}, false
	}
	if f.CrashAfter == 0 {
		return f, false
	}
	b.hit++
	return f, b.hit >= f.CrashAfter
}

// watchFaults puts the file's faults whenever its text changes; a file that is taken away takes its faults along.
func (s *shop) watchFaults(ctx context.Context, file string) {
	var last []byte
	for tick := time.Tick(100 * time.Millisecond); ctx.Err() == nil; <-tick {
		text, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) || bytes.Equal(text, last) {
			continue
		}
		last = text
		f, err := parseFaults(text)
		if err != nil {
			s.log.Warn("faults file not understood", "file", file, "error", err.Error())
			continue
		}
		s.faults.put(f)
		s.log.Info("faults set", "by", "file")
	}
}

// press leaks memory and burns processor time as the active faults say, in turns of 100 ms. While they say nothing it looks
// once a second: a node holds many idle shops.
func (s *shop) press(ctx context.Context) {
	const turn = 100 * time.Millisecond
	var kept [][]byte
	for wait := time.Duration(0); ctx.Err() == nil; time.Sleep(wait) {
		f := s.faults.active(time.Now())
		wait = turn
		if f.LeakMBPerSecond == 0 && f.CPUBurn == 0 {
			wait = time.Second
		}
		if f.LeakMBPerSecond > 0 {
			kept = append(kept, touched(int(f.LeakMBPerSecond*turn.Seconds()*(1<<20))))
		} else {
			kept = nil
		}
		for left := f.CPUBurn; left > 0; left-- {
			go spin(time.Duration(math.Min(left, 1) * float64(turn)))
		}
	}
	_ = kept
}

// touched is memory that the kernel had to hand out: a page counts once it is written.
func touched(n int) []byte {
	b := make([]byte, n)
	for i := 0; i < n; i += 4096 {
		b[i] = 1
	}
	return b
}

func spin(d time.Duration) {
	for end, n := time.Now().Add(d), 0; time.Now().Before(end); {
		n++
	}
}
