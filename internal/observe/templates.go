package observe

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// Lengths, in bytes, of what is kept of a line.
const (
	maxLine     = 8 << 10 // of a log line that is looked at; the rest is thrown away
	maxTemplate = 200
	maxKept     = 300 // of the line kept as an example
)

// Template returns the template of a log line at error level, its variable parts replaced by *, and false for a line
// that is not at error level. It understands JSON (level, severity, lvl, ...), logfmt, klog and plain text; a level
// that a line states wins over words in its text. The line may hold anything.
func Template(line string) (template string, isError bool) {
	line = tidy(line)
	text, isError := message(line)
	if !isError {
		return "", false
	}
	template = cut(mask(text), maxTemplate)
	if template == "" {
		template = "*"
	}
	return template, true
}

// tidy makes valid UTF-8 of a line, without terminal colours and control characters.
func tidy(line string) string {
	line = strings.ToValidUTF8(line[:min(len(line), maxLine)], "\uFFFD")
	line = colours.ReplaceAllString(line, "")
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

var colours = regexp.MustCompile("\x1b\\[[0-9;]*[A-Za-z]")

// message returns what a line says and whether it is at error level.
func message(line string) (text string, isError bool) {
	if strings.HasPrefix(line, "{") {
		if fields := object(line); fields != nil {
			return jsonMessage(fields)
		}
	}
	if m := klog.FindStringSubmatch(line); m != nil {
		return m[2] + " " + m[3], m[1] == "E" || m[1] == "F"
	}
	if m := logfmtLevel.FindStringSubmatch(line); m != nil {
		return logfmtMessage(line), errorLevel(m[1])
	}
	return line, plainError(line)
}

// klog is severity, month and day, time, thread, file:line] message.
var klog = regexp.MustCompile(`^([IWEF])\d{4} \d\d:\d\d:\d\d\.\d+\s+\d+ ([^ :\]]+):\d+\] ?(.*)$`)

var (
	logfmtLevel = regexp.MustCompile(`(?:^|\s)(?:level|lvl|severity|levelname)="?([A-Za-z0-9]+)`)
	logfmtText  = regexp.MustCompile(`(?:^|\s)(?:msg|message|err|error)=(?:"((?:[^"\\]|\\.)*)"|(\S+))`)
)

// logfmtMessage is the message of a logfmt line; the whole line where it has none.
func logfmtMessage(line string) string {
	m := logfmtText.FindStringSubmatch(line)
	switch {
	case m == nil:
		return line
	case m[1] != "":
		return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(m[1])
	default:
		return m[2]
	}
}

func object(line string) map[string]any {
	var fields map[string]any
	if json.Unmarshal([]byte(line), &fields) != nil {
		return nil
	}
	return fields
}

// Field names that log libraries use, most common first.
var (
	levelFields   = []string{"level", "severity", "lvl", "levelname", "log.level", "loglevel", "@l", "Level", "LogLevel"}
	messageFields = []string{"msg", "message", "event", "short_message", "@mt", "@m", "Message"}
	typeFields    = []string{"error.type", "error_type", "exception.type", "exception_class", "exc_type"}
	errorFields   = []string{"error", "err", "exception", "exc_info"}
)

// jsonMessage is the message of a JSON line and the type of its error.
func jsonMessage(fields map[string]any) (text string, isError bool) {
	text = first(fields, messageFields)
	level, stated := jsonLevel(fields)
	isError = errorLevel(level)
	if !stated {
		isError = plainError(text)
	}
	if !isError {
		return "", false
	}
	if t := errorType(fields); t != "" {
		text += " (" + t + ")"
	}
	if text == "" {
		text = first(fields, errorFields)
	}
	return text, true
}

func jsonLevel(fields map[string]any) (level string, stated bool) {
	if nested, ok := fields["log"].(map[string]any); ok {
		fields = map[string]any{"level": nested["level"]}
	}
	for _, name := range levelFields {
		switch v := fields[name].(type) {
		case string:
			return v, true
		case float64:
			return strconv.FormatFloat(v, 'f', -1, 64), true
		}
	}
	return "", false
}

func errorType(fields map[string]any) string {
	for _, name := range errorFields {
		if nested, ok := fields[name].(map[string]any); ok {
			return first(nested, []string{"type", "name", "class", "kind"})
		}
	}
	return first(fields, typeFields)
}

// first returns the first of these fields that is a text and not empty.
func first(fields map[string]any, names []string) string {
	for _, name := range names {
		if v, ok := fields[name].(string); ok && v != "" {
			return v
		}
	}
	return ""
}

// errorLevel says whether a level means error or worse: by name, or by number as pino and bunyan count (50: error,
// 60: fatal).
func errorLevel(level string) bool {
	level, _, _ = strings.Cut(level, "+") // slog writes ERROR+4
	switch strings.ToLower(level) {
	case "error", "err", "eror", "erro", "fatal", "critical", "crit", "panic", "dpanic", "severe", "alert", "emerg", "emergency":
		return true
	}
	n, err := strconv.ParseFloat(level, 64)
	return err == nil && n >= 50
}

// plainError decides a line that states no level in a field: the first level word decides, then what runtimes write
// when they give up.
func plainError(line string) bool {
	if m := levelWord.FindStringSubmatch(line); m != nil {
		return errorLevel(strings.Trim(m[1], "[]"))
	}
	return givenUp.MatchString(line)
}

var (
	levelWord = regexp.MustCompile(`(?:^|[^\w-])(TRACE|DEBUG|INFO|INF|NOTICE|WARN|WARNING|WRN|ERROR|ERRO|ERR|FATAL|CRITICAL|CRIT|PANIC|SEVERE|ALERT|EMERG|` +
		`\[(?:trace|debug|info|notice|warn|warning|error|fatal|crit|critical|panic|alert|emerg)\])(?:$|[^\w-])`)
	givenUp = regexp.MustCompile(`^(?:panic: |fatal error: |Traceback \(most recent call last\)|Exception in thread |Unhandled exception|Uncaught |thread '.*' panicked at )|\bpanic: `)
)

// mask replaces what changes from line to line by *: quoted texts, UUIDs, addresses, words with a digit in them
// (numbers, hex, ids, versions, parts of paths), long words and the random ends of pod names.
func mask(s string) string {
	s = quoted.ReplaceAllString(s, "$1*")
	s = uuid.ReplaceAllString(s, "*")
	s = colons.ReplaceAllStringFunc(s, func(m string) string {
		if strings.ContainsAny(m, "0123456789") {
			return "*"
		}
		return m
	})
	s = words.ReplaceAllStringFunc(s, func(word string) string {
		if len(word) >= 32 || strings.ContainsFunc(word, unicode.IsDigit) {
			return "*"
		}
		return word
	})
	s = podEnd.ReplaceAllString(s, "-*")
	s = signed.ReplaceAllString(s, "$1*")
	s = stars.ReplaceAllString(s, "*")
	return strings.Join(strings.Fields(s), " ")
}

var (
	quoted = regexp.MustCompile("(^|[^\\w\"'`])(?:\"[^\"]*\"|'[^']*'|`[^`]*`)")
	uuid   = regexp.MustCompile(`\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b`)
	colons = regexp.MustCompile(`\b[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{0,4}){2,7}\b`) // IPv6, times of day
	words  = regexp.MustCompile(`[\p{L}\p{N}_]+`)
	podEnd = regexp.MustCompile(`-[bcdfghjklmnpqrstvwxz2456789]{5}\b`) // Kubernetes names them without vowels
	signed = regexp.MustCompile(`(^|[\s=:,(\[])[-+]\*`)
	stars  = regexp.MustCompile(`\*(?:[-.:,_+%/]*\*)+`)
)

// cut shortens a text to so many bytes, never inside a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.TrimSpace(strings.ToValidUTF8(s[:n], "")) + "…"
}
