package drain

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func shown(line string) string { return line }

// templateOf is the template of a line by itself, "" where it is not at error level.
func templateOf(line string) string {
	_, event := NewStream(shown).Line([]byte(line))
	if event == nil {
		return ""
	}
	m := NewMiner()
	return m.Name(m.Group(event))
}

// told is what a log tells: the text and kind of each event, where it was amended as it was in the end.
func told(s *Stream, log string) []string {
	var all []string
	for line := range strings.SplitSeq(log, "\n") {
		_, event := s.Line([]byte(line))
		if event == nil {
			continue
		}
		text := event.Text
		if event.Kind != "" {
			text += " (" + event.Kind + ")"
		}
		if event.Amends {
			all[len(all)-1] = text
			continue
		}
		all = append(all, text)
	}
	return all
}

func TestTemplate(t *testing.T) {
	tests := []struct {
		name string
		line string
		want string // "": not at error level
	}{
		{"slog error", `{"time":"2026-01-02T03:04:05Z","level":"ERROR","msg":"payment backend refused","role":"web","order":"9e3779b1","amount":37}`, "payment backend refused"},
		{"slog info", `{"time":"2026-01-02T03:04:05Z","level":"INFO","msg":"ERROR page served"}`, ""},
		{"slog above error", `{"level":"ERROR+4","msg":"x"}`, "x"},
		{"slog above info", `{"level":"INFO+2","msg":"x"}`, ""},
		{"zap dpanic", `{"level":"dpanic","ts":1.5,"msg":"never here"}`, "never here"},
		{"zerolog", `{"level":"error","error":"dial tcp 10.0.0.1:5432: connect: connection refused","message":"cannot reach db"}`, "cannot reach db"},
		{"no message, an error text", `{"level":"error","error":"dial tcp 10.0.0.1:5432: connect: connection refused"}`, "dial tcp *: connect: connection refused"},
		{"pino 50", `{"level":50,"time":1531171074631,"msg":"request 42 failed","err":{"type":"TypeError","message":"x is undefined","stack":"..."}}`, "request * failed (TypeError)"},
		{"pino 40", `{"level":40,"msg":"slow"}`, ""},
		{"Google severity", `{"severity":"CRITICAL","message":"disk full"}`, "disk full"},
		{"Google default severity", `{"severity":"DEFAULT","message":"ERROR of a friend"}`, ""},
		{"lvl", `{"lvl":"eror","msg":"bad block"}`, "bad block"},
		{"ECS dotted", `{"@timestamp":"2026-01-02","log.level":"ERROR","message":"boom","error.type":"java.io.IOException"}`, "boom (java.io.IOException)"},
		{"ECS nested", `{"log":{"level":"error"},"message":"boom"}`, "boom"},
		{"Serilog template", `{"@t":"2026","@mt":"Order {Id} failed","@l":"Error","Id":7}`, "Order {Id} failed"},
		{"JSON without level, error text", `{"message":"ERROR no stock for sku 1007"}`, "ERROR no stock for sku *"},
		{"JSON without level", `{"message":"all well"}`, ""},
		{"JSON error without any text", `{"level":"error","code":7}`, "*"},
		{"JSON of another shape", `{"level":["error"],"msg":{"a":1}}`, ""},
		{"JSON cut short", `{"level":"error","msg":"half`, ""},
		{"JSON array", `["ERROR"]`, "[*]"},

		{"logfmt", `time=2026-01-02T03:04:05Z level=error msg="order 17 \"fast\" failed" order=17`, "order * * failed"},
		{"logfmt bare", `ts=1 lvl=eror msg=timeout peer=10.1.2.3`, "timeout"},
		{"logfmt without message", `level=error peer=10.1.2.3:80 try=3`, "level=error peer=* try=*"},
		{"logfmt info with an ERROR word", `level=info msg="saw ERROR"`, ""},
		{"logfmt level quoted", `level="fatal" msg="gone"`, "gone"},

		{"klog error", `E0102 03:04:05.678901       1 reflector.go:158] "Unhandled Error" err="list pods: timeout"`, "reflector.go * err=*"},
		{"klog info", `I0102 03:04:05.678901       1 server.go:12] ERROR is a word`, ""},
		{"klog fatal", `F0102 03:04:05.678901       1 main.go:9] no config`, "main.go no config"},

		{"Java", `2026-01-02 03:04:05,678 ERROR [http-nio-8080-exec-3] c.s.Cart - cart 991 lost`, "* * ERROR [http-nio-*-exec-*] c.s.Cart - cart * lost"},
		{"Java info that speaks of errors", `2026-01-02 03:04:05,678 INFO c.s.Cart - ERROR page`, ""},
		{"Java stack", `	at com.shop.Cart.add(Cart.java:17)`, ""},
		{"log.Printf", `2026/01/02 03:04:05 ERROR: upstream 10.0.3.7:8080 closed`, "* * ERROR: upstream * closed"},
		{"nginx error", `2026/01/02 03:04:05 [error] 7#7: *19 connect() failed (111: Connection refused) while connecting to upstream`, "* * [error] *#*: * connect() failed (*: Connection refused) while connecting to upstream"},
		{"nginx warn", `2026/01/02 03:04:05 [warn] 7#7: a client request body is buffered`, ""},
		{"Go panic", `panic: runtime error: index out of range [5] with length 3`, "panic: runtime error: index out of range [*] with length *"},
		{"Go panic recovered", `2026/01/02 03:04:05 http: panic serving 10.0.0.9:1234: boom`, ""},
		{"panic in mid-line", `2026/01/02 03:04:05 recovered panic: boom`, "* * recovered panic: boom"},
		{"Go runtime", `fatal error: concurrent map writes`, "fatal error: concurrent map writes"},
		{"Rust", `thread 'main' panicked at src/main.rs:4:5:`, "thread * panicked at src/main.rs:*:"},
		{"Python", `Traceback (most recent call last):`, "Traceback (most recent call last):"},
		{"logrus on a terminal", "\x1b[31mERRO\x1b[0m[0001] no route", "ERRO[*] no route"},
		{"zerolog on a terminal", "3:04AM ERR no route to=10.1.1.1", "* ERR no route to=*"},
		{"access log", `10.0.0.1 - - [02/Jan/2026:03:04:05 +0000] "GET /errors HTTP/1.1" 500 12`, ""},
		{"a counter's name", `ERROR_COUNT=0 FATAL-things=1`, ""},
		{"error in small letters", `no error was found`, ""},
		{"empty", ``, ""},
		{"binary", "\x00\xff\xfe ERROR \x80\x81", "\uFFFD ERROR \uFFFD"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.want, templateOf(tt.line))
		})
	}
}

func TestTemplateIsTheSameForLinesOfOneKind(t *testing.T) {
	tests := [][]string{
		{"ERROR user 17 of 3ms", "ERROR user 1904 of 12.5ms", "ERROR user -4 of 0x1fms"},
		{"ERROR order 550e8400-e29b-41d4-a716-446655440000", "ERROR order deadbeef-dead-beef-dead-beefdeadbeef"},
		{"ERROR dial 10.0.0.1:80", "ERROR dial 192.168.17.4:65535", "ERROR dial 2001:db8::ff"},
		{`ERROR cannot open "a b"`, `ERROR cannot open "/etc/x"`, `ERROR cannot open 'z'`},
		{"ERROR GET /users/17/cart", "ERROR GET /users/8c1f/cart"},
		{"ERROR pod cart-7c9f8d6b5-x2x9z gone", "ERROR pod cart-66fd9b77c4-bcdfg gone"},
		{"ERROR at 2026-01-02T03:04:05.678Z", "ERROR at 2027-11-12T13:14:15+02:00"},
		{"ERROR token 9aF3kL0aA", "ERROR token " + strings.Repeat("abcdefgh", 6)},
	}
	for _, lines := range tests {
		want := templateOf(lines[0])
		require.NotEmpty(t, want)
		for _, line := range lines[1:] {
			assert.Equal(t, want, templateOf(line), line)
		}
	}
	assert.NotEqual(t, templateOf("ERROR cannot open the cart"), templateOf("ERROR cannot close the cart"))
}
