package drain

import (
	"bytes"
	"strings"
	"unicode"
)

// message returns what a line at error level says, without its fields, and the type of its error.
func message(line string) (text, kind string) {
	b := []byte(line)
	if _, file, said, ok := klog(b); ok {
		return string(file) + " " + string(said), ""
	}
	if b[0] == '{' {
		if text, kind, whole := jsonMessage(b); whole || text != "" {
			return text, kind
		}
	}
	if logfmtLevel(b) != nil {
		return logfmtMessage(line, b), ""
	}
	return line, ""
}

// klog takes a line of that library apart: severity, month and day, time, thread, file:line] message.
func klog(line []byte) (level Level, file, said []byte, ok bool) {
	const stamp = "E0102 03:04:05."
	if len(line) < len(stamp) || !strings.ContainsRune("IWEF", rune(line[0])) {
		return Unstated, nil, nil, false
	}
	for i := 1; i < len(stamp); i++ {
		if isDigit(stamp[i]) != isDigit(line[i]) || !isDigit(stamp[i]) && stamp[i] != line[i] {
			return Unstated, nil, nil, false
		}
	}
	head, said, found := bytes.Cut(line, []byte("]"))
	place := head[bytes.LastIndexByte(head, ' ')+1:]
	file, number, colon := bytes.Cut(place, []byte(":"))
	if !found || !colon || len(file) == 0 || len(number) == 0 || !isDigit(number[0]) {
		return Unstated, nil, nil, false
	}
	said = bytes.TrimPrefix(said, []byte(" "))
	switch line[0] {
	case 'E', 'F':
		return Error, file, said, true
	case 'W':
		return Warn, file, said, true
	}
	return Info, file, said, true
}

var logfmtLevels = []string{"level", "lvl", "severity", "levelname"}

// logfmtLevel is the value of the first field of a logfmt line that states a level; nil where there is none.
func logfmtLevel(line []byte) []byte {
	for at := 0; ; {
		i := bytes.IndexByte(line[at:], '=')
		if i < 0 {
			return nil
		}
		end := at + i
		at = end + 1
		if !isKey(line[:end], logfmtLevels) {
			continue
		}
		value := bytes.TrimPrefix(line[at:], []byte(`"`))
		n := 0
		for n < len(value) && isWord(value[n]) && value[n] != '_' {
			n++
		}
		if n > 0 {
			return value[:n]
		}
	}
}

// isKey says whether a text ends in one of these names as a word of its own.
func isKey(text []byte, names []string) bool {
	for _, name := range names {
		if n := len(text) - len(name); n >= 0 && string(text[n:]) == name && (n == 0 || isSpace(text[n-1])) {
			return true
		}
	}
	return false
}

var (
	logfmtTexts = []string{"msg", "message", "err", "error"}
	unescape    = strings.NewReplacer(`\"`, `"`, `\\`, `\`)
)

// logfmtMessage is the message of a logfmt line; the whole line where it has none.
func logfmtMessage(line string, b []byte) string {
	for at := 0; ; {
		i := bytes.IndexByte(b[at:], '=')
		if i < 0 {
			return line
		}
		end := at + i
		at = end + 1
		if !isKey(b[:end], logfmtTexts) || at == len(b) || isSpace(b[at]) {
			continue
		}
		if end := stringEnd(b, at); end > 0 {
			return unescape.Replace(line[at+1 : end-1])
		}
		word, _, _ := strings.Cut(line[at:], " ")
		return word
	}
}

// tidy makes valid UTF-8 of a line, without terminal colours and control characters.
func tidy(line string) string {
	line = strings.ToValidUTF8(line, "\uFFFD")
	if strings.IndexByte(line, escape) >= 0 {
		line = string(withoutColours(nil, []byte(line)))
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case unicode.IsControl(r) || r == '\u2028' || r == '\u2029':
			return -1
		}
		return r
	}, line))
}

const escape = '\x1b'

// withoutColours appends a line to dst without the sequences that colour it on a terminal.
func withoutColours(dst, line []byte) []byte {
	for {
		i := bytes.IndexByte(line, escape)
		if i < 0 {
			return append(dst, line...)
		}
		dst = append(dst, line[:i]...)
		end := i + 1
		if end < len(line) && line[end] == '[' {
			end++
			for end < len(line) && (isDigit(line[end]) || line[end] == ';') {
				end++
			}
			if end < len(line) && isWord(line[end]) && line[end] != '_' {
				line = line[end+1:]
				continue
			}
		}
		dst, line = append(dst, escape), line[i+1:]
	}
}
