// Package drain finds, in the logs of many streams, the lines at error level and the template that each was printed
// from. Stack traces are one event with the line before them. It is pure: bytes in, levels, events and groups out.
//
// Templates are mined after Drain (He, Zhu, Zheng, Lyu, "Drain: An Online Log Parsing Approach with Fixed Depth Tree",
// ICWS 2017): lines go by their length in words and by their first words to a leaf, and there to a group of similar
// lines, whose template has a * where its lines differ. Two things are done another way. Variable parts that show by
// themselves (numbers, ids, addresses, quoted texts) are masked before, and of the rest little may differ: here a group
// too many is a false alarm, but one too few hides a new failure. And where Drain takes the most similar group, Miner
// makes one group of all that are similar, so the groups do not depend on the order in which lines come; see join.
//
// Nothing grows without bound: see MaxLine, MaxGroups, MaxTemplate, maxWords, maxLines and maxFields.
package drain

// Level is how bad a line says it is.
type Level int

// The levels. Error is that and everything worse.
const (
	Unstated Level = iota // the line states none
	Debug
	Info
	Warn
	Error
)

// String is the name of the level.
func (l Level) String() string { return [...]string{"unstated", "debug", "info", "warn", "error"}[l] }

// MaxLine is how much of a line is looked at, in bytes. What stands behind it is cut off.
const MaxLine = 8 << 10

// Event is what a line at error level says, together with the stack trace that follows it.
type Event struct {
	Text string // the message alone, where the line has fields; tidy: valid UTF-8 without control characters
	Kind string // the type of the error or exception, "" where none is stated
	Line string // the whole line, tidy, and the one that stated Kind behind it
	// Amends says that this is the event before it in the stream, whose stack trace has now told its Kind.
	Amends bool
}
