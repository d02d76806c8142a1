package observe

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/gray-upgrade/gray-upgrade/internal/drain"
)

const (
	// chunkSize is how much of a log is read at once, in bytes.
	chunkSize = 64 << 10
	// backlog is how many chunks of a log may wait to be looked at, four mebibytes. What comes when there is no room for it
	// is dropped, and counted.
	backlog = 64
	// spare is how many buffers of a log are kept for the next chunks.
	spare = 4
	// longLine is what is kept of a line: what is looked at, a byte more, which tells that it was cut, and its timestamp.
	longLine = drain.MaxLine + 1 + len("2006-01-02T15:04:05.000000000+00:00 ")
)

// chunk is a piece of a log: whole lines, each with its end, and how many bytes of too long ones were left out.
type chunk struct {
	lines []byte
	less  int
}

// readChunks hands over a log in chunks until it ends. Each buffer is a fresh one, and belongs to give from then on.
func readChunks(log io.Reader, fresh func() []byte, give func(chunk)) error {
	buffer, filled := fresh(), 0 // of a line that has not ended
	for less := 0; ; {
		n, err := log.Read(buffer[filled:])
		n += filled
		cut := shorten(buffer[:n], filled)
		n, less = n-cut, less+cut
		old := min(filled, longLine)
		filled = n
		if end := old + bytes.LastIndexByte(buffer[old:n], '\n') + 1; end > old {
			whole := buffer[:end]
			buffer = fresh()
			filled = copy(buffer, whole[end:n])
			give(chunk{whole, less})
			less = 0
		}
		if err == nil {
			continue
		}
		if filled > 0 {
			give(chunk{append(buffer[:filled], '\n'), less})
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return fmt.Errorf("read log: %w", err)
	}
}

// shorten cuts the first line of a text to longLine, where it is longer; it does not end before from. It returns by how
// much the text is shorter now.
func shorten(text []byte, from int) int {
	end := len(text)
	if i := bytes.IndexByte(text[from:], '\n'); i >= 0 {
		end = from + i
	}
	if end <= longLine {
		return 0
	}
	copy(text[longLine:], text[end:])
	return end - longLine
}
