package plan

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestACommandNamesItsCluster(t *testing.T) {
	assert.Equal(t, "gray-upgrade close --namespace shop --service web", Target{Namespace: "shop", Service: "web"}.Command("close"))
	assert.Equal(t, "gray-upgrade status --service web", Target{Service: "web"}.Command("status"))
	assert.Equal(t, "gray-upgrade close --namespace shop --service web --context prod",
		Target{Namespace: "shop", Service: "web", Flags: " --context prod"}.Command("close"))
	assert.Contains(t, OfflineTest(Target{Namespace: "shop", Service: "web", Flags: " --context prod"}, "sha256:5"),
		"offline-test pass --namespace shop --service web --context prod --digest sha256:5 ")
}

func TestAShellReadsAQuotedWordBack(t *testing.T) {
	assert.Equal(t, "arn:aws:eks:eu-west-1:1:cluster/shop", Quoted("arn:aws:eks:eu-west-1:1:cluster/shop"))
	for _, word := range []string{"my cluster", "it's", "$(reboot)", "a;b", "`x`", "~root", `"`, "\\", ""} {
		back, err := exec.CommandContext(t.Context(), "sh", "-c", "printf %s "+Quoted(word)).Output()
		require.NoError(t, err, word)
		assert.Equal(t, word, string(back))
	}
}
