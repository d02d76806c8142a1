package report

import (
	"bytes"
	"encoding/xml"
	"regexp"
	"strings"
	"unicode"
)

// Foreign text (names, log lines, answers, reasons) is data. Each kind of output has one function that makes it
// harmless there, and all of them begin with clean.

// ansi matches terminal sequences: CSI, OSC (ended by BEL or ST, or by the end of the text) and two-character escapes.
var ansi = regexp.MustCompile("(?s)\x1b(?:\\[[0-?]*[ -/]*[@-~]|[\\]PX^_].*?(?:\x07|\x1b\\\\|$)|.)|\u009b[0-?]*[ -/]*[@-~]")

// clean returns one line of printable text of at most limit runes, with a … where it was cut: terminal sequences,
// control characters, NULs, direction overrides and zero-width characters are gone, white space is one space each,
// bytes that are not UTF-8 are U+FFFD.
func clean(s string, limit int) string {
	s = s[:min(len(s), 16*limit+1024)] // what is far beyond the cut is not even read
	s = ansi.ReplaceAllString(strings.ToValidUTF8(s, "\uFFFD"), "")
	out := make([]rune, 0, min(len(s), limit+1))
	space := false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			space = len(out) > 0
			continue
		case !unicode.IsPrint(r):
			continue
		case space:
			out = append(out, ' ')
			space = false
		}
		out = append(out, r)
		if len(out) > limit {
			return strings.TrimRight(string(out[:limit-1]), " ") + "…"
		}
	}
	return string(out)
}

// entities take the meaning from every character that has one in GitHub's Markdown: structure, HTML, table borders,
// links (also bare ones, which need "http:" or "www."), math, mentions and issue numbers. The empty comment
// stays between an @ or # and its word when the text is looked through for those after rendering.
var entities = strings.NewReplacer(
	"&", "&amp;", "<", "&lt;", ">", "&gt;", "|", "&#124;", "`", "&#96;", "*", "&#42;", "_", "&#95;", "~", "&#126;",
	"[", "&#91;", "]", "&#93;", `\`, "&#92;", "$", "&#36;", ": ", ": ", ":", "&#58;", "w.", "w&#46;", "W.", "W&#46;",
	"@", "&#64;<!-- -->", "#", "&#35;<!-- -->",
)

// longest is the most bytes that one rune becomes in Markdown.
const longest = len("&#64;<!-- -->")

// prose makes foreign text safe in a Markdown sentence or table cell: at most limit runes, longest bytes each.
func prose(s string, limit int) string { return entities.Replace(clean(s, limit)) }

// code is prose in a fixed-width font; "" stays "".
func code(s string, limit int) string {
	if s = prose(s, limit); s == "" {
		return ""
	}
	return "<code>" + s + "</code>"
}

// plainURL matches addresses in which no character means anything to Markdown.
var plainURL = regexp.MustCompile(`^https?://[A-Za-z0-9][A-Za-z0-9.:\-]*(/[A-Za-z0-9/._~%?=&+,;:\-]*)?$`)

// link returns a Markdown link, or only the word where the address is not plainly one.
func link(word, address string) string {
	if len(address) > 500 || !plainURL.MatchString(address) {
		return prose(word, 100)
	}
	return "[" + prose(word, 100) + "](" + address + ")"
}

// label makes foreign text safe in a quoted Mermaid label: whatever is not a plain ASCII word becomes _.
func label(s string, limit int) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune(" -./:", r):
			return r
		}
		return '_'
	}, clean(s, limit))
}

// markup makes foreign text safe in XML.
func markup(s string, limit int) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(clean(s, limit))) // a bytes.Buffer takes everything
	return b.String()
}
