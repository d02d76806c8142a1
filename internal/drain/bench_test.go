package drain

import (
	_ "embed"
	"slices"
	"strings"
	"testing"
)

// usual is 300 lines of 100 to 200 bytes of which six are at error level, one of each kind: JSON as slog, zap and pino
// write it, and plain as Java, a web server and logfmt do.
//
//go:embed testdata/usual.log
var usual string

// BenchmarkMix reads a log of a service that is well.
func BenchmarkMix(b *testing.B) { read(b, strings.Split(strings.TrimSpace(usual), "\n")) }

// BenchmarkErrors reads one of nothing but errors.
func BenchmarkErrors(b *testing.B) {
	read(b, slices.DeleteFunc(strings.Split(usual, "\n"), func(line string) bool { return templateOf(line) == "" }))
}

func read(b *testing.B, text []string) {
	b.Helper()
	var log [][]byte
	size := 0
	for _, line := range text {
		log = append(log, []byte(line))
		size += len(line) + 1
	}
	m, s := NewMiner(), NewStream(shown)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		for _, line := range log {
			if _, event := s.Line(line); event != nil {
				m.Group(event)
			}
		}
	}
}
