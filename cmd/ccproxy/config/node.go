package config

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	maxFileBytes = 1 << 20
	maxDepth     = 64      // of nested lists and mappings
	maxTokens    = 200_000 // of one file
	maxKeys      = 10_000  // of one mapping; the parser's work is quadratic in them
	maxNodes     = 100_000 // once every alias is written out
)

type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindNumber
	kindText
	kindList
	kindMapping
)

// String names the kind as it stands in messages.
func (k kind) String() string {
	return [...]string{"nothing", "a boolean", "a number", "text", "a list", "a mapping"}[k]
}

// node is a YAML value with its place: the AST without tags, aliases and merge keys.
type node struct {
	kind     kind
	text     string // of a scalar, as written but for quotes
	expanded bool   // text is final: environment variables are in it already
	fromEnv  bool   // text came, at least in part, from the environment
	place    Place
	items    []*node
	pairs    []pair
	size     int // nodes under it, aliases written out
}

type pair struct {
	key   string
	place Place
	value *node
}

// get returns the value of key, or nil.
func (n *node) get(key string) *node {
	if n == nil {
		return nil
	}
	for _, p := range n.pairs {
		if p.key == key {
			return p.value
		}
	}
	return nil
}

// got describes the value for a message, without its text when it is long.
func (n *node) got() string {
	switch n.kind {
	case kindBool, kindNumber:
		return fmt.Sprintf("%s (%.40s)", n.kind, n.text)
	case kindText:
		return "text"
	default:
		return n.kind.String()
	}
}

// parse reads one YAML document. An empty document is an empty mapping.
func parse(file string, data []byte) (root *node, problems []*Problem) {
	fail := func(line, column int, format string, args ...any) (*node, []*Problem) {
		return nil, []*Problem{{Place: Place{file, line, column}, Message: fmt.Sprintf(format, args...)}}
	}
	if len(data) > maxFileBytes {
		return fail(0, 0, "larger than 1 MiB; this is not a configuration file")
	}
	if line, column, ok := firstInvalid(data); !ok {
		return fail(line, column, "not UTF-8 text, or a control character; save the file as UTF-8")
	}
	defer func() {
		// The parser's own faults must not take a running gateway down at a reload.
		if r := recover(); r != nil {
			root, problems = fail(1, 1, "cannot be read as YAML (%.80v)", r)
		}
	}()
	text := strings.TrimPrefix(string(data), "\ufeff")
	tokens := lexer.Tokenize(text)
	if t, why := excess(tokens); t != nil {
		return fail(t.Position.Line, t.Position.Column, "%s", why)
	}
	tree, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, []*Problem{syntaxProblem(file, text, err)}
	}
	c := converter{file: file, anchors: map[string]*node{}}
	var body ast.Node
	for _, doc := range tree.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			place := c.place(doc.Body)
			return fail(place.Line, place.Column, "a second YAML document; keep one")
		}
		body = doc.Body
	}
	if body == nil {
		return &node{kind: kindMapping, place: Place{file, 1, 1}}, nil
	}
	root = c.convert(body, 0)
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	switch root.kind {
	case kindMapping:
		return root, nil
	case kindNull:
		return &node{kind: kindMapping, place: Place{file, 1, 1}}, nil
	}
	return fail(root.place.Line, root.place.Column, "want keys and values at the top of the file, got %s", root.got())
}

// firstInvalid finds the first byte that is not part of printable UTF-8 text.
func firstInvalid(data []byte) (line, column int, ok bool) {
	line, column = 1, 1
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		if r == utf8.RuneError && n <= 1 {
			return line, column, false
		}
		if (r < ' ' && r != '\t' && r != '\n' && r != '\r') || r == 0x7f {
			return line, column, false
		}
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
		data = data[n:]
	}
	return 0, 0, true
}

// excess bounds what the recursive parser is given: a stack that overflows cannot be recovered from.
func excess(tokens token.Tokens) (*token.Token, string) {
	if len(tokens) > maxTokens {
		return tokens[maxTokens], "more than 200,000 tokens; this is not a configuration file"
	}
	flow, run := 0, 0
	keys := map[int]int{} // :: column → keys of the block mapping there
	for _, t := range tokens {
		switch column := t.Position.Column; t.Type {
		case token.MappingValueType:
			if flow > 0 || t.Prev == nil {
				break
			}
			column = t.Prev.Position.Column
			if keys[column]++; keys[column] > maxKeys {
				return t.Prev, "more than 10,000 keys in one mapping; this is not a configuration file"
			}
			fallthrough
		case token.SequenceEntryType:
			maps.DeleteFunc(keys, func(deeper, _ int) bool { return deeper > column })
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType, token.MappingValueType:
			run++
			if run > maxDepth {
				return t, "nested too deeply"
			}
			continue
		}
		if flow > maxDepth {
			return t, "nested too deeply"
		}
		run = 0
	}
	return nil, ""
}

// syntaxProblem turns the parser's error into ours, and names the commonest cause of all: a tab.
func syntaxProblem(file, text string, err error) *Problem {
	p := &Problem{Place: Place{file, 1, 1}, Message: "not valid YAML: " + err.Error()}
	var syntax *yaml.SyntaxError
	if errors.As(err, &syntax) {
		p.Message = "not valid YAML: " + syntax.Message
		if syntax.Token != nil && syntax.Token.Position != nil {
			p.Line, p.Column = syntax.Token.Position.Line, syntax.Token.Position.Column
		}
	}
	for i, line := range strings.Split(text, "\n") {
		indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		if column := strings.IndexByte(indent, '\t'); column >= 0 && strings.TrimSpace(line) != "" {
			p.Line, p.Column, p.Message = i+1, column+1, "a tab in the indentation; YAML wants spaces"
			break
		}
	}
	return p
}

// converter turns the parser's tree into ours.
type converter struct {
	file     string
	anchors  map[string]*node
	problems []*Problem
	bomb     bool
}

func (c *converter) place(n ast.Node) Place {
	t := n.GetToken()
	if t == nil || t.Position == nil {
		return Place{c.file, 1, 1}
	}
	return Place{c.file, t.Position.Line, t.Position.Column}
}

func (c *converter) fail(p Place, format string, args ...any) *node {
	c.problems = append(c.problems, &Problem{Place: p, Message: fmt.Sprintf(format, args...)})
	return &node{place: p, size: 1}
}

func (c *converter) convert(n ast.Node, depth int) *node {
	if n == nil {
		return &node{kind: kindNull, place: Place{c.file, 1, 1}, size: 1}
	}
	p := c.place(n)
	if depth > maxDepth {
		return c.fail(p, "nested too deeply")
	}
	scalar := func(k kind, text string) *node { return &node{kind: k, text: text, place: p, size: 1} }
	switch n := n.(type) {
	case *ast.NullNode:
		return scalar(kindNull, "")
	case *ast.BoolNode:
		return scalar(kindBool, n.Token.Value)
	case *ast.IntegerNode:
		return scalar(kindNumber, n.Token.Value)
	case *ast.FloatNode:
		return scalar(kindNumber, n.Token.Value)
	case *ast.InfinityNode:
		return scalar(kindNumber, n.Token.Value)
	case *ast.NanNode:
		return scalar(kindNumber, n.Token.Value)
	case *ast.StringNode:
		return scalar(kindText, n.Value)
	case *ast.LiteralNode:
		return scalar(kindText, n.Value.Value)
	case *ast.SequenceNode:
		list := &node{kind: kindList, place: p, size: 1}
		for _, item := range n.Values {
			list.items = append(list.items, c.grow(list, c.convert(item, depth+1)))
		}
		return list
	case *ast.MappingNode:
		return c.mapping(p, n.Values, depth)
	case *ast.MappingValueNode:
		return c.mapping(c.place(n.Key), []*ast.MappingValueNode{n}, depth)
	case *ast.AnchorNode:
		value := c.convert(n.Value, depth+1)
		c.anchors[n.Name.GetToken().Value] = value
		return value
	case *ast.AliasNode:
		name := n.Value.GetToken().Value
		if value, ok := c.anchors[name]; ok {
			return value
		}
		return c.fail(p, "alias *%s has no anchor &%s before it", name, name)
	case *ast.TagNode:
		return c.fail(p, "tag %s: tags are not supported; leave it out", n.Start.Value)
	}
	return c.fail(p, "unsupported YAML (%s)", n.Type())
}

func (c *converter) mapping(p Place, values []*ast.MappingValueNode, depth int) *node {
	m := &node{kind: kindMapping, place: p, size: 1}
	if len(values) > 0 {
		m.place = c.place(values[0].Key)
	}
	seen := map[string]Place{}
	var merged []*node
	for _, v := range values {
		place := c.place(v.Key)
		value := c.grow(m, c.convert(v.Value, depth+1))
		if _, ok := v.Key.(*ast.MergeKeyNode); ok {
			merged = append(merged, value)
			continue
		}
		key, ok := keyText(v.Key)
		if !ok {
			c.fail(place, "a key must be a plain name")
			continue
		}
		if first, dup := seen[key]; dup {
			c.fail(place, "key %q is here twice; the first is on line %d; keep one", key, first.Line)
			continue
		}
		seen[key] = place
		m.pairs = append(m.pairs, pair{key, place, value})
	}
	for _, value := range merged {
		c.merge(m, seen, value)
	}
	return m
}

// merge adds what m has not: "<<: *base", or a list of such.
func (c *converter) merge(m *node, seen map[string]Place, from *node) {
	if c.bomb {
		return
	}
	switch from.kind {
	case kindList:
		for _, item := range from.items {
			if item.kind != kindMapping {
				c.fail(item.place, "<< wants mappings, got %s", item.got())
				continue
			}
			c.merge(m, seen, item)
		}
	case kindMapping:
		for _, p := range from.pairs {
			if _, ok := seen[p.key]; !ok {
				seen[p.key] = p.place
				m.pairs = append(m.pairs, p)
				c.grow(m, p.value)
			}
		}
	default:
		c.fail(from.place, "<< wants a mapping, got %s", from.got())
	}
}

// grow adds child's size to parent's and notices an alias bomb: nodes are shared, so it costs nothing here, but
// whoever walks the tree would pay for every path.
func (c *converter) grow(parent, child *node) *node {
	parent.size += child.size
	if parent.size > maxNodes {
		if !c.bomb {
			c.bomb = true
			c.fail(child.place, "aliases expand to more than 100,000 values; write fewer")
		}
		parent.size = maxNodes
	}
	return child
}

func keyText(k ast.MapKeyNode) (string, bool) {
	switch k := k.(type) {
	case *ast.StringNode:
		return k.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
		return k.GetToken().Value, true
	}
	return "", false
}
