package config

import (
	"strconv"
	"strings"
	"unicode"
)

// Fault is one thing wrong with what the user gave. Parse returns all of them at once, joined.
type Fault struct {
	Key     string // input, or its place in the file: checks[1].path
	Value   string // as given, cut; "" where nothing was given or where it may be secret
	Origin  string // "flag --steps", "input steps", "environment variable GRAY_STEPS", "gray-upgrade.yaml:3:8"
	Problem string
	Allowed string
	Snippet string // the line of the file with a caret; "" outside a file
}

// Error is one line, and the snippet below it. What is foreign in it (keys, values, a parser's words) is cut, and escaped
// where it cannot be printed.
func (f *Fault) Error() string {
	var b strings.Builder
	if f.Origin != "" {
		b.WriteString(f.Origin + ": ")
	}
	b.WriteString(printed(f.Key, maxShown))
	if f.Value != "" {
		b.WriteString(" " + strconv.Quote(f.Value))
	}
	if f.Key != "" {
		b.WriteString(": ")
	}
	b.WriteString(printed(f.Problem, maxSentence))
	if f.Allowed != "" {
		b.WriteString("; allowed: " + printed(f.Allowed, maxSentence))
	}
	if f.Snippet != "" {
		b.WriteString("\n" + f.Snippet)
	}
	return b.String()
}

const (
	maxShown    = 120 // how many characters of a value or a line are printed back
	maxSentence = 1000
)

// printed cuts a text and escapes in it what cannot be printed.
func printed(s string, most int) string {
	r, rest := []rune(s), ""
	if len(r) > most {
		r, rest = r[:most], "…"
	}
	var b strings.Builder
	for _, c := range r {
		if strconv.IsPrint(c) {
			b.WriteRune(c)
			continue
		}
		b.WriteString(strings.Trim(strconv.QuoteRune(c), "'"))
	}
	return b.String() + rest
}

// shown cuts a value for printing.
func shown(s string) string {
	r := []rune(s)
	if len(r) <= maxShown {
		return s
	}
	return string(r[:maxShown]) + "…"
}

// snippet is a line of the file with a caret below the column (both from 1). At most keep characters of it are shown,
// so that what follows them, which may be secret, is not; keep < 0 shows all. A line that is a whole map ({...}, JSON)
// is not shown at all: a secret may stand before the place.
func snippet(lines []string, line, column, keep int) string {
	if line < 1 || line > len(lines) || strings.HasPrefix(strings.TrimSpace(lines[line-1]), "{") {
		return ""
	}
	r := []rune(strings.TrimRight(lines[line-1], "\r"))
	rest := ""
	if keep < 0 {
		keep = maxShown
	}
	if keep < len(r) {
		r, rest = r[:keep], "…"
	}
	for i, c := range r {
		if unicode.IsControl(c) || !unicode.IsPrint(c) {
			r[i] = ' ' // one column wide, so that the caret stays right
		}
	}
	number := strconv.Itoa(line)
	gutter := strings.Repeat(" ", len(number))
	return "  " + number + " | " + string(r) + rest + "\n  " + gutter + " | " + strings.Repeat(" ", max(0, min(column-1, len(r)))) + "^"
}

// unknown says that a key does not exist, and which one was probably meant; where none is near, what there is.
func unknown(name string, known []string) (problem, allowed string) {
	if near := Nearest(name, known); near != "" {
		return "is not known, did you mean " + near + "?", ""
	}
	return "is not known", strings.Join(known, ", ")
}

// Nearest returns the known name that is at most a third of its length (at least 2 letters) away from name, or that
// name begins; "" if none is, or if name is longer than any name may be.
func Nearest(name string, known []string) string {
	if len(name) > maxShown {
		return ""
	}
	best, distance := "", len(name)
	for _, k := range known {
		if best == "" && len(name) > 2 && strings.HasPrefix(k, name) {
			best = k
		}
		if d := edits(strings.ToLower(name), k); d < min(distance, len(k)) && d <= max(2, len(k)/3) {
			best, distance = k, d
		}
	}
	return best
}

// edits is the Levenshtein distance in bytes: fewest insertions, deletions and replacements from a to b.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
