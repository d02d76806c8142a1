package drain

import (
	"fmt"
	"strings"
	"testing"
)

// mix98 is 100 lines of 100 to 250 bytes of which two are at error level: JSON as slog, zap and pino write it, and plain
// as Java, a web server and logfmt do.
var mix98 = lines(100, func(i int) bool { return i%50 == 17 })

func lines(n int, isError func(i int) bool) []string {
	var all []string
	for i := range n {
		level, number := "INFO", 30
		if isError(i) {
			level, number = "ERROR", 50
		}
		all = append(all, []string{
			fmt.Sprintf(`{"time":"2026-01-02T03:04:05.%06dZ","level":"%s","msg":"request served","method":"GET","path":"/cart/%d","status":200,"duration":0.00%d,"user":"u-%x"}`, i, level, i, i, i*7919),
			fmt.Sprintf(`{"ts":1767323045.%d,"logger":"http","caller":"server/handler.go:214","msg":"order stored","level":"%s","order":{"id":"o-%x","items":%d,"currency":"EUR"},"took_ms":%d}`, i, strings.ToLower(level), i*104729, i, i),
			fmt.Sprintf(`{"level":%d,"time":17673230450%02d,"pid":7,"hostname":"cart-7c9f8d6b5-x2x9z","req":{"id":%d,"method":"GET","url":"/cart?details=1"},"msg":"request completed","responseTime":%d}`, number, i, i, i),
			fmt.Sprintf(`2026-01-02 03:04:05,%03d %s [http-nio-8080-exec-%d] com.shop.cart.CartController - stored cart %d of user u-%x with 3 items in 17 ms`, i, level, i%10, i, i*7919),
			fmt.Sprintf(`10.0.%d.1 - - [02/Jan/2026:03:04:05 +0000] "GET /cart/%d?details=1 HTTP/1.1" 200 512 "-" "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36" 0.0%d %s`, i, i, i, map[bool]string{true: "[error]"}[isError(i)]),
			fmt.Sprintf(`time=2026-01-02T03:04:05.%03dZ level=%s msg="request served" method=GET path=/cart/%d status=200 duration=3.%dms user=u-%x`, i, strings.ToLower(level), i, i, i*7919),
		}[i%6])
	}
	return all
}

// BenchmarkMix reads a log of a service that is well.
func BenchmarkMix(b *testing.B) { read(b, mix98) }

// BenchmarkErrors reads one of nothing but errors, each with its template.
func BenchmarkErrors(b *testing.B) { read(b, lines(100, func(int) bool { return true })) }

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
