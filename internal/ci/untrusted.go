package ci

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Foreign text (pod names, log lines, answers) is data. Here it loses everything that a terminal or a runner would take
// for more than text; what is left is escaped where it is printed.

// ansi matches terminal sequences: CSI, the string sequences (OSC, DCS, SOS, PM, APC) and two-character escapes.
var ansi = regexp.MustCompile("(?s)(?:\x1b\\[|\u009b)[0-?]*[ -/]*[@-~]|(?:\x1b[\\]PX^_]|[\u009d\u0090\u0098\u009e\u009f]).*?(?:\x07|\x1b\\\\|\u009c|$)|\x1b.?")

// Clean returns printable text: UTF-8 (other bytes become U+FFFD), no terminal sequences, no control characters but
// line break and tab, no characters that change the direction of text or have no width. Every line ending becomes \n:
// runners take a lone \r for one.
func Clean(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = ansi.ReplaceAllString(s, "")
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t', r == ' ':
			return r
		case r == '\r', r == '\u2028', r == '\u2029', r == '\u0085':
			return '\n'
		case unicode.IsPrint(r), r == '\uFFFD':
			return r
		case unicode.Is(unicode.Zs, r):
			return ' '
		}
		return -1
	}, s)
}

// maxLooked is how many bytes of a text are looked at, far more than are printed: cleaning all that a pod may write would
// take seconds.
const maxLooked = 256 << 10

// Line is Clean in one line of at most limit bytes, cut with a … at the end.
func Line(s string, limit int) string {
	return cut(strings.Join(strings.Fields(Clean(cut(s, maxLooked))), " "), limit)
}

// cut shortens text to at most limit bytes, between characters, with a … at the end where there is room for it.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	const mark = "…"
	if limit < len(mark) {
		return ""
	}
	end := max(0, limit-len(mark))
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + mark
}
