package plan

import (
	"fmt"
	"strings"
)

// String is the plan as the dry run shows it: a line a step, grouped by phase.
func (p Plan) String() string {
	var b strings.Builder
	var phase Phase
	for i, s := range p.Steps {
		if s.Phase != phase {
			phase = s.Phase
			fmt.Fprintf(&b, "%s\n", phase)
		}
		fmt.Fprintf(&b, "  %2d  %s\n", i+1, s)
	}
	return b.String()
}
