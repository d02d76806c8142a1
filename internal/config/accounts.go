package config

import (
	"regexp"
	"slices"
	"strings"
)

const accountsAllowed = "a list of accounts, each with name and headers or cookies"

var accountKeys = []string{"name", "headers", "cookies"}

// accountName is what an account or check may be called: it stands in tables and notices.
var accountName = form{regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9 ._@/-]*[A-Za-z0-9])?$`), 63,
	"letters, digits, space and . _ @ / -, a letter or digit at both ends, at most 63 characters"}

// accounts reads the test accounts. Nothing of their headers and cookies is ever shown.
func (p *parser) accounts(v value) {
	p.each(v, "accounts", accountsAllowed, p.account)
}

// each reads the items of a list; one that is left empty has none.
func (p *parser) each(v value, name, allowed string, read func(value)) {
	if v.node.kind == nothing {
		return
	}
	if v.node.kind != list {
		p.fault(v, "is "+v.node.kind.String(), allowed)
		return
	}
	for i, n := range v.node.items {
		read(v.child(name+"["+itoa(i)+"]", n))
	}
}

func (p *parser) account(v value) {
	if v.node.kind != mapping {
		p.fault(v, "is "+v.node.kind.String(), "a map with "+strings.Join(accountKeys, ", "))
		return
	}
	var a Account
	for _, kv := range v.node.pairs {
		item := v.child(v.path+"."+kv.key.text, kv.value)
		switch kv.key.text {
		case "name":
			item.secret = false
			a.Name = p.form(item, accountName)
		case "headers":
			a.Headers = p.secrets(item, headerName, headerValue)
		case "cookies":
			a.Cookies = p.secrets(item, headerName, cookieValue)
		default:
			p.unknownKey(v, kv.key, v.path+"."+kv.key.text, accountKeys)
		}
	}
	if !v.node.has("name") {
		p.fault(v, "has no name", accountName.allowed)
	}
	if !v.node.has("headers") && !v.node.has("cookies") {
		p.fault(v, "has neither headers nor cookies", "at least one of them: without it a request is nobody's")
	}
	if a.Name != "" && slices.ContainsFunc(p.config.Accounts, func(b Account) bool { return b.Name == a.Name }) {
		p.fault(v, "is the second account named "+a.Name, "each name once")
	}
	p.config.Accounts = append(p.config.Accounts, a)
}

func (n node) has(key string) bool {
	return slices.ContainsFunc(n.pairs, func(kv pair) bool { return kv.key.text == key && kv.value.kind != nothing })
}

var (
	// headerValue is what may stand in a request's header: no line break ends it, no NUL cuts it.
	headerValue = form{regexp.MustCompile(`^[\t\x20-\x7e\x80-\x{10ffff}]*$`), 8000, "one line of at most 8000 bytes"}
	// cookieValue is RFC 6265's cookie-octet.
	cookieValue = form{regexp.MustCompile(`^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*$`), 4000,
		`at most 4000 characters without space, " , ; and \`}
)

// secrets reads a map of names and values in which ${NAME} stands for a variable of the environment.
func (p *parser) secrets(v value, names, values form) map[string]string {
	return p.named(v, names, func(item value) (string, bool) {
		text, ok := p.plain(item, "a plain value; ${NAME} stands for a variable of the environment")
		if !ok {
			return "", false
		}
		full, ok := p.expand(item, text)
		if ok && (len(full) > values.longest || !values.pattern.MatchString(full)) {
			p.fault(item, "the value is not allowed there (it is not shown because it may be secret)", values.allowed)
		}
		return full, true
	})
}

// named reads a map of names of a form; of what read refuses nothing is kept.
func (p *parser) named(v value, names form, read func(item value) (string, bool)) map[string]string {
	if v.node.kind != mapping {
		p.fault(v, "is "+v.node.kind.String(), "a map of names and values")
		return nil
	}
	out := map[string]string{}
	for _, kv := range v.node.pairs {
		item := v.child(v.path+"."+shown(kv.key.text), kv.value)
		if !names.pattern.MatchString(kv.key.text) || len(kv.key.text) > names.longest {
			p.fault(item, "the name is not allowed", names.allowed)
			continue
		}
		if text, ok := read(item); ok {
			out[kv.key.text] = text
		}
	}
	return out
}

var (
	reference     = regexp.MustCompile(`\$\{([^}]*)(\}?)`)
	referenceName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// expand replaces every ${NAME} by that variable of the environment. What was put in is a secret from then on, and so
// is the whole value around it.
func (p *parser) expand(v value, text string) (string, bool) {
	good, found := true, false
	out := reference.ReplaceAllStringFunc(text, func(match string) string {
		m := reference.FindStringSubmatch(match)
		name, closed := m[1], m[2] != ""
		if !closed || !referenceName.MatchString(name) {
			p.fault(v, "${ is not followed by the name of a variable and }", "${NAME} with letters, digits and _")
			good = false
			return ""
		}
		got := ""
		if p.getenv != nil {
			got = p.getenv(name)
		}
		if got == "" {
			p.fault(v, "environment variable "+shown(name)+" is not set", "a value for it in the environment of the job")
			good = false
		}
		found = true
		p.config.hide(got)
		return got
	})
	if found {
		p.config.hide(out)
	}
	return out, good
}
