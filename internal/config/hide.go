package config

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// hidden stands in place of a secret.
const hidden = "***"

// Hider replaces every secret in a text by ***: as it is and as logs and answers repeat it, escaped for URLs and JSON, and
// the parts of an Authorization header (the token after Bearer, user and password of Basic).
func Hider(secrets []string) *strings.Replacer {
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
	return strings.NewReplacer(pairs...)
}

// ShortSecret is in bytes: a shorter secret says nothing and stands everywhere.
const ShortSecret = 4

// LongHider is Hider for texts of any origin: it leaves out the secrets that are so short that they stand everywhere.
func LongHider(secrets []string) *strings.Replacer {
	return Hider(slices.DeleteFunc(slices.Clone(secrets), func(s string) bool { return len(s) < ShortSecret }))
}

// Hider is LongHider for the secrets of this config.
func (c Config) Hider() *strings.Replacer { return LongHider(c.Secrets()) }

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
