package verify

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
)

const (
	maxExcerpt = 200      // bytes of foreign text that are shown
	maxMasked  = 64 << 10 // bytes of an answer that are searched for secrets: far more than an excerpt of it can come from
	hidden     = "***"
)

// mask makes foreign text fit to be shown: secrets replaced, cut, and, where it is quoted, on one line.
type mask struct{ replacer *strings.Replacer }

// newMask hides every secret, as it is and as answers repeat it: escaped for URLs and JSON, and the parts of an
// Authorization header (the token after Bearer, user and password of Basic).
func newMask(secrets []string) mask {
	var all []string
	for _, s := range secrets {
		for _, part := range partsOf(s) {
			all = append(all, part, url.QueryEscape(part), url.PathEscape(part), jsonEscape(part))
		}
	}
	all = slices.DeleteFunc(all, func(s string) bool { return s == "" })
	// The longest first: a secret within another must not leave the rest of that one in sight.
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	var pairs []string
	for _, s := range slices.Compact(all) {
		pairs = append(pairs, s, hidden)
	}
	return mask{strings.NewReplacer(pairs...)}
}

// partsOf returns a secret and what is secret in it alone.
func partsOf(secret string) []string {
	parts := []string{secret}
	scheme, credentials, ok := strings.Cut(secret, " ")
	if !ok {
		return parts
	}
	parts = append(parts, credentials)
	if !strings.EqualFold(scheme, "Basic") {
		return parts
	}
	if plain, err := base64.StdEncoding.DecodeString(credentials); err == nil {
		_, password, _ := strings.Cut(string(plain), ":")
		parts = append(parts, string(plain), password)
	}
	return parts
}

func jsonEscape(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return ""
	}
	return string(b[1 : len(b)-1])
}

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
