package config

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

var checkKeys = []string{"name", "account", "method", "path", "headers", "body", "status", "expect-headers", "json-path", "equals",
	"text", "within", "side", "repeat", "port"}

// checks reads the checks. accounts must have been read before.
func (p *parser) checks(v value) {
	p.each(v, "checks", "a list of checks, each with name and path at least", p.check)
}

func (p *parser) check(v value) {
	c := Check{Method: "GET", Status: 200, Within: 5 * time.Second, Side: "gray"}
	if p.fields(v, checkKeys, func(key string, item value) { p.checkField(&c, key, item) }) {
		p.wholeCheck(v, c)
		p.config.Checks = append(p.config.Checks, c)
	}
}

// fields reads what stands under the keys of a map, and says whether it is one. A key without a value is as none.
func (p *parser) fields(v value, keys []string, read func(key string, item value)) bool {
	if v.node.kind != mapping {
		p.fault(v, "is "+v.node.kind.String(), "a map with "+strings.Join(keys, ", "))
		return false
	}
	for _, kv := range v.node.pairs {
		item := v.child(v.path+"."+kv.key.text, kv.value)
		switch {
		case !slices.Contains(keys, kv.key.text):
			p.unknownKey(v, kv.key, item.path, keys)
		case kv.value.kind != nothing:
			read(kv.key.text, item)
		}
	}
	return true
}

func (p *parser) checkField(c *Check, key string, v value) {
	switch key {
	case "name":
		c.Name = p.form(v, accountName)
	case "account":
		c.Account = p.accountOf(v)
	case "method":
		c.Method = p.word(v, "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
	case "path":
		c.Path = p.path(v)
	case "headers":
		c.Headers = p.headers(v)
	case "body":
		c.Body, _ = p.plain(v, "a plain value")
	case "status":
		c.Status = p.number(v, 100, 599)
	case "expect-headers":
		c.Header = p.headers(v)
	case "json-path":
		c.JSONPath = p.form(v, jsonPath)
	case "equals":
		c.Equals, _ = p.plain(v, "a plain value")
	case "text":
		c.Text, _ = p.plain(v, "a plain value")
	case "within":
		c.Within = p.duration(v, time.Millisecond, time.Minute)
	case "side":
		c.Side = p.word(v, "gray", "production", "both")
	case "repeat":
		c.Repeat = p.boolean(v)
	case "port":
		c.Port = p.number(v, 1, 65535)
	}
}

// wholeCheck is what no field shows by itself.
func (p *parser) wholeCheck(v value, c Check) {
	if !v.node.has("name") {
		p.fault(v, "has no name", accountName.allowed)
	}
	if !v.node.has("path") {
		p.fault(v, "has no path", pathAllowed)
	}
	if c.Name != "" && slices.ContainsFunc(p.config.Checks, func(o Check) bool { return o.Name == c.Name }) {
		p.fault(v, "is the second check named "+c.Name, "each name once")
	}
	if c.Repeat && c.Method != "" && c.Method != "GET" && c.Method != "HEAD" {
		p.fault(v, "repeats "+c.Method, "repeat: true only with method GET or HEAD, which change nothing")
	}
	if v.node.has("json-path") != v.node.has("equals") {
		p.fault(v, "has only one of json-path and equals", "both of them or none")
	}
	if c.Method == "HEAD" && (v.node.has("json-path") || v.node.has("text")) {
		p.fault(v, "asks for the body of an answer to HEAD, which has none", "method GET, or only status and expect-headers")
	}
}

func (p *parser) accountOf(v value) string {
	var names []string
	for _, a := range p.config.Accounts {
		if a.Name != "" && !slices.Contains(names, a.Name) {
			names = append(names, a.Name)
		}
	}
	allowed := "none is defined under accounts"
	if len(names) > 0 {
		allowed = "one of accounts: " + strings.Join(names, ", ")
	}
	s, ok := p.plain(v, allowed)
	if ok && !slices.Contains(names, s) {
		p.fault(v, "is not an account", allowed)
	}
	return s
}

const pathAllowed = "a path that begins with /, with a query if need be, like /account?details=1"

func (p *parser) path(v value) string {
	s, ok := p.plain(v, pathAllowed)
	if !ok {
		return ""
	}
	u, err := url.ParseRequestURI(s)
	if err != nil || !strings.HasPrefix(s, "/") || strings.ContainsAny(s, "# ") || u.Host != "" || !printable.pattern.MatchString(s) {
		p.fault(v, "is not a path", pathAllowed)
	}
	return s
}

// jsonPath is checked in full by what evaluates it; here only that it is meant to be one.
var jsonPath = form{regexp.MustCompile(`^(\$[^\pC]*|\{\.[^\pC]*\})$`), 500, "a JSONPath, like $.account.name or {.account.name}"}

// headers reads plain headers. A secret belongs to an account, so ${NAME} is refused here.
func (p *parser) headers(v value) map[string]string {
	return p.named(v, headerName, func(item value) (string, bool) {
		s := p.form(item, headerValue)
		if strings.Contains(s, "${") {
			p.fault(item, "values from the environment are not put in here", "headers with ${NAME} under accounts")
		}
		return s, true
	})
}
