package config

import (
	"errors"
	"regexp"
	"strings"
)

// args is the setter of arguments: a YAML list, or words as in a shell.
func args(side func(*Config) *Parameters) func(*parser, value) {
	return func(p *parser, v value) { side(&p.config).Args = p.args(v) }
}

func (p *parser) args(v value) []string {
	const allowed = "words with quotes as in a shell, or a YAML list"
	if v.node.kind == scalar && listed.MatchString(v.node.text) {
		root, troubles := read([]byte(v.node.text))
		if len(troubles) > 0 || root.kind != list {
			p.fault(v, "begins like a YAML list and is none", allowed) // a parser's own words may hold what is secret
			return nil
		}
		v.node, v.lines = root, nil
	}
	switch v.node.kind {
	case list:
		var out []string
		for i, item := range v.node.items {
			if word, ok := p.plain(v.child(v.path+"["+itoa(i)+"]", item), "a plain value"); ok {
				out = append(out, word)
			}
		}
		return out
	case scalar:
		words, err := split(v.node.text)
		if err != nil {
			p.fault(v, err.Error(), allowed)
		}
		return words
	case mapping, nothing:
		p.fault(v, "is "+v.node.kind.String(), allowed)
	}
	return nil
}

// listed is how a YAML list begins in an input: a word that begins so must be quoted.
var listed = regexp.MustCompile(`^\s*(\[|-\s)`)

// split cuts text into words as a POSIX shell does, without expanding anything: white space separates, ' takes
// everything, " takes everything but \" and \\, and outside of quotes \ takes the next character.
func split(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord := false
	var quote rune
	runes := []rune(s)
	for i := 0; i < len(runes); i++ {
		c := runes[i]
		switch {
		case quote == 0 && strings.ContainsRune(" \t\r\n", c):
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
			continue
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case c == quote:
			quote = 0
		case c == '\\' && quote != '\'':
			if i+1 == len(runes) {
				return nil, errors.New("ends in a backslash")
			}
			next := runes[i+1]
			if quote == '"' && next != '"' && next != '\\' {
				word.WriteRune(c)
			} else {
				word.WriteRune(next)
				i++
			}
		default:
			word.WriteRune(c)
		}
		inWord = true
	}
	if quote != 0 {
		return nil, errors.New("has an open quote")
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// env is the setter of environment variables: in the file a map or a list, as an input lines or commas.
func env(side func(*Config) *Parameters) func(*parser, value) {
	return func(p *parser, v value) { side(&p.config).Env = p.env(v) }
}

const envAllowed = "NAME=VALUE, one a line, or with commas between them where no value holds a comma"

func (p *parser) env(v value) []EnvVar {
	var out []EnvVar
	switch v.node.kind {
	case mapping:
		for _, kv := range v.node.pairs {
			item := v.child(v.path+"."+shown(kv.key.text), kv.value)
			text := ""
			if kv.value.kind != nothing {
				text, _ = p.plain(item, "a plain value")
			}
			out = p.variable(item, out, kv.key.text, text)
		}
	case list:
		for i, n := range v.node.items {
			item := v.child(v.path+"["+itoa(i)+"]", n)
			if text, ok := p.plain(item, "NAME=VALUE"); ok {
				out = p.assignment(item, out, text)
			}
		}
	case scalar:
		separator := ","
		if strings.Contains(v.node.text, "\n") {
			separator = "\n"
		}
		for i, text := range strings.Split(v.node.text, separator) {
			if text = strings.TrimSpace(text); text == "" {
				continue
			}
			item := v
			item.path = v.path + "[" + itoa(i) + "]"
			out = p.assignment(item, out, text)
		}
	case nothing:
		p.fault(v, "is "+v.node.kind.String(), envAllowed)
	}
	return out
}

func (p *parser) assignment(v value, out []EnvVar, text string) []EnvVar {
	name, val, found := strings.Cut(text, "=")
	if !found {
		p.fault(v, `has no "="`, envAllowed)
		return out
	}
	return p.variable(v, out, name, val)
}

// envName is what Kubernetes takes as the name of a variable, without the leading digit that no shell can read.
var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

func (p *parser) variable(v value, out []EnvVar, name, val string) []EnvVar {
	if !envName.MatchString(name) {
		p.fault(v, "the name is not allowed", "names of letters, digits, _, . and -, not beginning with a digit")
		return out
	}
	for _, e := range out {
		if e.Name == name {
			p.fault(v, name+" stands here for the second time", "each name once")
			return out
		}
	}
	return append(out, EnvVar{Name: name, Value: val})
}
