package config

import (
	"errors"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	yamlparser "github.com/goccy/go-yaml/parser"
)

// The file is read as a tree with places, not decoded into a struct: a decoder stops at the first fault, and
// people want all of them at once.

type kind int

const (
	nothing kind = iota // null, or no value at all
	scalar
	list
	mapping
)

func (k kind) String() string {
	return [...]string{"empty", "a plain value", "a list", "a map"}[k]
}

// node is one YAML value and where it stands; line and column count from 1.
type node struct {
	kind         kind
	text         string // scalars, as written (quotes and escapes resolved)
	items        []node
	pairs        []pair
	line, column int
}

type pair struct{ key, value node }

// trouble is what makes a document unreadable at a place. Keys that are merely unknown are not its business.
type trouble struct {
	line, column     int
	width            int // characters at the place that may be shown
	problem, allowed string
}

// read parses one YAML document. Anchors, aliases, tags and merge keys are refused: they save little here, and they
// make a value stand where nobody looks for it.
func read(text []byte) (node, []trouble) {
	if line := tooDeep(text); line > 0 {
		return node{}, []trouble{{line: line, column: 1, problem: "is nested too deeply", allowed: "at most " + itoa(maxDepth) + " lists and maps in one another"}}
	}
	file, err := yamlparser.ParseBytes(text, 0, yamlparser.AllowDuplicateMapKey())
	if err != nil {
		return node{}, []trouble{syntax(err)}
	}
	var r reader
	var root node
	documents := 0
	for _, d := range file.Docs {
		if d.Body == nil {
			continue
		}
		if documents++; documents == 1 {
			root = r.node(d.Body)
			continue
		}
		line, _ := at(d.Body)
		r.refuse(line, 1, 0, "another document begins here", "one document")
	}
	return root, r.troubles
}

// maxDepth is far more than any config needs. The YAML parser takes minutes and all memory for what is nested without end.
const maxDepth = 100

// tooDeep returns the first line that nests deeper than maxDepth, 0 where none does. It counts brackets wherever they stand,
// and the dashes that begin a line.
func tooDeep(text []byte) int {
	depth := 0
	for i, line := range lines(text) {
		for _, c := range line {
			switch c {
			case '[', '{':
				depth++
			case ']', '}':
				depth = max(0, depth-1)
			}
			if depth > maxDepth {
				return i + 1
			}
		}
		rest := strings.TrimLeft(line, " -?")
		if strings.ContainsAny(line[:len(line)-len(rest)], "-?") && len(line)-len(rest) > 4*maxDepth {
			return i + 1
		}
	}
	return 0
}

func syntax(err error) trouble {
	t := trouble{line: 1, column: 1, width: 1, problem: "is not YAML"}
	if e, ok := errors.AsType[yaml.Error](err); ok {
		t.problem = "is not YAML: " + e.GetMessage()
		if k := e.GetToken(); k != nil && k.Position != nil {
			t.line, t.column = k.Position.Line, k.Position.Column
		}
	}
	return t
}

type reader struct{ troubles []trouble }

func (r *reader) refuse(line, column, width int, problem, allowed string) {
	r.troubles = append(r.troubles, trouble{line: line, column: column, width: width, problem: problem, allowed: allowed})
}

// at is where a value begins.
func at(n ast.Node) (line, column int) {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line, t.Position.Column
	}
	return 1, 1
}

func (r *reader) node(n ast.Node) node {
	line, column := at(n)
	out := node{line: line, column: column}
	switch n := n.(type) {
	case *ast.NullNode:
		out.kind = nothing
	case *ast.StringNode:
		out.kind, out.text = scalar, n.Value
	case *ast.LiteralNode:
		out.kind, out.text = scalar, n.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		out.kind, out.text = scalar, n.GetToken().Value
	case *ast.SequenceNode:
		out.kind = list
		for _, item := range n.Values {
			out.items = append(out.items, r.node(item))
		}
	case *ast.MappingNode:
		return r.mapping(n, out)
	case *ast.AnchorNode, *ast.AliasNode:
		r.refuse(line, column, 1, "anchors and aliases are not supported", "the value itself")
	case *ast.TagNode:
		r.refuse(line, column, 1, "tags are not supported", "the value without a tag")
	default:
		r.refuse(line, column, 1, "this kind of YAML is not supported", "maps, lists and plain values")
	}
	return out
}

func (r *reader) mapping(n *ast.MappingNode, out node) node {
	out.kind = mapping
	seen := map[string]int{}
	for _, v := range n.Values {
		line, column := at(v.Key)
		if _, ok := v.Key.(*ast.StringNode); !ok && !plainKey(v.Key) {
			r.refuse(line, column, 1, "this kind of key is not supported", "a plain word")
			continue
		}
		key := r.node(v.Key)
		if first, ok := seen[key.text]; ok {
			r.refuse(line, column, len([]rune(key.text)), "key "+shown(key.text)+" stands here for the second time, first in line "+itoa(first), "each key once")
			continue
		}
		seen[key.text] = line
		out.pairs = append(out.pairs, pair{key: key, value: r.node(v.Value)})
	}
	if !n.IsFlowStyle && len(out.pairs) > 0 {
		out.line, out.column = out.pairs[0].key.line, out.pairs[0].key.column
	}
	return out
}

// plainKey says whether a key that YAML takes for a number or a switch may be read as the word it is (env: {ON: 1}).
func plainKey(k ast.MapKeyNode) bool {
	switch k.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return true
	}
	return false
}

func lines(text []byte) []string { return strings.Split(string(text), "\n") }
