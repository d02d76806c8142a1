package observe

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReadChunks(t *testing.T) {
	long := strings.Repeat("b", 3*chunkSize)
	many := strings.Repeat(strings.Repeat("c", 999)+"\n", 200)
	tests := []struct {
		name, log, want string
		less            int
	}{
		{"nothing", "", "", 0},
		{"lines", "a\r\n\nb\n", "a\r\n\nb\n", 0},
		{"no end", "a\nb", "a\nb\n", 0},
		{"a long line", "a\n" + long + "\nc\n", "a\n" + long[:longLine] + "\nc\n", len(long) - longLine},
		{"a long line without an end", long, long[:longLine] + "\n", len(long) - longLine},
		{"two long ones", long + "\n" + long + "\n", long[:longLine] + "\n" + long[:longLine] + "\n", 2 * (len(long) - longLine)},
		{"many", many, many, 0},
	}
	for _, tt := range tests {
		for name, reader := range map[string]func(io.Reader) io.Reader{
			"one by one": iotest.OneByteReader, "with the error": iotest.DataErrReader, "half": iotest.HalfReader,
		} {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				var got strings.Builder
				less := 0
				require.NoError(t, readChunks(reader(strings.NewReader(tt.log)), func() []byte { return make([]byte, chunkSize) }, func(c chunk) {
					got.Write(c.lines)
					less += c.less
				}))
				assert.Equal(t, tt.want, got.String())
				assert.Equal(t, tt.less, less)
			})
		}
	}
	err := readChunks(iotest.ErrReader(assert.AnError), func() []byte { return make([]byte, chunkSize) }, func(chunk) {})
	require.ErrorIs(t, err, assert.AnError)
}
