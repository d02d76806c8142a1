package judge

// Found is the evidence of a finding, or of the part of it that was seen in one window: what was seen, and the sample of
// that window, on which AtOnce fails the same checks, beside any that were found before. (What a probe or the watch itself
// found has no rule there; it stands with the whole window.)
type Found struct {
	Finding

	Sample Sample `json:"sample"`
}

// Judged is the evidence of a verdict. Checks are those of the sample, but for what was found at once and stays failed:
// that is in Found, with the sample that it was found in.
type Judged struct {
	Checks []Check `json:"checks"`
	Sample Sample  `json:"sample"`
	Found  []Seen  `json:"found,omitempty"`
}

// Seen is a failed check and the sample that it was judged on.
type Seen struct {
	Check  Check  `json:"check"`
	Sample Sample `json:"sample"`
}

// Rule says whether checks of that name come from a rule of Judge: one in each window. Others belong to a pod or a source.
func Rule(name string) bool { return rules[name] || Check{Name: name}.IsQuery() }

var rules = func() map[string]bool {
	names := map[string]bool{}
	for _, c := range Judge(Sample{}, Limits{}) {
		names[c.Name] = true
	}
	return names
}()
