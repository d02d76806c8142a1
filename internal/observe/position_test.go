package observe

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestAClockThatIsSetBackSilencesALogForSeconds only: at first it looks as if the log were sent once more.
func TestAClockThatIsSetBackSilencesALogForSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p position
		p.reconnected()
		fresh := func(at time.Time) bool {
			text, fresh := p.take(fmt.Appendf(nil, "%s text", at.Format(time.RFC3339Nano)))
			assert.Equal(t, fresh, string(text) == "text")
			return fresh
		}
		now := time.Now()
		assert.True(t, fresh(now))
		assert.True(t, fresh(now.Add(-time.Millisecond)), "of stderr")
		assert.True(t, fresh(now))
		assert.False(t, fresh(now.Add(-time.Minute)))
		assert.False(t, fresh(now), "one of two")
		assert.False(t, fresh(now), "the other")
		assert.True(t, fresh(now))
		assert.False(t, fresh(now.Add(-time.Minute)))
		time.Sleep(replayLasts + 1)
		assert.True(t, fresh(now.Add(-50*time.Second)))
		assert.True(t, fresh(now.Add(-49*time.Second)))
		p.reconnected()
		assert.False(t, fresh(now.Add(-49*time.Second)))
	})
}
