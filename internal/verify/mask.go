package verify

import (
	"strconv"
	"strings"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
)

const (
	maxExcerpt = 200      // bytes of foreign text that are shown
	maxMasked  = 64 << 10 // bytes of an answer that are searched for secrets: far more than an excerpt of it can come from
)

// mask makes foreign text fit to be shown: secrets replaced, cut, and, where it is quoted, on one line.
type mask struct{ replacer *strings.Replacer }

// newMask hides every secret, however an answer repeats it.
func newMask(secrets []string) mask { return mask{config.Hider(secrets)} }

// valuesOf are all values that accounts add to requests.
func valuesOf(accounts []config.Account) []string {
	var values []string
	for _, a := range accounts {
		for _, m := range []map[string]string{a.Headers, a.Cookies} {
			for _, value := range m {
				values = append(values, value)
			}
		}
	}
	return values
}

// text masks and cuts a text that is not quoted, such as an error's: control characters become spaces.
func (m mask) text(s string) string {
	s = m.replacer.Replace(strings.ToValidUTF8(s, "?"))
	s = strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	return cut(s)
}

// quoted masks, cuts and quotes a text.
func (m mask) quoted(s string) string { return quoted(m.replacer.Replace(s)) }

// excerpt is the beginning of an answer. It is masked before it is cut, so that no half of a secret is left.
func (m mask) excerpt(body []byte) string {
	if len(body) == 0 {
		return "empty body"
	}
	return m.quoted(string(body[:min(len(body), maxMasked)]))
}

// header is what a header of an answer says.
func (m mask) header(values []string) string {
	if len(values) == 0 {
		return "no such header"
	}
	return m.quoted(strings.Join(values, ", "))
}

func quoted(s string) string { return strconv.Quote(cut(s)) }

// cut keeps the first 200 bytes, whole UTF-8 sequences.
func cut(s string) string {
	if len(s) <= maxExcerpt {
		return s
	}
	for end := maxExcerpt; ; end-- {
		if s[end]&0xc0 != 0x80 || end == maxExcerpt-3 {
			return s[:end] + "…"
		}
	}
}
