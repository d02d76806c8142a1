package config

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
)

// Input is one value that did not come from the config file. An empty value counts as not given.
type Input struct {
	Key    string
	Value  string
	Origin string // FromFlag, FromInput or FromEnv
	Unread error  // of the key config: why the file that it names could not be read
}

// Who gave an input, strongest first. The config file comes after them, the default last.
const (
	FromFlag  = "flag"
	FromInput = "input" // of the GitHub action
	FromEnv   = "env"
)

// Parse makes a Config of the file's bytes (nil: there is none), the inputs and the defaults; the stronger origin wins,
// key by key (in thresholds: limit by limit). Account values are looked up with getenv. The error is every *Fault
// at once, joined; none of them holds a secret. With an error the Config is empty.
func Parse(file []byte, fileName string, inputs []Input, getenv func(string) string) (Config, error) {
	p := &parser{config: Defaults(), getenv: getenv, from: map[string]value{}}
	p.read(file, fileName, inputs)
	p.ownImage()
	p.tokens()
	p.required()
	p.together()
	p.asks()
	p.logs()
	return p.result()
}

// ParseTarget is Parse for commands that only bring home what is there (close, status, offline-test): no image is
// needed, and test accounts, checks and queries are left out, so that a job without their secrets can still close.
func ParseTarget(file []byte, fileName string, inputs []Input) (Config, error) {
	p := &parser{config: Defaults(), targetOnly: true, from: map[string]value{}}
	p.read(file, fileName, inputs)
	p.required()
	return p.result()
}

// FileName returns the config file that the inputs name; "" where none does.
func FileName(inputs []Input) string {
	best := Input{}
	for _, in := range inputs {
		if in.Key == "config" && strings.TrimSpace(in.Value) != "" && (best.Key == "" || rank(in.Origin) >= rank(best.Origin)) {
			best = in
		}
	}
	return strings.TrimSpace(best.Value)
}

// rank orders origins; the file has 0.
func rank(origin string) int {
	switch origin {
	case FromFlag:
		return 3
	case FromInput:
		return 2
	}
	return 1
}

// value is what somebody gave for a key: a node of the file, or the text of an input.
type value struct {
	path   string // steps, checks[1].path
	origin string // as a Fault says it
	node   node
	lines  []string // of the file; nil for an input
	secret bool     // never shown
	nearby bool     // secrets may stand beside it in its line
	rank   int
}

// child is a value inside this one.
func (v value) child(path string, n node) value {
	c := v
	c.path, c.node = path, n
	if v.lines != nil {
		c.origin = place(v.origin, n.line, n.column)
	}
	return c
}

// place is FILE:LINE:COLUMN, from any place in the same file.
func place(origin string, line, column int) string {
	file := origin
	for range 2 {
		if i := strings.LastIndexByte(file, ':'); i >= 0 {
			file = file[:i]
		}
	}
	return file + ":" + itoa(line) + ":" + itoa(column)
}

type parser struct {
	config     Config
	faults     []error
	getenv     func(string) string
	from       map[string]value // by key: the value that won
	targetOnly bool
	unreadable bool // the file could not be read in full: what is missing is not known
}

func (p *parser) result() (Config, error) {
	if len(p.faults) > 0 {
		return Config{}, errors.Join(p.faults...)
	}
	return p.config, nil
}

// fault notes what is wrong with a value.
func (p *parser) fault(v value, problem, allowed string) {
	f := &Fault{Key: v.path, Origin: v.origin, Problem: problem, Allowed: allowed}
	if v.node.kind == scalar && !v.secret {
		f.Value = shown(v.node.text)
	}
	if v.lines != nil {
		keep := -1
		if v.secret || v.nearby {
			keep = v.node.column - 1
		}
		f.Snippet = snippet(v.lines, v.node.line, v.node.column, keep)
	}
	p.faults = append(p.faults, f)
}

// unknownKey notes a key of a map that does not exist.
func (p *parser) unknownKey(in value, key node, path string, known []string) {
	problem, allowed := unknown(key.text, known)
	v := in.child(path, key)
	f := &Fault{Key: "key " + shown(path), Origin: v.origin, Problem: problem, Allowed: allowed}
	if v.lines != nil {
		keep := -1
		if v.secret || v.nearby {
			keep = key.column - 1 + len([]rune(key.text))
		}
		f.Snippet = snippet(v.lines, key.line, key.column, keep)
	}
	p.faults = append(p.faults, f)
}

// read takes the file and the inputs, and sets what they say.
func (p *parser) read(file []byte, fileName string, inputs []Input) {
	given := map[string][]value{}
	accounts, checks, queries := p.file(file, fileName, given)
	p.inputs(inputs, given)
	for _, k := range Keys {
		values := given[k.Name]
		slices.SortStableFunc(values, func(a, b value) int { return cmp.Compare(a.rank, b.rank) })
		if len(values) == 0 {
			continue
		}
		p.from[k.Name] = values[len(values)-1]
		if k.Name != "thresholds" { // each limit is a value of its own: the weaker origins are set first
			values = values[len(values)-1:]
		}
		for _, v := range values {
			k.set(p, v)
		}
	}
	if !p.targetOnly {
		p.accounts(accounts)
		p.checks(checks)
		p.queries(queries)
	}
}

// file sorts the keys of the config file by name.
func (p *parser) file(text []byte, name string, given map[string][]value) (accounts, checks, queries value) {
	root, troubles := read(text)
	all := lines(text)
	for _, t := range troubles {
		p.trouble(name, all, t)
	}
	top := value{origin: place(name+":0:0", root.line, root.column), node: root, lines: all}
	if root.kind == nothing {
		return accounts, checks, queries
	}
	if root.kind != mapping {
		top.path = "config"
		p.fault(top, "the file is "+root.kind.String(), "a map with inputs as keys")
		return accounts, checks, queries
	}
	known := fileKeys()
	for _, kv := range root.pairs {
		v := top.child(kv.key.text, kv.value)
		switch key := kv.key.text; {
		case key == "accounts":
			v.secret, v.nearby = true, true
			accounts = v
		case key == "checks":
			checks = v
		case key == "queries":
			queries = v
		case key == "config":
			p.fault(v, "cannot stand in the file that it names", "--config, input config or environment variable GRAY_CONFIG")
		case !slices.Contains(known, key):
			p.unknownKey(top, kv.key, key, known)
		case kv.value.kind == nothing || kv.value.kind == scalar && kv.value.text == "":
		default:
			v.secret = secret(key)
			given[key] = append(given[key], v)
		}
	}
	return accounts, checks, queries
}

// trouble notes what makes the file unreadable.
func (p *parser) trouble(name string, all []string, t trouble) {
	f := &Fault{Origin: place(name+":0:0", t.line, t.column), Problem: t.problem, Allowed: t.allowed}
	f.Snippet = snippet(all, t.line, t.column, t.column-1+t.width) // what follows may be a secret
	p.faults = append(p.faults, f)
	p.unreadable = true
}

// inputs sorts the inputs by key.
func (p *parser) inputs(inputs []Input, given map[string][]value) {
	for _, in := range inputs {
		text := strings.TrimSpace(in.Value)
		if text == "" && in.Unread == nil {
			continue
		}
		v := value{path: in.Key, origin: origin(in), node: node{kind: scalar, text: text}, rank: rank(in.Origin), secret: true}
		known := keyNames()
		if !slices.Contains(known, in.Key) {
			problem, allowed := unknown(in.Key, known)
			p.fault(v, problem, allowed)
			continue
		}
		v.secret = secret(in.Key)
		given[in.Key] = append(given[in.Key], v)
		if in.Unread != nil {
			p.fault(v, "cannot be read: "+in.Unread.Error(), "a YAML file with inputs as keys, that this job can read")
			p.unreadable = true
		}
	}
}

// origin is how a Fault names who gave an input.
func origin(in Input) string {
	switch in.Origin {
	case FromFlag:
		return "flag --" + in.Key
	case FromInput:
		return "input " + in.Key
	}
	return "environment variable " + Key{Name: in.Key}.Env()
}

func keyNames() []string {
	var names []string
	for _, k := range Keys {
		names = append(names, k.Name)
	}
	return names
}

// fileKeys are the keys of the config file.
func fileKeys() []string {
	var names []string
	for _, k := range Keys {
		if !k.NotInFile {
			names = append(names, k.Name)
		}
	}
	return append(names, "accounts", "checks", "queries")
}

func secret(key string) bool {
	return slices.ContainsFunc(Keys, func(k Key) bool { return k.Name == key && k.Secret })
}

func itoa(n int) string { return strconv.Itoa(n) }
