package cluster

import (
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLastBytes(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		n          int
		want       string
	}{
		{"shorter", "abc", 5, "abc"},
		{"as long", "abcde", 5, "abcde"},
		{"longer", "abcdefg", 5, "cdefg"},
		{"much longer", strings.Repeat("x", 1000) + "end", 3, "end"},
		{"empty", "", 3, ""},
	} {
		got, err := lastBytes(iotest.OneByteReader(strings.NewReader(tt.text)), tt.n)
		require.NoError(t, err)
		assert.Equal(t, tt.want, string(got), tt.name)
	}
	_, err := lastBytes(iotest.ErrReader(assert.AnError), 3)
	require.ErrorIs(t, err, assert.AnError)
}
