package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
)

func at(t time.Time) func() time.Time { return func() time.Time { return t } }

func TestEvidenceLines(t *testing.T) {
	var b bytes.Buffer
	e := NewEvidence(&b, nil, at(noon))
	e.Record("weight", map[string]int{"percent": 5})
	e.Record("sample", judge.Bucket{Le: math.Inf(1), Count: 3})
	require.NoError(t, e.Err())
	assert.Equal(t, `{"t":"2026-03-01T12:00:00Z","kind":"header","v":{"schema":2,"tool":"gray-upgrade"}}
{"t":"2026-03-01T12:00:00Z","kind":"weight","v":{"percent":5}}
{"t":"2026-03-01T12:00:00Z","kind":"sample","v":{"le":"+Inf","count":3}}
`, b.String())
}

func TestEvidenceMasksSecrets(t *testing.T) {
	tests := []struct {
		name   string
		secret string
		value  any
		want   string
	}{
		{"inside a text", "s3cret", "Bearer s3cret!", `"Bearer ***!"`},
		{"as a key", "s3cret", map[string]int{"s3cret": 1}, `{"***":1}`},
		{"escaped by JSON", "a\"b\\c\n", "x a\"b\\c\n y", `"x *** y"`},
		{"escaped by somebody else", "<tag>", json.RawMessage(`{"a":"\u003ctag\u003e"}`), `{"a":"***"}`},
		{"deep", "s3cret", []any{map[string]any{"a": []string{"s3cret"}}}, `[{"a":["***"]}]`},
		{"short, alone", "1", "1", `"***"`},
		{"short, inside", "1", "v1", `"v1"`},
		{"escaped for a URL", "a/b+c=d", "GET /?token=a%2Fb%2Bc%3Dd", `"GET /?token=***"`},
		{"the password in Basic", "Basic YWxpY2U6U3VwM3JTM2NyZXQh", "login of alice failed: Sup3rS3cret!", `"login of alice failed: ***"`},
		{"none", "", "text", `"text"`},
		{"a text like JSON", "s3cret", `{"a":"s3cret"}`, `"{\"a\":\"***\"}"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			NewEvidence(&b, []string{tt.secret}, at(noon)).Record("k", tt.value)
			line := strings.Split(b.String(), "\n")[1]
			assert.Equal(t, `{"t":"2026-03-01T12:00:00Z","kind":"k","v":`+tt.want+`}`, line)
		})
	}
}

func TestEvidenceMasksTheLongerSecretFirst(t *testing.T) {
	var b bytes.Buffer
	NewEvidence(&b, []string{"token", "token-two"}, at(noon)).Record("k", "token-two token")
	assert.Contains(t, b.String(), `"v":"*** ***"`)
}

type explosive struct{}

func (explosive) MarshalJSON() ([]byte, error) { panic("boom s3cret") }

func TestEvidenceOfWhatCannotBeMarshalled(t *testing.T) {
	loop := map[string]any{}
	loop["self"] = loop
	for name, v := range map[string]any{
		"channel": make(chan int), "NaN": math.NaN(), "loop": loop, "panic": explosive{}, "function": func() {},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			e := NewEvidence(&b, []string{"s3cret"}, at(noon))
			e.Record("k", v)
			require.NoError(t, e.Err())
			var line struct{ V map[string]string }
			require.NoError(t, json.Unmarshal([]byte(strings.Split(b.String(), "\n")[1]), &line))
			assert.NotEmpty(t, line.V["notRecorded"])
			assert.NotContains(t, b.String(), "s3cret")
		})
	}
}

func TestEvidenceFromManySides(t *testing.T) {
	var b bytes.Buffer
	e := NewEvidence(&b, []string{"s3cret"}, time.Now)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for i := range 50 {
				e.Record("n", map[string]any{"i": i, "s": "s3cret"})
			}
		})
	}
	wg.Wait()
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	require.Len(t, lines, 1001)
	for _, line := range lines {
		require.True(t, json.Valid([]byte(line)), line)
	}
}

// full is a disk with no room after some bytes.
type full struct{ left int }

var errFull = errors.New("no space left")

func (f *full) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestEvidenceKeepsTheFirstError(t *testing.T) {
	e := NewEvidence(&full{left: 100}, nil, at(noon))
	require.NoError(t, e.Err())
	e.Record("k", "v")
	e.Record("k", "v")
	require.ErrorIs(t, e.Err(), errFull)
}
