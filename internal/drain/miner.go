package drain

import (
	"bytes"
	"slices"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Bounds of what a Miner keeps, which is some megabytes at most.
const (
	MaxGroups   = 1000 // that are ever made; a line that would need one more has no group
	MaxTemplate = 200  // bytes of a masked text that are looked at, in whole words where there are several
	maxKind     = 80   // bytes of a masked kind
	maxWords    = 64   // of a text
	maxLines    = 8    // different masked lines of a group that further ones are compared with
)

// fixedWords is how many words at the front must be the same in all lines of a group; those that hold a level, or
// something masked, are not counted. The first words of a message say what failed, one further on may be a name. (Drain
// takes two or so, and counts all.)
const fixedWords = 4

// variable says how many words two similar lines may differ in: one of so many, rounded down. (Drain, which masks less,
// wants about half of the words to be the same.)
const variable = 4

// beyond stands in a template for what is not looked at.
var beyond = []byte("…")

// Miner groups events, from any number of streams. It may be used concurrently.
//
// A group is known by its number, from 1 up. Its template may become more general, and two groups may become one, but none
// is ever divided: events that once had the same Root always have.
type Miner struct {
	mu     sync.Mutex
	leaves map[uint64][]*group
	seen   map[uint64]*group // by masked line
	groups []*group

	// Of the event that is looked at.
	text  []byte
	kind  []byte
	words [][]byte // of text
	line  []uint64 // their hashes
}

// group is a set of similar lines.
type group struct {
	id    int
	into  *group // what this one has become a part of
	name  string
	line  []uint64   // the template: hashes of its words, star where lines differ
	lines [][]uint64 // some of those in it
}

// NewMiner returns a Miner that knows nothing.
func NewMiner() *Miner { return &Miner{leaves: map[uint64][]*group{}, seen: map[uint64]*group{}} }

// Group returns the group of an event, which may be a new one; 0 where there is no room for one more.
func (m *Miner) Group(e *Event) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.split(e)
	key := hash(m.kind)
	for _, word := range m.line {
		key = mix(key, word)
	}
	if g := m.seen[key]; g != nil {
		return g.root().id
	}
	leaf := m.leaf()
	g := m.join(leaf)
	if g == nil {
		g = m.create(leaf)
	}
	if g == nil {
		return 0
	}
	if len(g.lines) < maxLines {
		g.lines = append(g.lines, slices.Clone(m.line))
		m.seen[key] = g
	}
	return g.id
}

// Root is the group that a group is a part of now, itself mostly; 0 for 0.
func (m *Miner) Root(id int) int {
	if id == 0 {
		return 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.groups[id-1].root().id
}

// Name is the text of the first event of a group, masked, with its kind in brackets behind it: at most MaxTemplate bytes,
// some more where it is cut or has a kind; valid UTF-8 without digits. It stays the same while the group is a root, and no
// two have the same, unless a text ends in what looks like a kind.
func (m *Miner) Name(id int) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.groups[id-1].root().name
}

func (g *group) root() *group {
	for g.into != nil {
		g = g.into
	}
	return g
}

// split masks an event, and takes its text apart.
func (m *Miner) split(e *Event) {
	m.kind = mask(m.kind[:0], e.Kind, maxKind)
	m.kind = m.kind[:whole(m.kind, maxKind)]
	m.text = mask(m.text[:0], e.Text, MaxTemplate)
	text, more := m.text, len(m.text) > MaxTemplate
	if more {
		text = text[:whole(text, MaxTemplate)]
		if i := bytes.LastIndexByte(text, ' '); i > 0 {
			text = text[:i]
		}
	}
	m.words = m.words[:0]
	for len(text) > 0 && len(m.words) < maxWords {
		var word []byte
		word, text, _ = bytes.Cut(text, []byte(" "))
		m.words = append(m.words, word)
	}
	if len(m.words) == 0 {
		m.words = append(m.words, []byte("*"))
	}
	if more || len(text) > 0 {
		m.words = append(m.words, beyond)
	}
	m.line = m.line[:0]
	for _, word := range m.words {
		m.line = append(m.line, hash(word))
	}
}

// whole is the length of the first n bytes of a text without the half of a character.
func whole(text []byte, n int) int {
	if len(text) <= n {
		return len(text)
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return n
}

// leaf is where a line ends up in the tree. As its depth is fixed, the way there is all there is of the tree: the kind,
// the number of words, and the first of them that are fixed, with their places.
func (m *Miner) leaf() uint64 {
	way, fixed := hash(m.kind), 0
	for i, word := range m.words {
		step := star
		if fixed < fixedWords && says(word) {
			step = m.line[i]
			fixed++
		}
		way = mix(way, step)
	}
	return way
}

// says tells whether a word is one of the language: nothing in it is masked, and it is no level.
func says(word []byte) bool {
	if bytes.IndexByte(word, '*') >= 0 || bytes.IndexFunc(word, unicode.IsLetter) < 0 {
		return false
	}
	bare := bytes.Trim(word, "[]():")
	return capitals(bare) == Unstated && inBrackets(bare) == Unstated
}

// join returns the group of a leaf that the line belongs to, with the line in it; nil where none is near. All groups that
// are near become one, and so do those that its more general template then covers. More lines only ever bring groups
// nearer to each other, so in the end the groups are the same in whatever order the lines came (up to maxLines).
func (m *Miner) join(leaf uint64) *group {
	var g *group
	for _, other := range slices.Clone(m.leaves[leaf]) {
		if other.near(m.line) {
			g = m.merge(leaf, g, other)
		}
	}
	if g == nil {
		return nil
	}
	g.generalise(m.line)
	for again := true; again; {
		again = false
		for _, other := range m.leaves[leaf] {
			if other != g && covers(g.line, other.line) {
				g, again = m.merge(leaf, g, other), true
				break
			}
		}
	}
	return g
}

// near says whether the template covers a line, or the line differs little from one in the group.
func (g *group) near(line []uint64) bool {
	if covers(g.line, line) {
		return true
	}
	for _, l := range g.lines {
		if similar(l, line) {
			return true
		}
	}
	return false
}

// covers says whether two lines, or templates, differ only where one has a *.
func covers(a, b []uint64) bool {
	for i := range a {
		if a[i] != b[i] && a[i] != star && b[i] != star {
			return false
		}
	}
	return true
}

func similar(a, b []uint64) bool {
	may := len(a) / variable
	for i := range a {
		if a[i] == b[i] {
			continue
		}
		if may--; may < 0 {
			return false
		}
	}
	return true
}

// merge makes one of two groups of a leaf and returns it, which has the lower number. There may be no first one.
func (m *Miner) merge(leaf uint64, a, b *group) *group {
	if a == nil {
		return b
	}
	if a.id > b.id {
		a, b = b, a
	}
	a.generalise(b.line)
	a.lines = append(a.lines, b.lines[:min(len(b.lines), maxLines-len(a.lines))]...)
	b.into, b.line, b.lines = a, nil, nil
	m.leaves[leaf] = slices.DeleteFunc(m.leaves[leaf], func(g *group) bool { return g == b })
	return a
}

// generalise puts a * where the template differs from a line.
func (g *group) generalise(line []uint64) {
	for i := range g.line {
		if g.line[i] != line[i] {
			g.line[i] = star
		}
	}
}

// create makes a group of the line alone; nil where there is no room.
func (m *Miner) create(leaf uint64) *group {
	if len(m.groups) == MaxGroups {
		return nil
	}
	g := &group{id: len(m.groups) + 1, name: string(bytes.Join(m.words, []byte(" "))), line: slices.Clone(m.line)}
	if len(m.kind) > 0 {
		g.name += " (" + string(m.kind) + ")"
	}
	m.groups = append(m.groups, g)
	m.leaves[leaf] = append(m.leaves[leaf], g)
	return g
}

// star is the hash of a masked word.
var star = hash([]byte("*"))

// start and prime are those of the hash FNV-1a of Fowler, Noll and Vo with 64 bits.
const (
	start = 14695981039346656037
	prime = 1099511628211
)

func hash(text []byte) uint64 {
	h := uint64(start)
	for _, c := range text {
		h = (h ^ uint64(c)) * prime
	}
	return h
}

// mix adds a number to a hash.
func mix(h, n uint64) uint64 {
	h ^= n
	h *= 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio (Knuth, The Art of Computer Programming 3, 6.4)
	return h ^ h>>32
}
