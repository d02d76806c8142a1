package observe

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// infos is a chunk of lines that are not at error level, as the kubelet sends them.
func infos() []byte {
	var b []byte
	for at := time.Unix(1767323045, 0).UTC(); len(b) < chunkSize-400; at = at.Add(1234567) {
		b = fmt.Appendf(b, "%s {\"time\":\"2026-01-02T03:04:05Z\",\"level\":\"INFO\",\"msg\":\"request served\",\"path\":\"/cart/17\",\"status\":200}\n", at.Format(time.RFC3339Nano))
		b = fmt.Appendf(b, "%s 2026-01-02 03:04:05,678 INFO [http-nio-8080-exec-3] com.shop.Cart - stored cart 17 with 3 items\n", at.Format(time.RFC3339Nano))
	}
	return b
}

func newTailOfProduction() *tail {
	return New(Options{}).newTail(stream{side: plan.Production, uid: "uid", pod: "cart-1", name: "app"})
}

func TestTakingLinesThatAreNoErrorsAllocatesNothing(t *testing.T) {
	one, lines := newTailOfProduction(), infos()
	assert.Zero(t, testing.AllocsPerRun(10, func() {
		one.at = position{}
		one.take(chunk{lines, 0})
		<-one.free
	}))
}

// BenchmarkTake is all that is done to a log behind the connection.
func BenchmarkTake(b *testing.B) {
	one, lines := newTailOfProduction(), infos()
	b.SetBytes(int64(len(lines)))
	b.ReportAllocs()
	for b.Loop() {
		one.at = position{}
		one.take(chunk{lines, 0})
		<-one.free
	}
}
