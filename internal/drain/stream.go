package drain

import "bytes"

// Stream reads the lines of one log in their order. It is not safe for concurrent use.
type Stream struct {
	hide    func(line string) string
	scratch []byte

	// Of the line before that was no continuation:
	last    Event
	open    bool // it is at error level: what continues it belongs to it
	next    bool // no line came after it
	named   bool // its Kind was told
	traced  bool // a Python traceback belongs to it
	chained bool // another one belongs to it, too
	inTrace bool // that has not ended: the line with the type is to come
	inStack bool // Go's stacks of goroutines follow
}

// NewStream returns a Stream at the begin of a log. hide takes secrets out of a line, before anything of it is kept.
func NewStream(hide func(line string) string) *Stream { return &Stream{hide: hide} }

// Line takes the next line, without its end, and returns its level, and the event that it begins or amends; nil for any
// other line. For lines that are not at error level nothing is allocated. Of a line of more than MaxLine bytes the rest
// is not looked at.
func (s *Stream) Line(line []byte) (Level, *Event) {
	cut := len(line) > MaxLine
	line = line[:min(len(line), MaxLine)]
	if bytes.IndexByte(line, escape) >= 0 {
		s.scratch = withoutColours(s.scratch[:0], line)
		line = s.scratch
	}
	text := bytes.TrimSpace(line)
	if len(text) == 0 {
		return Unstated, nil
	}
	if s.continues(line, text) {
		s.next = false
		return s.level(), nil
	}
	if s.open && s.tellsKind(text) {
		return Error, s.amend(text)
	}
	level := levelOf(text, cut)
	*s = Stream{hide: s.hide, scratch: s.scratch}
	if level == Error {
		return level, s.begin(text)
	}
	return level, nil
}

func (s *Stream) level() Level {
	if s.open {
		return Error
	}
	return Unstated
}

// begin makes an event of a line at error level.
func (s *Stream) begin(text []byte) *Event {
	s.last = Event{Line: s.clean(string(text))}
	if s.last.Line != "" {
		said, kind := message(s.last.Line)
		s.last.Text, s.last.Kind = s.clean(said), s.clean(kind) // what JSON escapes shows only now
	}
	s.open, s.next, s.named = true, true, s.last.Kind != ""
	s.traced = bytes.HasPrefix(text, traceback)
	s.inTrace = s.traced
	event := s.last
	return &event
}

// amend gives the event before its kind.
func (s *Stream) amend(text []byte) *Event {
	s.next, s.inTrace = false, false
	if s.named {
		return nil
	}
	s.named = true
	event := s.last
	event.Kind, event.Amends = s.clean(string(kindOf(text))), true
	event.Line += " " + s.clean(string(text))
	return &event
}

// clean hides secrets before anything is changed or cut: half of one could not be found any more.
func (s *Stream) clean(text string) string { return tidy(s.hide(text)) }

var (
	traceback = []byte("Traceback (most recent call last)")
	causedBy  = []byte("Caused by: ")
	alsoBy    = []byte("Suppressed: ")
	frame     = []byte("at ")
	more      = []byte("... ")
	inFile    = []byte(`File "`)
	goroutine = []byte("goroutine ")
	createdBy = []byte("created by ")
	meanwhile = []byte("During handling of the above exception")
	because   = []byte("The above exception was the direct cause")
)

// continues says whether a line belongs to the one before: as a frame of a stack (Java, .NET, Node, Python, Go), or, where
// that one is at error level, because it is indented.
func (s *Stream) continues(line, text []byte) bool {
	indented := line[0] == ' ' || line[0] == '\t'
	if indented && s.open {
		return true
	}
	switch text[0] {
	case 'a':
		return indented && bytes.HasPrefix(text, frame)
	case 'F':
		return indented && bytes.HasPrefix(text, inFile)
	case '.':
		return bytes.HasPrefix(text, more)
	case 'C':
		return bytes.HasPrefix(text, causedBy)
	case 'S':
		return bytes.HasPrefix(text, alsoBy)
	case 'g':
		if bytes.HasPrefix(text, goroutine) && bytes.HasSuffix(text, []byte("]:")) {
			s.inStack = true
			return true
		}
	case 'D', 'T':
		if s.open {
			return s.continuesTrace(text)
		}
	}
	return s.inStack && isGoFrame(text)
}

// isGoFrame says whether a line is a call, without a blank before its arguments, or where a goroutine was made.
func isGoFrame(text []byte) bool {
	name, _, ok := bytes.Cut(text, []byte("("))
	return ok && text[len(text)-1] == ')' && bytes.IndexByte(name, ' ') < 0 || bytes.HasPrefix(text, createdBy)
}

// continuesTrace says whether a line is the head of a Python traceback of the event before, or leads to one.
func (s *Stream) continuesTrace(text []byte) bool {
	switch {
	case s.traced && (bytes.HasPrefix(text, meanwhile) || bytes.HasPrefix(text, because)):
		s.chained = true
		return true
	case bytes.HasPrefix(text, traceback) && s.traced == s.chained:
		s.traced, s.chained, s.inTrace = true, false, true
		return true
	}
	return false
}

// tellsKind says whether a line names the exception of the event before: the last line of a Python traceback, or, right
// behind the message, how Java and Node begin a stack.
func (s *Stream) tellsKind(text []byte) bool {
	kind := kindOf(text)
	if kind == nil || capitals(kind) != Unstated {
		return false
	}
	return s.inTrace || s.next && (bytes.HasSuffix(kind, []byte("Exception")) || bytes.HasSuffix(kind, []byte("Error")))
}

// kindOf is the name of a type that a text begins with, up to a colon or the end; nil where there is none.
func kindOf(text []byte) []byte {
	n := 0
	for n < len(text) && (isWord(text[n]) || text[n] == '.' || text[n] == '$') {
		n++
	}
	if n == 0 || isDigit(text[0]) || n < len(text) && text[n] != ':' {
		return nil
	}
	return text[:n]
}
