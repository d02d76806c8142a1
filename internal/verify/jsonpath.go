package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// jsonPath is a compiled path: a string is a member of an object, an int an element of an array.
type jsonPath []any

// parsePath reads the small part of JSONPath that names one value: $.a.b[0]['c d'] or, as kubectl writes it, {.a.b}.
// An empty text is an empty path.
func parsePath(text string) (jsonPath, error) {
	if strings.HasPrefix(text, "{") && strings.HasSuffix(text, "}") {
		text = text[1 : len(text)-1]
	}
	rest := strings.TrimPrefix(text, "$")
	var p jsonPath
	for rest != "" {
		step, after, err := nextStep(rest)
		if err != nil {
			return nil, err
		}
		p, rest = append(p, step), after
	}
	return p, nil
}

var errPath = errors.New("only names and positions are understood, as in $.a.b[0]['c d'] or {.a.b}")

// nextStep takes one step off a path: .name, [0], ['name'] or ["name"].
func nextStep(text string) (step any, rest string, err error) {
	switch text[0] {
	case '.':
		name, rest := text[1:], ""
		if i := strings.IndexAny(name, ".["); i >= 0 {
			name, rest = name[:i], name[i:]
		}
		if name == "" || strings.ContainsAny(name, "*]()?@ ,:'\"") {
			return nil, "", errPath
		}
		return name, rest, nil
	case '[':
		return bracket(text[1:])
	}
	return nil, "", errPath
}

func bracket(text string) (step any, rest string, err error) {
	if text != "" && (text[0] == '\'' || text[0] == '"') {
		name, after, ok := strings.Cut(text[1:], text[:1]+"]")
		if !ok {
			return nil, "", errPath
		}
		return name, after, nil
	}
	digits, after, ok := strings.Cut(text, "]")
	i, err := strconv.Atoi(digits)
	if !ok || err != nil || i < 0 || digits[0] == '+' {
		return nil, "", errPath
	}
	return i, after, nil
}

// find returns the value at the path as text: strings without quotes, numbers as they are written, true, false, null,
// and objects and arrays as compact JSON.
func (p jsonPath) find(body []byte) (string, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		if len(body) == maxBody {
			return "", errors.New("no JSON in the first MiB")
		}
		return "", errors.New("no JSON")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return "", errors.New("more than one JSON value")
	}
	for _, step := range p {
		var ok bool
		switch step := step.(type) {
		case string:
			var object map[string]any
			if object, ok = value.(map[string]any); ok {
				value, ok = object[step]
			}
		case int:
			var list []any
			if list, ok = value.([]any); ok && step < len(list) {
				value = list[step]
			} else {
				ok = false
			}
		}
		if !ok {
			return "", fmt.Errorf("nothing at %v", step)
		}
	}
	return textOf(value)
}

func textOf(value any) (string, error) {
	if s, ok := value.(string); ok {
		return s, nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}
