package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/replay"
)

// Evidence writes every sample and decision as one line of JSON: {"t": time, "kind": word, "v": value}. The first line
// is of kind "header" and says which schema the others follow (docs/evidence.md). Secrets become ***. It may be used concurrently.
type Evidence struct {
	now   func() time.Time
	hide  *strings.Replacer // nil: there are no secrets
	short []string          // secrets that are hidden only where they are the whole text

	mu  sync.Mutex
	w   io.Writer
	err error
}

// NewEvidence writes the header to w. A secret is replaced wherever it stands in a text, also escaped or in part (config.Hider);
// one shorter than config.ShortSecret only where it is the whole text, because "1" says nothing and stands everywhere.
func NewEvidence(w io.Writer, secrets []string, now func() time.Time) *Evidence {
	e := &Evidence{now: now, w: w}
	if len(secrets) > 0 {
		e.hide = config.LongHider(secrets)
		e.short = slices.DeleteFunc(slices.Clone(secrets), func(s string) bool { return s == "" || len(s) >= config.ShortSecret })
	}
	e.Record("header", map[string]any{"schema": replay.Schema, "tool": "gray-upgrade"})
	return e
}

// Record writes one line. A value that cannot be marshalled is replaced by a text that says why: what is being
// recorded is never a reason to stop. An error of the writer is kept for Err.
func (e *Evidence) Record(kind string, v any) {
	value, err := marshal(v)
	if err != nil {
		value, _ = marshal(map[string]string{"notRecorded": fmt.Sprintf("%T: %v", v, err)}) // strings always marshal
	}
	name, _ := marshal(kind)
	line := bytes.Join([][]byte{[]byte(`,"kind":`), e.mask(name), []byte(`,"v":`), e.mask(value), []byte("}\n")}, nil)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return
	}
	t := e.now().UTC().Format(time.RFC3339Nano) // under the lock, so that times never fall
	_, e.err = e.w.Write(append([]byte(`{"t":"`+t+`"`), line...))
}

// Err returns the first error of the writer. After it nothing more was written.
func (e *Evidence) Err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

// marshal is json.Marshal on one line, with < and > readable, and with a panic of the value's own methods as an error.
func marshal(v any) (out []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// mask goes through the texts in a JSON value, however they are escaped, and takes the secrets out of them.
func (e *Evidence) mask(value []byte) []byte {
	if e.hide == nil {
		return value
	}
	out := make([]byte, 0, len(value))
	for len(value) > 0 {
		begin := bytes.IndexByte(value, '"')
		if begin < 0 {
			break
		}
		end := begin + literal(value[begin:])
		out = append(out, value[:begin]...)
		out = append(out, e.maskText(value[begin:end])...)
		value = value[end:]
	}
	return append(out, value...)
}

// literal returns the length of the quoted text that value begins with. A marshalled value always closes its quotes.
func literal(value []byte) int {
	for i := 1; i < len(value); i++ {
		switch value[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(value)
}

func (e *Evidence) maskText(quoted []byte) []byte {
	var text string
	if err := json.Unmarshal(quoted, &text); err != nil {
		return []byte(`"***"`) // not seen; and what cannot be looked through is not written
	}
	masked := e.hide.Replace(text)
	if slices.Contains(e.short, text) {
		masked = "***"
	}
	if masked == text {
		return quoted
	}
	out, _ := marshal(masked)
	return out
}
