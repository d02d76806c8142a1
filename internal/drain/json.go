package drain

import (
	"bytes"
	"encoding/json"
)

// maxFields is how many fields of a JSON object are looked at for its message.
const maxFields = 64

// field is a field of a JSON object as written, the key without its quotes.
type field struct{ key, value []byte }

// walk hands over the fields of a JSON object until take says that it has enough. It says whether there was nothing
// wrong with the object up to there: it is no validator, but what is cut short is found. Nothing is allocated.
func walk(line []byte, take func(f field) (more bool)) (ok bool) {
	i := skipSpace(line, 1)
	if i < len(line) && line[i] == '}' {
		return skipSpace(line, i+1) == len(line)
	}
	for {
		end := stringEnd(line, i)
		if end < 0 {
			return false
		}
		key := line[i+1 : end-1]
		i = skipSpace(line, end)
		if i == len(line) || line[i] != ':' {
			return false
		}
		i = skipSpace(line, i+1)
		end = valueEnd(line, i)
		if end < 0 {
			return false
		}
		if !take(field{key, line[i:end]}) {
			return true
		}
		i = skipSpace(line, end)
		switch {
		case i == len(line):
			return false
		case line[i] == '}':
			return skipSpace(line, i+1) == len(line)
		case line[i] != ',':
			return false
		}
		i = skipSpace(line, i+1)
	}
}

func skipSpace(line []byte, i int) int {
	for i < len(line) && isSpace(line[i]) {
		i++
	}
	return i
}

// stringEnd is the index behind the string that begins at i; -1 where none does, or where it does not end.
func stringEnd(line []byte, i int) int {
	if i >= len(line) || line[i] != '"' {
		return -1
	}
	for at := i + 1; ; {
		n := bytes.IndexByte(line[at:], '"')
		if n < 0 {
			return -1
		}
		at += n + 1
		escapes := 0
		for line[at-2-escapes] == '\\' { // ends at the opening quote
			escapes++
		}
		if escapes%2 == 0 {
			return at
		}
	}
}

// valueEnd is the index behind the value that begins at i, -1 where none does.
func valueEnd(line []byte, i int) int {
	switch {
	case i >= len(line):
		return -1
	case line[i] == '"':
		return stringEnd(line, i)
	case line[i] == '{' || line[i] == '[':
		return nestedEnd(line, i)
	}
	end := i
	for end < len(line) && (isWord(line[end]) || line[end] == '.' || line[end] == '-' || line[end] == '+') {
		end++
	}
	if end == i {
		return -1
	}
	return end
}

func nestedEnd(line []byte, i int) int {
	for depth := 0; i < len(line); i++ {
		switch line[i] {
		case '"':
			end := stringEnd(line, i)
			if end < 0 {
				return -1
			}
			i = end - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// Field names that log libraries use, most common first.
var (
	messageFields = []string{"msg", "message", "event", "short_message", "@mt", "@m", "Message"}
	typeFields    = []string{"error.type", "error_type", "exception.type", "exception_class", "exc_type"}
	errorFields   = []string{"error", "err", "exception", "exc_info"}
	typesOfErrors = []string{"type", "name", "class", "kind"}
)

// jsonLevel is the level of a JSON object: of the first field that states one, else of the words in its message. ok is
// false where the line is no object.
func jsonLevel(line []byte, cut bool) (level Level, ok bool) {
	var message []byte
	rank, found := len(messageFields), false
	ok = walk(line, func(f field) bool {
		if found { // at error level: then it must end as an object, too
			return true
		}
		if level, found = fieldLevel(f); found {
			return level == Error
		}
		if i := index(messageFields[:rank], f.key); i < rank && isText(f.value) {
			rank, message = i, f.value[1:len(f.value)-1]
		}
		return true
	})
	switch {
	case !ok && !(cut && found):
		return Unstated, false
	case !found:
		return plainLevel(message), true
	}
	return level, true
}

// fieldLevel is the level that a field states, also one within "log".
func fieldLevel(f field) (level Level, found bool) {
	switch string(f.key) {
	case "level", "severity", "lvl", "levelname", "log.level", "loglevel", "@l", "Level", "LogLevel":
		return valueLevel(f.value)
	case "log":
		if f.value[0] == '{' {
			walk(f.value, func(f field) bool {
				if string(f.key) == "level" {
					level, found = valueLevel(f.value)
				}
				return !found
			})
		}
	}
	return level, found
}

func valueLevel(value []byte) (level Level, found bool) {
	switch {
	case value[0] == '"':
		return stated(value[1 : len(value)-1]), true
	case isDigit(value[0]):
		return numbered(value), true
	}
	return Unstated, false
}

// jsonMessage is the message of a JSON object at error level and the type of its error; where it has none, what stands
// in its error. whole is false where the line is no object, or not all of one.
func jsonMessage(line []byte) (text, kind string, whole bool) {
	fields := make([]field, 0, 16)
	whole = walk(line, func(f field) bool {
		fields = append(fields, f)
		return len(fields) < maxFields
	})
	text, kind = first(fields, messageFields), errorType(fields)
	if text == "" {
		text = first(fields, errorFields)
	}
	return text, kind, whole
}

func errorType(fields []field) string {
	for _, name := range errorFields {
		for _, f := range fields {
			if string(f.key) != name || f.value[0] != '{' {
				continue
			}
			var nested []field
			walk(f.value, func(f field) bool {
				nested = append(nested, f)
				return len(nested) < maxFields
			})
			return first(nested, typesOfErrors)
		}
	}
	return first(fields, typeFields)
}

// first returns the first of these fields that is a text and not empty.
func first(fields []field, names []string) string {
	for _, name := range names {
		for _, f := range fields {
			if string(f.key) == name && isText(f.value) {
				return unquote(f.value)
			}
		}
	}
	return ""
}

// isText says whether a value is a string that is not empty.
func isText(value []byte) bool { return len(value) > 2 && value[0] == '"' }

// unquote is what a JSON string says; what is wrong with it is left as it is.
func unquote(value []byte) string {
	inner := value[1 : len(value)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	var s string
	if json.Unmarshal(value, &s) != nil {
		return string(inner)
	}
	return s
}

// index is that of a name, len(names) where it is none of them.
func index(names []string, name []byte) int {
	for i, n := range names {
		if string(name) == n {
			return i
		}
	}
	return len(names)
}
