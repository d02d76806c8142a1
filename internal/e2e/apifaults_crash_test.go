//go:build crash

package e2e

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
)

// phases are where the faults begin: a write that fails ends an upgrade, so that those after it are met by another one.
var phases = []string{firstStep, `step="weight 20"`, "grow gray", `step="weight 100"`, "roll production", "mark as promoted", `step="weight 50"`, "remove gray"}

// TestEachCallMeetsEachFaultOnce runs one upgrade for each kind of fault and each phase, in which from that phase on every call
// that can meet the fault does so the first time that it is made.
func TestEachCallMeetsEachFaultOnce(t *testing.T) {
	for i, f := range faults {
		for _, from := range phases {
			t.Run(f.name+" from "+from, func(t *testing.T) {
				t.Parallel()
				var seen sync.Map
				injected, ended := faulty(t, from, func(c Call) *fault {
					if _, again := seen.LoadOrStore(c.Method+" "+c.Path, true); again || !f.meets(c) {
						return nil
					}
					return &faults[i]
				})
				assert.Positive(t, injected)
				tally.add("API server: "+f.name+", each call once", int(injected), ended)
			})
		}
	}
}
