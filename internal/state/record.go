package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// What the record keeps: at most 64 KiB; an API server allows 256 KiB for all annotations.
const (
	maxRecord   = 64 << 10 // bytes of JSON
	keepHistory = 20
	keepPasses  = 20
	keepHolds   = 50
	maxText     = 300 // bytes of a reason
)

// recordVersion is the version that this program writes, and the newest that it reads.
const recordVersion = 1

// errRecord is wrapped where what stands in the annotation is no record.
var errRecord = errors.New("the record cannot be read")

// encode returns the record as JSON of at most 64 KiB: the last 20 of history and passes, the last 50 holds, every
// reason at most 300 bytes on one line. What is too large even so loses history, then passes, oldest first; never a hold.
func encode(r plan.Record) (string, error) {
	r = trimmed(r)
	for {
		text, err := marshal(r)
		if err != nil || len(text) <= maxRecord {
			return text, err
		}
		switch {
		case len(r.History) > 0:
			r.History = r.History[1:]
		case len(r.Passes) > 0:
			r.Passes = r.Passes[1:]
		default:
			return "", fmt.Errorf("the record has %d bytes, more than the %d that are kept", len(text), maxRecord)
		}
	}
}

// trimmed returns a copy that shares no slice it changes with r.
func trimmed(r plan.Record) plan.Record {
	r.Version = recordVersion
	r.Step = line(r.Step)
	r.History = last(r.History, keepHistory)
	for i := range r.History {
		r.History[i].Reason = line(r.History[i].Reason)
	}
	r.Passes = last(r.Passes, keepPasses)
	for i := range r.Passes {
		r.Passes[i].Why, r.Passes[i].By = line(r.Passes[i].Why), line(r.Passes[i].By)
	}
	r.Holds = last(r.Holds, keepHolds)
	for i := range r.Holds {
		r.Holds[i].Why = line(r.Holds[i].Why)
	}
	return r
}

// last returns a copy of the last n.
func last[E any](all []E, n int) []E {
	return append([]E(nil), all[max(0, len(all)-n):]...)
}

// line makes foreign text one line of at most 300 bytes: a log line full of control characters would grow sixfold as JSON.
func line(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText-len("…")], "") + "…"
}

func marshal(r plan.Record) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		return "", fmt.Errorf("write the record: %w", err)
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// decode reads a record; none yet is the zero Record.
func decode(text string) (plan.Record, error) {
	if text == "" {
		return plan.Record{}, nil
	}
	var r plan.Record
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return plan.Record{}, fmt.Errorf("%w: %w", errRecord, err)
	}
	if r.Version > recordVersion {
		return plan.Record{}, fmt.Errorf("%w: it has version %d, this program reads up to %d: use a newer one", errRecord, r.Version, recordVersion)
	}
	return r, nil
}
