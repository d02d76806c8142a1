package drain

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

// longWord is the length of a word, in bytes, from which on it is taken for an id.
const longWord = 32

// masker writes a text with * in place of what changes from line to line: quoted texts, UUIDs, addresses and times, words
// with a digit in them (numbers, hex, ids, versions, parts of paths), long words and the random ends of pod names. White
// space becomes one blank.
type masker struct {
	in  []byte
	at  int
	out []byte
}

// mask appends the masked text to dst and stops soon after limit bytes of it.
func mask(dst []byte, text string, limit int) []byte {
	m := masker{in: []byte(text), out: dst}
	for m.at < len(m.in) && len(m.out) <= limit {
		m.next()
	}
	return bytes.TrimRight(m.out, " ")
}

// next takes what stands at m.at: whole words, or one character.
func (m *masker) next() {
	c := m.in[m.at]
	starts := m.at == 0 || !isWord(m.in[m.at-1])
	switch {
	case isWord(c):
		if n := m.address(starts); n > 0 {
			m.star(n)
			return
		}
		m.word()
	case c >= utf8.RuneSelf:
		m.foreign()
	case c == ' ':
		m.blank(1)
	case c == '*':
		m.star(1)
	case c == '"' || c == '\'' || c == '`':
		m.quoted(c)
	default:
		m.keep(1)
	}
}

func (m *masker) keep(n int) {
	m.out = append(m.out, m.in[m.at:m.at+n]...)
	m.at += n
}

func (m *masker) blank(n int) {
	if len(m.out) > 0 && m.out[len(m.out)-1] != ' ' {
		m.out = append(m.out, ' ')
	}
	m.at += n
}

// star writes a * for n bytes. Stars that only separators stand between are one, and a sign belongs to its number.
func (m *masker) star(n int) {
	m.at += n
	end := len(m.out)
	for end > 0 && bytes.IndexByte(separators, m.out[end-1]) >= 0 {
		end--
	}
	if end > 0 && m.out[end-1] == '*' {
		m.out = m.out[:end]
		return
	}
	end = len(m.out)
	if end > 0 && (m.out[end-1] == '-' || m.out[end-1] == '+') && (end == 1 || bytes.IndexByte(beforeSign, m.out[end-2]) >= 0) {
		m.out = m.out[:end-1]
	}
	m.out = append(m.out, '*')
}

var (
	separators = []byte("-.:,_+%/")
	beforeSign = []byte(" =:,([")
)

// quoted takes a text between quotes; a quote behind a word is an apostrophe.
func (m *masker) quoted(quote byte) {
	if m.at > 0 {
		if before := m.in[m.at-1]; isWord(before) || before == '"' || before == '\'' || before == '`' {
			m.keep(1)
			return
		}
	}
	n := bytes.IndexByte(m.in[m.at+1:], quote)
	if n < 0 {
		m.keep(1)
		return
	}
	m.star(n + 2)
}

// foreign takes a character beyond ASCII.
func (m *masker) foreign() {
	r, n := utf8.DecodeRune(m.in[m.at:])
	switch {
	case unicode.IsLetter(r) || unicode.IsNumber(r):
		m.word()
	case unicode.IsSpace(r):
		m.blank(n)
	default:
		m.keep(n)
	}
}

// word takes letters, digits and _.
func (m *masker) word() {
	n, digit := 0, false
	for rest := m.in[m.at:]; n < len(rest); {
		c := rest[n]
		if isWord(c) {
			digit = digit || isDigit(c)
			n++
			continue
		}
		r, size := utf8.DecodeRune(rest[n:])
		if c < utf8.RuneSelf || !unicode.IsLetter(r) && !unicode.IsNumber(r) {
			break
		}
		digit = digit || unicode.IsDigit(r)
		n += size
	}
	if digit || n >= longWord || m.podEnd(n) {
		m.star(n)
		return
	}
	m.keep(n)
}

// podEnd says whether a word is the random end of a pod's name, which Kubernetes makes without vowels.
func (m *masker) podEnd(n int) bool {
	if n != 5 || len(m.out) == 0 || m.out[len(m.out)-1] != '-' {
		return false
	}
	for _, c := range m.in[m.at : m.at+n] {
		if bytes.IndexByte([]byte("bcdfghjklmnpqrstvwxz"), c) < 0 {
			return false
		}
	}
	return true
}

// address is the length of a UUID, an IPv6 address or a time of day at m.at; 0 where there is none.
func (m *masker) address(starts bool) int {
	if !starts || !isHex(m.in[m.at]) {
		return 0
	}
	if n := uuid(m.in[m.at:]); n > 0 {
		return n
	}
	return colons(m.in[m.at:])
}

func uuid(text []byte) int {
	const form = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
	if len(text) < len(form) || len(text) > len(form) && isWord(text[len(form)]) {
		return 0
	}
	for i := range len(form) {
		if form[i] == '-' && text[i] != '-' || form[i] == 'x' && !isHex(text[i]) {
			return 0
		}
	}
	return len(form)
}

// colons is the length of up to eight groups of at most four hexadecimal digits that colons join, at least two of them,
// and with a digit somewhere.
func colons(text []byte) int {
	n, group, count, digit := 0, 0, 0, false
	for ; n < len(text) && (isHex(text[n]) || text[n] == ':'); n++ {
		if text[n] == ':' {
			group, count = 0, count+1
			continue
		}
		if group++; group > 4 {
			return 0
		}
		digit = digit || isDigit(text[n])
	}
	if n < len(text) && isWord(text[n]) {
		return 0
	}
	for text[n-1] == ':' {
		n, count = n-1, count-1
	}
	if count < 2 || count > 7 || !digit {
		return 0
	}
	return n
}
