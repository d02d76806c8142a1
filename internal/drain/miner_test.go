package drain

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func groupOf(m *Miner, text string) int { return m.Group(&Event{Text: text}) }

func TestWordsFurtherOnMayChange(t *testing.T) {
	m := NewMiner()
	first := groupOf(m, "cannot load the cart of alice from the store")
	for _, same := range []string{
		"cannot load the cart of bob from the store",
		"cannot load the cart of alice from the store",
		"cannot load the cart of 17 from the store",
		"cannot load the cart of carol from a store",
	} {
		assert.Equal(t, first, groupOf(m, same), same)
	}
	assert.Equal(t, "cannot load the cart of alice from the store", m.Name(first), "it stays the same")
	for _, other := range []string{
		"cannot load the list of alice from the store",  // one of the first four
		"cannot load the cart of alice from store",      // another length
		"cannot load the cart by gray at once in April", // too many
	} {
		assert.NotEqual(t, first, groupOf(m, other), other)
	}
	assert.NotEqual(t, first, m.Group(&Event{Text: "cannot load the cart of alice from the store", Kind: "IOError"}))
}

func TestGroupsThatALineJoinsAreOne(t *testing.T) {
	m := NewMiner()
	a, b := groupOf(m, "one two three four a b c d"), groupOf(m, "one two three four x y c z")
	require.NotEqual(t, a, b)
	assert.Equal(t, a, groupOf(m, "one two three four x b c z"), "two words from the one, one from the other")
	assert.Equal(t, []int{a, a}, []int{m.Root(a), m.Root(b)})
	assert.Equal(t, "one two three four a b c d", m.Name(b))
	assert.Equal(t, a, groupOf(m, "one two three four k l c m"), "now that there is a template")
	assert.Zero(t, m.Root(0))
}

// TestTheOrderOfLinesDoesNotMatter: whatever comes first, the same lines are together in the end.
func TestTheOrderOfLinesDoesNotMatter(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var lines []string
		for range 3 + dice.IntN(6) { // up to maxLines
			line := "one two three four"
			for range 6 {
				line += " " + string(rune('a'+dice.IntN(3)))
			}
			lines = append(lines, line)
		}
		want := together(t, lines)
		for range 5 {
			shuffled := slices.Clone(lines)
			dice.Shuffle(len(lines), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			require.Equal(t, want, together(t, shuffled))
		}
	}
}

// together mines lines and returns the pairs of them that are in one group.
func together(t *testing.T, lines []string) map[string]bool {
	t.Helper()
	m, ids := NewMiner(), map[string]int{}
	for _, line := range lines {
		ids[line] = groupOf(m, line)
	}
	all, names := map[string]bool{}, map[string]int{}
	for a, id := range ids {
		require.Equal(t, m.Root(id), groupOf(m, a), "a line stays where it was")
		if root, known := names[m.Name(id)]; known {
			require.Equal(t, root, m.Root(id), "one name, one group")
		}
		names[m.Name(id)] = m.Root(id)
		for b := range ids {
			all[a+"|"+b] = m.Root(id) == m.Root(ids[b])
		}
	}
	return all
}

func TestAMinerIsBounded(t *testing.T) {
	m := NewMiner()
	letters := func(i int) string { return string([]byte{'a' + byte(i/676), 'a' + byte(i/26%26), 'a' + byte(i%26)}) }
	for i := range MaxGroups {
		require.NotZero(t, groupOf(m, "kind "+letters(i)))
	}
	assert.Zero(t, groupOf(m, "kind of its own"))
	assert.Equal(t, 1, groupOf(m, "kind aaa"), "what is known still is")

	m = NewMiner()
	for i := range 10 * maxLines {
		assert.Equal(t, 1, groupOf(m, "cannot load the cart of "+letters(i)+" from the store"))
	}
	assert.Len(t, m.seen, maxLines)

	m = NewMiner()
	long := m.Name(groupOf(m, strings.Repeat("word ", 100)))
	assert.LessOrEqual(t, len(long), MaxTemplate+len(" …"))
	assert.True(t, strings.HasSuffix(long, "word …"), long)
	many := m.Name(groupOf(m, strings.Repeat("a ", 90)))
	assert.Equal(t, strings.Repeat("a ", maxWords)+"…", many)
}

// TestStreamsMayMineTogether, as the race detector sees it.
func TestStreamsMayMineTogether(t *testing.T) {
	m := NewMiner()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			s := NewStream(shown)
			for i := range 100 {
				_, event := s.Line(fmt.Appendf(nil, "ERROR cannot load the cart of user%c from the store", 'a'+rune(i%26)))
				m.Name(m.Root(m.Group(event)))
			}
		})
	}
	all.Wait()
	assert.Equal(t, 1, groupOf(m, "ERROR cannot load the cart of nobody from the store"))
}
