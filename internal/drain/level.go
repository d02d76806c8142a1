package drain

import "bytes"

// levelOf returns the level of a line: of its level field (JSON, klog, logfmt), which wins over words in its text, else
// of the first level word, else Error for what runtimes write when they give up. A JSON object that does not end is
// none, unless we cut it.
func levelOf(line []byte, cut bool) Level {
	if line[0] == '{' {
		if level, ok := jsonLevel(line, cut); ok {
			return level
		}
	}
	if level, _, _, ok := klog(line); ok {
		return level
	}
	if word := logfmtLevel(line); word != nil {
		return stated(word)
	}
	return plainLevel(line)
}

// stated is the level that a field states: by name, or by number as pino and bunyan count (50: error, 60: fatal). slog
// writes ERROR+4 for one between its levels.
func stated(word []byte) Level {
	if i := bytes.IndexByte(word, '+'); i >= 0 {
		word = word[:i]
	}
	if len(word) > 0 && isDigit(word[0]) {
		return numbered(word)
	}
	var lower [12]byte
	if len(word) > len(lower) {
		return Info
	}
	for i, c := range word {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	switch string(lower[:len(word)]) {
	case "error", "err", "eror", "erro", "fatal", "critical", "crit", "panic", "dpanic", "severe", "alert", "emerg", "emergency":
		return Error
	case "warn", "warning", "wrn":
		return Warn
	case "debug", "dbg", "trace", "trc", "verbose", "fine", "finer", "finest":
		return Debug
	}
	return Info
}

func numbered(word []byte) Level {
	n := 0
	for _, c := range word {
		if !isDigit(c) || n > 1000 {
			break
		}
		n = 10*n + int(c-'0')
	}
	switch {
	case n >= 50:
		return Error
	case n >= 40:
		return Warn
	case n >= 30:
		return Info
	}
	return Debug
}

// plainLevel is the level of a text without fields.
func plainLevel(line []byte) Level {
	if level := levelWord(line); level != Unstated {
		return level
	}
	if givenUp(line) {
		return Error
	}
	return Unstated
}

// levelWord returns the level of the first level word: in capitals, or in brackets. A part of a longer word is none,
// also where a hyphen joins it.
func levelWord(line []byte) Level {
	for i := 0; i < len(line); i++ {
		if !inWord[line[i]] {
			continue
		}
		start := i
		for i < len(line) && inWord[line[i]] {
			i++
		}
		if n := i - start; n < 3 || n > 8 {
			continue
		}
		level := Unstated
		if c := line[start]; 'A' <= c && c <= 'Z' {
			level = capitals(line[start:i])
		} else if bracketed(line, start, i) {
			level = inBrackets(line[start:i])
		}
		if level != Unstated {
			return level
		}
	}
	return Unstated
}

// inWord holds the bytes of a word that may be a level: letters, digits, _ and -.
var inWord = func() (in [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") {
		in[c] = true
	}
	return in
}()

func capitals(word []byte) Level {
	switch string(word) {
	case "ERROR", "ERRO", "ERR", "FATAL", "CRITICAL", "CRIT", "PANIC", "SEVERE", "ALERT", "EMERG":
		return Error
	case "WARN", "WARNING", "WRN":
		return Warn
	case "INFO", "INF", "NOTICE":
		return Info
	case "DEBUG", "TRACE":
		return Debug
	}
	return Unstated
}

func inBrackets(word []byte) Level {
	switch string(word) {
	case "error", "fatal", "crit", "critical", "panic", "alert", "emerg":
		return Error
	case "warn", "warning":
		return Warn
	case "info", "notice":
		return Info
	case "debug", "trace":
		return Debug
	}
	return Unstated
}

// bracketed says whether line[start:end] stands in brackets, apart from other words.
func bracketed(line []byte, start, end int) bool {
	return start > 0 && line[start-1] == '[' && (start == 1 || !inWord[line[start-2]]) &&
		end < len(line) && line[end] == ']' && (end+1 == len(line) || !inWord[line[end+1]])
}

// lastWords begin what runtimes write when they give up: Go, Python, Java, .NET, Node, C++, PHP, the shell.
var lastWords = [][]byte{
	[]byte("panic: "), []byte("fatal error: "), []byte("Traceback (most recent call last)"), []byte("Fatal Python error: "),
	[]byte("Exception in thread "), []byte("Unhandled exception"), []byte("Uncaught "), []byte("terminate called "),
	[]byte("PHP Fatal error: "), []byte("Segmentation fault"),
}

var (
	panicked   = []byte("panic: ")
	rustThread = []byte("thread '")
	rustPanic  = []byte("' panicked at ")
)

func givenUp(line []byte) bool {
	for _, words := range lastWords {
		if bytes.HasPrefix(line, words) {
			return true
		}
	}
	if bytes.HasPrefix(line, rustThread) && bytes.Contains(line, rustPanic) {
		return true
	}
	i := bytes.Index(line, panicked)
	return i > 0 && !isWord(line[i-1])
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' }

func isWord(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
}

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }
