//go:build crash

package e2e

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestEachCallMeetsEachFaultOnce runs one upgrade for each kind of fault, in which every call that can meet it does so the
// first time that it is made.
func TestEachCallMeetsEachFaultOnce(t *testing.T) {
	for i, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			var seen sync.Map
			injected, ended := faulty(t, func(c Call) *fault {
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
