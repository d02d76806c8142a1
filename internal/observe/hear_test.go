package observe

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// usual is what services write that are well, some of it at error level or none.
func usual(t testing.TB, wanted func(isError bool) bool) []string {
	t.Helper()
	text, err := os.ReadFile("../drain/testdata/usual.log")
	require.NoError(t, err)
	return slices.DeleteFunc(strings.Split(strings.TrimSpace(string(text)), "\n"), func(line string) bool {
		isError := strings.Contains(strings.ToLower(line), "error") || strings.Contains(line, `"level":50`)
		return !wanted(isError)
	})
}

// sent are lines over and over, each with its time, as the kubelet sends them: so many bytes, or a line less.
func sent(lines []string, size int) (log []byte) {
	for i := 0; ; i++ {
		at := time.Unix(1767323045, 0).UTC().Add(time.Duration(i) * 1234567)
		line := fmt.Sprintf("%s %s\n", at.Format(time.RFC3339Nano), lines[i%len(lines)])
		if len(log)+len(line) > size {
			return log
		}
		log = append(log, line...)
	}
}

// newTailOf reads the log of a pod while users are on both sides.
func newTailOf(side plan.Side, o Options) *tail {
	w := New(o)
	w.window = newWindow(1, plan.Gray, 20)
	w.of(side).pods["uid"] = &pod{served: true}
	return w.newTail(stream{side: side, uid: "uid", pod: "cart-1", name: "app"})
}

func TestTakingLinesThatAreNoErrorsAllocatesNothing(t *testing.T) {
	one := newTailOf(plan.Gray, Options{})
	lines := sent(usual(t, func(isError bool) bool { return !isError }), chunkSize)
	assert.Zero(t, testing.AllocsPerRun(10, func() {
		one.at = position{}
		one.take(chunk{lines, 0})
		<-one.free
	}))
}

// TestAStackTraceIsOneTemplateThatTurnsUp, though its first line has a template of its own until the next one is read.
func TestAStackTraceIsOneTemplateThatTurnsUp(t *testing.T) {
	for side, want := range map[plan.Side][2]int{plan.Gray: {2, 0}, plan.Production: {0, 2}} {
		for _, weighed := range []bool{false, true} {
			var got [2]int
			one := newTailOf(side, Options{Record: func(_ string, v any) {
				b := v.(judge.LogBlock)
				got[0] += b.OnTrial
				got[1] += b.Reference
			}})
			now := time.Now()
			one.look([]byte("ERROR cannot pay"), &tally{})
			if weighed {
				one.addLogBlock(now)
			}
			one.look([]byte("TypeError: x is not a function"), &tally{})
			one.addLogBlock(now.Add(logBlock))
			one.look([]byte("ERROR cannot pay"), &tally{}) // is known
			one.look([]byte("RangeError: 7"), &tally{})    // is not
			one.addLogBlock(now.Add(2 * logBlock))
			assert.Equal(t, want, got, "%s, a block between the lines: %t", side, weighed)
		}
	}
}

// BenchmarkUsualLog is all that is done to a log behind the connection while both sides have users; one line in fifty is at
// error level.
func BenchmarkUsualLog(b *testing.B) {
	benchmarkLog(b, usual(b, func(bool) bool { return true }))
}

// BenchmarkLogOfErrors is the same for nothing but errors.
func BenchmarkLogOfErrors(b *testing.B) {
	benchmarkLog(b, usual(b, func(isError bool) bool { return isError }))
}

func benchmarkLog(b *testing.B, lines []string) {
	b.Helper()
	one := newTailOf(plan.Gray, Options{Hide: config.Hider([]string{"token-of-the-first-user", "session-of-the-second"}).Replace})
	log := sent(lines, 1<<20)
	b.SetBytes(int64(len(log)))
	b.ReportAllocs()
	for b.Loop() {
		one.at = position{}
		require.NoError(b, readChunks(bytes.NewReader(log), one.buffer, one.take))
	}
}
