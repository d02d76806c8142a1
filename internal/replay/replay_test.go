package replay

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/judge"
)

const (
	header = `{"t":"2026-01-02T03:04:05Z","kind":"header","v":{"schema":2,"tool":"gray-upgrade"}}` + "\n"
	limits = `{"t":"2026-01-02T03:04:05Z","kind":"limits","v":{"errorPercent":0.5,"minRequests":50,"falseAlarmPercent":1}}` + "\n"
)

func same(l judge.Limits) (judge.Limits, error) { return l, nil }

func TestWhatCannotBeReplayedIsSaid(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", "it is no evidence of an upgrade that was watched"},
		{"other text", "# Readme\n", "line 1: it is no line of evidence"},
		{"no header", limits, "line 1: the first line is not of kind \"header\""},
		{"an older schema", strings.Replace(header, "2,", "1,", 1), "line 1: its schema is 1, this version of gray-upgrade replays schema 2"},
		{"no limits", header, "it is no evidence of an upgrade that was watched"},
		{"cut in the middle", header + limits + `{"t":"2026-01-02T03:04:05Z","kind":"sam` + "\n", "line 3: it is no line of evidence"},
		{"cut before anything was seen", header + `{"t":"2026-01-02`, "it is no evidence of an upgrade that was watched"},
		{"a value of another kind", header + limits + `{"kind":"sample","v":[1]}` + "\n", "line 3: "},
		{"limits of another kind", header + `{"kind":"limits","v":7}` + "\n", "line 2: "},
		{"a line without end", header + limits + strings.Repeat("x", maxLine+1), "line 3: bufio.Scanner: token too long"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Replay(strings.NewReader(tt.text), same)
			require.ErrorContains(t, err, tt.want)
		})
	}
	_, err := Replay(strings.NewReader(header+limits), func(judge.Limits) (judge.Limits, error) { return judge.Limits{}, errors.New("no") })
	require.ErrorContains(t, err, "line 2: no")
}

// TestWhatIsOnlyDoneIsSkipped, and a run that was never watched has no windows.
func TestWhatIsOnlyDoneIsSkipped(t *testing.T) {
	got, err := Replay(strings.NewReader(header+limits+`{"kind":"step","v":{"any":"thing"}}`+"\n"), same)
	require.NoError(t, err)
	assert.Empty(t, got.Windows)
	assert.Contains(t, got.String(), "0 blocks weighed")
}

// TestALastLineThatIsNotWholeIsLeftOut: a killed run leaves one. A whole one without its end is read.
func TestALastLineThatIsNotWholeIsLeftOut(t *testing.T) {
	block := `{"kind":"block","v":{"share":20}}`
	for text, want := range map[string]Result{
		block + "\n" + block[:20]: {Blocks: 1, Cut: true},
		block + "\n" + block:      {Blocks: 2},
	} {
		got, err := Replay(strings.NewReader(header+limits+text), same)
		require.NoError(t, err)
		assert.Equal(t, want.Blocks, got.Blocks)
		assert.Equal(t, want.Cut, got.Cut)
		assert.Equal(t, want.Cut, strings.Contains(got.String(), "The last line is not whole"))
	}
}

func FuzzReplay(f *testing.F) {
	f.Add(header + limits + `{"kind":"sample","v":{"onTrial":{"name":"gray"},"evidence":{"errors":1,"slow":2}}}` + "\n")
	f.Add(header + limits + `{"kind":"block","v":{"share":20,"onTrial":{"requests":1e300,"errors":-1}}}` + "\n")
	f.Add(header + limits + `{"kind":"log-block","v":{"share":2,"lines":[{"template":"a","onTrial":9}]}}` + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Replay(strings.NewReader(text), same)
		if err == nil {
			assert.LessOrEqual(t, len(got.Differences), maxDifferences)
			assert.NotEmpty(t, got.String())
		}
	})
}
