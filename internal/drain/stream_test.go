package drain

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAStackTraceIsOneEventWithTheLineBeforeIt(t *testing.T) {
	tests := []struct {
		name string
		log  string
		want []string
	}{
		{"Java", `2026-01-02 03:04:05 ERROR c.s.Cart - cart lost
java.lang.IllegalStateException: ERROR no cart
	at com.shop.Cart.add(Cart.java:17)
	at com.shop.ERROR.run(Main.java:4)
Caused by: java.io.IOException: ERROR on disk
	... 12 more
2026-01-02 03:04:06 INFO c.s.Cart - well again
java.lang.IllegalStateException: of nobody`, []string{"2026-01-02 03:04:05 ERROR c.s.Cart - cart lost (java.lang.IllegalStateException)"}},
		{"Java, uncaught", `Exception in thread "main" java.lang.NullPointerException: no cart
	at com.shop.Main.main(Main.java:4)`, []string{`Exception in thread "main" java.lang.NullPointerException: no cart`}},
		{"of a warning", `2026-01-02 03:04:05 WARN c.s.Cart - slow
	at com.shop.Cart.add(Cart.java:17)
Caused by: java.io.IOException: ERROR on disk
Suppressed: java.io.IOException: ERROR on disk`, nil},
		{"Go", `panic: boom [recovered]
	panic: bang

goroutine 1 [running]:
main.ERROR(0x1)
	/app/ERROR main.go:5 +0x1d
created by main.main in goroutine 1
	/app/main.go:9
ERROR the next one`, []string{"panic: boom [recovered]", "ERROR the next one"}},
		{"Go, a stack in a program that goes on", `http: panic serving 10.0.0.9:1234: boom
goroutine 7 [running]:
net/http.(*conn).serve.func1(0xc0001, {0x1, 0x2})
	/usr/local/go/src/net/http/server.go:1
ERROR cannot pay (timeout)`, []string{"ERROR cannot pay (timeout)"}},
		{"Python, uncaught", `Traceback (most recent call last):
  File "/app/main.py", line 4, in <module>
    raise ValueError("ERROR x")
ValueError: no cart 17
INFO goes on`, []string{"Traceback (most recent call last): (ValueError)"}},
		{"Python, after a message", `ERROR:root:cart lost
Traceback (most recent call last):
  File "/app/main.py", line 4, in <module>
shop.errors.NoCart
ERROR:root:the next one`, []string{"ERROR:root:cart lost (shop.errors.NoCart)", "ERROR:root:the next one"}},
		{"Python, one that led to another", `Traceback (most recent call last):
  File "/app/main.py", line 4, in <module>
KeyError: 'cart'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/app/main.py", line 6, in <module>
ValueError: no cart`, []string{"Traceback (most recent call last): (KeyError)"}},
		{"Python, two one after the other", `Traceback (most recent call last):
  File "/app/main.py", line 4, in <module>
KeyError: 'cart'
Traceback (most recent call last):
  File "/app/main.py", line 6, in <module>
ValueError: no cart`, []string{"Traceback (most recent call last): (KeyError)", "Traceback (most recent call last): (ValueError)"}},
		{"Python, cut by another line", `Traceback (most recent call last):
  File "/app/main.py", line 4, in <module>
ERROR: of another thread`, []string{"Traceback (most recent call last):", "ERROR: of another thread"}},
		{"Node", `ERROR cannot pay
TypeError: x is not a function
    at pay (/app/pay.js:4:5)`, []string{"ERROR cannot pay (TypeError)"}},
		{".NET", `Unhandled exception. System.InvalidOperationException: no cart
   at Shop.Program.Main() in /app/Program.cs:line 4`, []string{"Unhandled exception. System.InvalidOperationException: no cart"}},
		{"JSON with a type of its own", `{"level":"error","msg":"cart lost","err":{"type":"NoCart"}}
TypeError: of another one`, []string{"cart lost (NoCart)"}},
		{"an indented line without an event before it", `  ERROR set to the right`, []string{"ERROR set to the right"}},
		{"an indented line behind an event", "ERROR a\n  ERROR b", []string{"ERROR a"}},
		{"two events", "ERROR a\nERROR b", []string{"ERROR a", "ERROR b"}},
		{"a word with a colon is no type", "ERROR a\nretrying: 1", []string{"ERROR a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.want, told(NewStream(shown), tt.log))
		})
	}
}

func TestTheLineOfAnAmendedEventShowsWhatWasThrown(t *testing.T) {
	s := NewStream(strings.NewReplacer("s3cr3t", "***").Replace)
	_, event := s.Line([]byte("ERROR with s3cr3t"))
	require.NotNil(t, event)
	assert.Equal(t, Event{Text: "ERROR with ***", Line: "ERROR with ***"}, *event)
	_, event = s.Line([]byte("shop.NoCartError: s3cr3t"))
	require.NotNil(t, event)
	assert.Equal(t, Event{Text: "ERROR with ***", Kind: "shop.NoCartError", Line: "ERROR with *** shop.NoCartError: ***", Amends: true}, *event)
}

// TestWhatJSONEscapesIsHiddenToo: the line does not show it, the message does.
func TestWhatJSONEscapesIsHiddenToo(t *testing.T) {
	_, event := NewStream(strings.NewReplacer("a/b", "***").Replace).Line([]byte(`{"level":"error","msg":"with a\/b\u0000","error":{"type":"a\/b"}}`))
	require.NotNil(t, event)
	assert.Equal(t, []string{"with ***", "***"}, []string{event.Text, event.Kind})
}

func TestLevels(t *testing.T) {
	tests := []struct {
		line string
		want Level
	}{
		{`{"level":"TRACE","msg":"x"}`, Debug},
		{`{"level":"info"}`, Info},
		{`{"msg":"WARN in the text"}`, Warn},
		{`{"time":1,"lvl":"warning"}`, Warn},
		{`{"level":10}`, Debug},
		{`{"level":30}`, Info},
		{`{"level":"odd"}`, Info},
		{`{"level":{"a":["}",{}]},"severity":"ERROR"}`, Error},
		{`{"a":"\\","level":"error"}`, Error},
		{`{"a":"\"level\":","b":[1,"]"],"level":"error"}`, Error},
		{`{"level":"error"} and more`, Unstated},
		{`{}`, Unstated},
		{`{"level":"info","msg":"ERROR, and it does not end`, Info},
		{`W0102 03:04:05.678901       1 a.go:1] x`, Warn},
		{`E0102 03:04:05.678901       1 a.go:1]x`, Error},
		{`E0102 at night`, Unstated},
		{`a=1 level=warn msg=ERROR`, Warn},
		{`loglevel=error`, Unstated},
		{`DEBUG x ERROR y`, Debug},
		{`NOTICE x`, Info},
		{`x [debug] y [error]`, Debug},
		{`x [warn]`, Warn},
		{`all well`, Unstated},
		{`  at a.b(C.java:1)`, Unstated},
		{"terminate called after throwing an instance of 'std::bad_alloc'", Error},
		{`PHP Fatal error:  Uncaught Exception: x`, Error},
		{"\x1b[32mINFO\x1b[0m ERROR", Info},
	}
	for _, tt := range tests {
		level, event := NewStream(shown).Line([]byte(tt.line))
		assert.Equal(t, tt.want, level, tt.line)
		assert.Equal(t, tt.want == Error, event != nil, tt.line)
	}
}

// TestOfALongLineTheBeginIsLookedAt, though what is left of JSON is no object.
func TestOfALongLineTheBeginIsLookedAt(t *testing.T) {
	long := strings.Repeat("x", MaxLine)
	assert.Equal(t, "cart lost", templateOf(`{"level":"error","msg":"cart lost","stack":"`+long+`"}`))
	assert.Empty(t, templateOf(`{"level":"info","msg":"`+long+` ERROR"}`))
	assert.Empty(t, templateOf(long+" ERROR"))
	assert.Equal(t, "ERROR * …", templateOf("ERROR "+long+strings.Repeat(" word", 100))+" …")
}

func TestLinesThatAreNoErrorsAllocateNothing(t *testing.T) {
	s := NewStream(shown)
	for line := range strings.Lines(usual) {
		b := []byte(line)
		if level, _ := s.Line(b); level == Error {
			continue
		}
		assert.Zero(t, testing.AllocsPerRun(10, func() { s.Line(b) }), line)
	}
}
