package ci

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/config"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

// host is a Host with this environment, and what it prints.
func host(env map[string]string) (*Host, *bytes.Buffer) {
	var out bytes.Buffer
	return Detect(func(name string) string { return env[name] }, &out, &out), &out
}

func onGitHub(t *testing.T) (h *Host, out *bytes.Buffer, dir string) {
	t.Helper()
	dir = t.TempDir()
	h, out = host(map[string]string{
		"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": filepath.Join(dir, "output"), "GITHUB_STATE": filepath.Join(dir, "state"),
		"GITHUB_STEP_SUMMARY": filepath.Join(dir, "summary"), "STATE_upgrade-id": "u1",
	})
	return h, out, dir
}

func content(t *testing.T, elem ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(elem...))
	require.NoError(t, err)
	return string(text)
}

func TestInputs(t *testing.T) {
	env := map[string]string{"INPUT_STEP-DURATION": "1s", "GRAY_STEP_DURATION": "2s", "INPUT_STEPS": "", "GRAY_DRY_RUN": "true", "OTHER": "x"}
	h, _ := host(env)
	assert.Equal(t, []config.Input{
		{Key: "step-duration", Value: "2s", Origin: config.FromEnv},
		{Key: "dry-run", Value: "true", Origin: config.FromEnv},
	}, h.Inputs(config.Keys), "INPUT_* means nothing outside GitHub")
	env["GITHUB_ACTIONS"] = "true"
	h, _ = host(env)
	assert.Equal(t, []config.Input{
		{Key: "step-duration", Value: "2s", Origin: config.FromEnv},
		{Key: "step-duration", Value: "1s", Origin: config.FromInput},
		{Key: "dry-run", Value: "true", Origin: config.FromEnv},
	}, h.Inputs(config.Keys))
}

func TestIdentity(t *testing.T) {
	gh := map[string]string{
		"GITHUB_ACTIONS": "true", "GITHUB_SERVER_URL": "https://github.example.com", "GITHUB_REPOSITORY": "shop/cart", "GITHUB_RUN_ID": "7",
		"GITHUB_RUN_ATTEMPT": "2", "GITHUB_JOB": "deploy", "RUNNER_NAME": "runner 3", "GITHUB_ACTOR": "ann", "GITHUB_TRIGGERING_ACTOR": "bob",
	}
	for name, tc := range map[string]struct {
		env  map[string]string
		want plan.Identity
	}{
		"github": {gh, plan.Identity{Run: "github/shop/cart/7/2/deploy/runner 3", URL: "https://github.example.com/shop/cart/actions/runs/7/attempts/2", Actor: "bob", Rerun: "github/shop/cart/7/"}},
		"gitlab": {
			map[string]string{"GITLAB_CI": "true", "CI_PROJECT_PATH": "shop/cart", "CI_JOB_ID": "9", "CI_JOB_URL": "https://gitlab.example.com/9", "GITLAB_USER_LOGIN": "ann"},
			plan.Identity{Run: "gitlab/shop/cart/9", URL: "https://gitlab.example.com/9", Actor: "ann"},
		},
		"tekton": {
			map[string]string{"GRAY_CI": "tekton", "GRAY_RUN": "tekton/shop/run-1/task-1", "GRAY_RUN_URL": "https://tekton.example.com", "GRAY_ACTOR": "ann\n::error::x"},
			plan.Identity{Run: "tekton/shop/run-1/task-1", URL: "https://tekton.example.com", Actor: "ann ::error::x"},
		},
	} {
		h, _ := host(tc.env)
		assert.Equal(t, tc.want, h.Identity(), name)
	}
	h, _ := host(map[string]string{"USER": "ann"})
	assert.Regexp(t, `^ann@\S+ \d+$`, h.Identity().Run)
}

func TestWhoIsTakenOver(t *testing.T) {
	const upgrade, other = "tekton/shop/deploy-7/deploy-7-upgrade/0", "tekton/shop/deploy-8/deploy-8-upgrade/0"
	for name, tc := range map[string]struct {
		ci, run, holder string
		want            bool
	}{
		"a person":                                   {"", "", upgrade, true},
		"finally, after its own task":                {"tekton", "tekton/shop/deploy-7/deploy-7-close/0", upgrade, true},
		"finally, after a task that was refused":     {"tekton", "tekton/shop/deploy-7/deploy-7-close/0", other, false},
		"finally, and a PipelineRun elsewhere":       {"tekton", "tekton/shop/deploy-7/deploy-7-close/0", "tekton/shed/deploy-7/deploy-7-upgrade/0", false},
		"finally, and a job of another CI system":    {"tekton", "tekton/shop/deploy-7/deploy-7-close/0", "github/shop/cart/7/1/deploy/runner", false},
		"finally, and nobody":                        {"tekton", "tekton/shop/deploy-7/deploy-7-close/0", "", false},
		"finally, and a watchdog that closes":        {"tekton", "tekton/shop/deploy-7/deploy-7-close/0", "watchdog/shop/cart-watchdog-x", true},
		"a person who runs the Task":                 {"tekton", "tekton/shop//close-by-hand/0", other, true},
		"a Task that does not say its PipelineRun":   {"tekton", "tekton/shop/deploy-7-close/0", "tekton/shop/deploy-7-upgrade/0", false},
		"a Task alone, and a holder that was, too":   {"tekton", "tekton/shop/deploy-7/deploy-7-close/0", "tekton/shop//by-hand/0", false},
		"a name with too many parts is nobody's kin": {"tekton", "tekton/a/b/c/d/e", "tekton/a/b/c/d/e", false},
	} {
		h, _ := host(map[string]string{"GRAY_CI": tc.ci, "GRAY_RUN": tc.run})
		assert.Equal(t, tc.want, h.TakesOver(tc.holder), name)
	}
	gitlab := map[string]string{"GITLAB_CI": "true", "CI_PROJECT_PATH": "shop/web", "CI_JOB_ID": "7"}
	after, _ := host(gitlab)
	assert.True(t, after.TakesOver("gitlab/shop/web/7"), "after_script, after its own job")
	assert.True(t, after.TakesOver("watchdog/shop/web-watchdog-x"))
	assert.False(t, after.TakesOver("gitlab/shop/web/6"), "after_script, after a job that was refused")
	gitlab["CI_JOB_MANUAL"] = "true"
	byHand, _ := host(gitlab)
	assert.True(t, byHand.TakesOver("gitlab/shop/web/6"), "a person who starts a job to close")
}

func TestFailOnGitHub(t *testing.T) {
	h, out, _ := onGitHub(t)
	h.Fail(&plan.Failure{Fault: plan.FaultImage, What: "gray answered 5xx to 3.4 %, limit 1 %", Where: "Deployment shop/cart-gray\n::warning::x", Next: "test the image offline"})
	assert.Equal(t, "::error title=gray-upgrade%3A the new image failed::gray answered 5xx to 3.4 %25, limit 1 %25"+
		"%0A  where: Deployment shop/cart-gray ::warning::x%0A  next:  test the image offline\n", out.String())
}

func TestFailOnATerminal(t *testing.T) {
	h, out := host(nil)
	h.Fail(&plan.Failure{Fault: plan.FaultRefused, What: "held\x1b[31m since", Where: "Deployment shop/cart", Done: "nothing", Next: "wait"})
	assert.Equal(t, "gray-upgrade: refused: held since\n  where: Deployment shop/cart\n  done:  nothing\n  next:  wait\n", out.String())
}

func TestALongFailureKeepsAllFourLines(t *testing.T) {
	h, out, _ := onGitHub(t)
	long := strings.Repeat("é ", 4000)
	h.Fail(&plan.Failure{Fault: plan.FaultImage, What: long, Where: long, Done: long, Next: "rerun " + long})
	_, text, _ := strings.Cut(out.String(), "::error ")
	_, text, _ = strings.Cut(text, "::")
	assert.LessOrEqual(t, len(text), maxMessage+3*len("%0A"))
	assert.Contains(t, text, "next:  rerun")
}

// hostile is what a pod may write to get the better of a log.
const hostile = "fine\n::error::forged\r::set-output name=image::evil\r\n##[error]forged\n\x1b]0;title\x07\x1b[2J\x00\xff::stop-commands::x\u202eevil\u2028::add-mask::a"

// commandLine matches a line that the runner would take for a command: :: first, after white space at most.
var commandLine = regexp.MustCompile(`(?m)^\s*(::|##\[)`)

func TestForeignTextIsNeverACommand(t *testing.T) {
	h, out, _ := onGitHub(t)
	h.Foreign(hostile)
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	require.Greater(t, len(lines), 4)
	word := strings.TrimPrefix(lines[0], "::stop-commands::")
	assert.Regexp(t, "^[A-Z2-7]{26}$", word)
	assert.Equal(t, "::"+word+"::", lines[len(lines)-1])
	for _, line := range lines[1 : len(lines)-1] {
		assert.NotRegexp(t, commandLine, line)
		assert.NotContains(t, line, word)
	}
	assert.NotContains(t, out.String(), "\r")
	assert.NotContains(t, out.String(), "\x1b")
	out.Reset()
	h.Foreign(hostile)
	assert.NotContains(t, out.String(), word, "a word is used once")
}

func TestMessagesHoldNoSecondCommand(t *testing.T) {
	h, out, _ := onGitHub(t)
	for _, say := range []func(string){h.Notice, h.Warn, h.Group, func(s string) { h.Fail(&plan.Failure{What: s, Where: s, Done: s, Next: s}) }} {
		out.Reset()
		say(hostile)
		assert.Equal(t, 1, strings.Count(out.String(), "\n"), "%q", out)
		assert.Len(t, commandLine.FindAllString(out.String(), -1), 1, "%q", out)
	}
	out.Reset()
	h.EndGroup()
	assert.Equal(t, "::endgroup::\n", out.String())
}

func TestPlainText(t *testing.T) {
	for _, env := range []map[string]string{nil, {"GRAY_CI": "tekton"}} {
		h, out := host(env)
		h.Group("verify gray")
		h.Notice("three pods\nverified")
		h.Warn("no gray parameters")
		h.EndGroup()
		h.Foreign("a\nb\n")
		h.Foreign("\n")
		assert.Equal(t, "== verify gray\ngray-upgrade: three pods\nverified\ngray-upgrade: warning: no gray parameters\n  | a\n  | b\n", out.String())
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain\ttext\n":                    "plain\ttext\n",
		"a\r\nb\rc":                        "a\nb\nc",
		"\x1b[1;31mred\x1b[0m":             "red",
		"\x1b]8;;http://x\x1b\\link\x1b]8": "link",
		"\u009b31mred":                     "red",
		"\x1bPq#0\x1b\\x\x1bcy":            "xy",
		"nul\x00bell\x07del\x7f":           "nulbelldel",
		"\xff\xfeé":                        "\uFFFDé",
		"abc\u202edef\u200b\ufeff":         "abcdef",
		"nbsp\u00a0x":                      "nbsp x",
		"日本 🙂":                             "日本 🙂",
		"\x1b":                             "",
	} {
		assert.Equal(t, want, Clean(in), "%q", in)
	}
	assert.Equal(t, "a b", Line(" a\n\tb ", 10))
	assert.Equal(t, "éé…", Line("ééééé", 8))
	assert.Equal(t, "…", Line("ééééé", 4))
	assert.Empty(t, Line("ééééé", 2), "no room for the mark")
}

func FuzzClean(f *testing.F) {
	f.Add(hostile, 100)
	f.Add("\x1b]\x1b[\u009b|<b>`x`](y) ::error::%0A##[group]", 2)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = max(0, limit)
		got, line := Clean(s), Line(s, limit)
		assert.True(t, utf8.ValidString(got), "%q", got)
		assert.Equal(t, got, Clean(got), "clean text is left alone")
		for _, r := range got {
			assert.True(t, r == '\n' || r == '\t' || r == '\uFFFD' || unicode.IsPrint(r), "%q in %q", r, got)
		}
		assert.True(t, utf8.ValidString(line), "%q", line)
		assert.NotRegexp(t, "[\n\t]", line)
		assert.LessOrEqual(t, len(line), limit)
	})
}

// FuzzHost says the same foreign text in every way there is.
func FuzzHost(f *testing.F) {
	f.Add(hostile)
	f.Add(" \t\u2003::add-mask::x\nx ##[error]y\n:\x00: \x1b[0m::x ##\x1b[0m[x hun\x1b[0mter2")
	f.Add(strings.Repeat("::error::x\n", 1000))
	f.Fuzz(func(t *testing.T, s string) {
		for _, name := range []string{"true", ""} {
			h, out := host(map[string]string{"GITHUB_ACTIONS": name})
			h.Mask("hunter2")
			out.Reset()
			h.Print(s)
			_, err := h.Log(out).Write([]byte(s))
			assert.NoError(t, err)
			text := out.String()
			assert.True(t, utf8.ValidString(text))
			assert.NotContains(t, text, "hunter2")
			assert.NotContains(t, text, "\x1b")
			assert.LessOrEqual(t, len(text), 3*(len(s)+1)*2)
			if h.Name == "github" {
				assert.NotRegexp(t, anyCommand, text)
			}
			out.Reset()
			h.Fail(&plan.Failure{What: s, Where: s, Done: s, Next: "rerun"})
			if h.Name == "github" {
				_, annotation, _ := strings.Cut(out.String(), "::error ")
				assert.LessOrEqual(t, strings.Count(annotation, "\n"), 1, "one line")
				assert.Contains(t, annotation, "next:  rerun")
			}
		}
	})
}

// anyCommand matches text that the runner would take for a command: as commandLine, and ##[ anywhere.
var anyCommand = regexp.MustCompile(`(?m)^\s*::|##\[`)

func TestWhatIsPrintedIsNeverACommand(t *testing.T) {
	h, out, _ := onGitHub(t)
	h.Mask("hunter2")
	out.Reset()
	h.Print("plan: one\n::error::two\n  ::add-mask::three ##[stop-commands]x\n\u2003::four hunter2")
	assert.Equal(t, "plan: one\n: :error::two\n  : :add-mask::three ## [stop-commands]x\n : :four ***\n", out.String())
	var log bytes.Buffer
	_, err := h.Log(&log).Write([]byte("level=WARN error=\"##[error]x hunter2\"\n"))
	require.NoError(t, err)
	assert.Equal(t, "level=WARN error=\"## [error]x ***\"\n", log.String())
	there, plain := host(nil)
	there.Print("  ::one\n\x1b[2Jtwo\n")
	assert.Equal(t, "  ::one\ntwo\n", plain.String())
}

func TestEveryFaultIsTold(t *testing.T) {
	var what strings.Builder
	for i := range 200 {
		fmt.Fprintf(&what, "fault %d: ::error::of a long config file\n", i)
	}
	for _, name := range []string{"true", ""} {
		h, out := host(map[string]string{"GITHUB_ACTIONS": name})
		h.Fail(&plan.Failure{Fault: plan.FaultInput, What: what.String(), Next: "correct it"})
		for i := range 200 {
			assert.Contains(t, out.String(), fmt.Sprintf("fault %d:", i))
		}
		assert.Contains(t, out.String(), "next:  correct it")
		assert.Less(t, out.Len(), 2*maxText)
	}
}

// A pod may write as much as it likes: what is printed of it is bounded, and it is cut before it is cleaned.
func TestTenMegabytesAreCut(t *testing.T) {
	for _, part := range []string{"\x1b[0", "\xff", "::error::\n"} {
		long := strings.Repeat(part, 10<<20/len(part))
		h, out, _ := onGitHub(t)
		h.Fail(&plan.Failure{What: long, Where: long, Next: "rerun"})
		h.Print(long)
		assert.Less(t, out.Len(), 2<<20, "%q", part)
	}
}

func TestMask(t *testing.T) {
	h, out, dir := onGitHub(t)
	h.Mask("hunter2%")
	h.Mask("hunter2%")
	h.Mask("first line\nsecond line\n")
	h.Mask("abc")
	h.Mask(" \n")
	assert.Equal(t, "::add-mask::hunter2%25\n::add-mask::first line\n::add-mask::second line\n::add-mask::abc\n", out.String())
	out.Reset()
	h.Notice("hunt\x00er2% and second line, abcdef")
	h.Foreign("Bearer hunter2%")
	h.Fail(&plan.Failure{What: strings.Repeat("x", maxMessage-maxNotes-8) + "hunter2% and more"})
	require.NoError(t, h.Summary([]byte("a hunter2% b")))
	require.NoError(t, h.Output("reason", "got hunter2%"))
	assert.NotContains(t, out.String(), "hunt")
	assert.NotContains(t, out.String(), "second")
	assert.Contains(t, out.String(), "abcdef", "a short one is left to the runner")
	assert.Equal(t, "a *** b", content(t, dir, "summary"))
	assert.Contains(t, content(t, dir, "output"), "got ***")
}

// TestACommandThatIsOfferedIsWhole, also where the context and the names in it are long, and much is said before it.
func TestACommandThatIsOfferedIsWhole(t *testing.T) {
	h, out, _ := onGitHub(t)
	far := plan.Target{Namespace: "shop-production", Service: "checkout-frontend", Flags: " --context arn:aws:eks:eu-central-1:123456789012:cluster/production-shop"}
	next := "look at gray's logs in the evidence folder (gray is deleted); upgrade to a fixed image; or, to try this one again, test it offline: " +
		plan.OfflineTest(far, "sha256:"+strings.Repeat("f", 64)) + "; then rerun (a person may also just rerun this job: offline-test is rerun-accepts)"
	h.Fail(&plan.Failure{What: strings.Repeat("x", maxMessage), Where: strings.Repeat("y", maxMessage), Done: strings.Repeat("z", maxMessage), Next: next})
	assert.Contains(t, out.String(), next+"\n")
}

func TestMaskOffGitHub(t *testing.T) {
	h, out := host(nil)
	h.Mask("hunter2")
	h.Foreign("token=hunter2")
	assert.Equal(t, "  | token=***\n", out.String())
}

func TestOutputAndStateOnGitHub(t *testing.T) {
	h, _, dir := onGitHub(t)
	require.NoError(t, h.Output("outcome", "promoted"))
	require.NoError(t, h.Output("reason", "all is well: 100 % = 1"))
	require.NoError(t, h.State("upgrade-id", "u2"))
	assert.Equal(t, "outcome<<"+delimiter+"\npromoted\n"+delimiter+"\nreason<<"+delimiter+"\nall is well: 100 % = 1\n"+delimiter+"\n", content(t, dir, "output"))
	assert.Equal(t, "upgrade-id<<"+delimiter+"\nu2\n"+delimiter+"\n", content(t, dir, "state"))
	assert.Equal(t, "u1", h.SavedState("upgrade-id"))
	assert.Empty(t, h.SavedState("other"))
}

func TestOutputsThatAreRefused(t *testing.T) {
	h, _, dir := onGitHub(t)
	for value, want := range map[string]string{
		"a\nb":                    "set output reason: the value has line breaks or control characters",
		"a\rb":                    "line breaks",
		"a\x00b":                  "control characters",
		"x" + delimiter:           "set output reason: the value holds the delimiter of the runner's files",
		strings.Repeat("x", 1001): "the value has 1001 bytes, more than 1000",
	} {
		assert.ErrorContains(t, h.Output("reason", value), want)
		assert.Error(t, h.State("reason", value))
	}
	assert.ErrorContains(t, h.Output("a=b", "x"), "is not a word")
	assert.NoFileExists(t, filepath.Join(dir, "output"))
	assert.NoFileExists(t, filepath.Join(dir, "state"))
}

func TestAMissingRunnerFileIsAnErrorAndNoPanic(t *testing.T) {
	h, _ := host(map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_STATE": "/does/not/exist", "GITHUB_STEP_SUMMARY": "/does/not/exist"})
	assert.EqualError(t, h.Output("outcome", "promoted"), "set output outcome: environment variable GITHUB_OUTPUT is not set")
	assert.ErrorContains(t, h.State("upgrade-id", "u"), "save state upgrade-id: write the file of GITHUB_STATE")
	assert.ErrorContains(t, h.Summary([]byte("x")), "write the summary")
}

// TestErrorsAreSetApartOnATerminal, where what a command prints may go into a file. CI reads one stream.
func TestErrorsAreSetApartOnATerminal(t *testing.T) {
	for name, env := range map[string]map[string]string{"terminal": {}, "tekton": {"GRAY_CI": "tekton"}, "github": {"GITHUB_ACTIONS": "true"}} {
		var out, errs bytes.Buffer
		h := Detect(func(name string) string { return env[name] }, &out, &errs)
		h.Print("a plan")
		h.Notice("a notice")
		h.Warn("a warning")
		h.Fail(&plan.Failure{What: "a failure"})
		assert.Equal(t, name, h.Name)
		assert.Contains(t, out.String(), "a plan")
		assert.Contains(t, out.String(), "a notice")
		if name != "terminal" {
			assert.Empty(t, errs.String())
			continue
		}
		assert.Equal(t, "gray-upgrade: warning: a warning\ngray-upgrade: a failure\n", strings.ReplaceAll(errs.String(), ": : ", ": "))
		assert.NotContains(t, out.String(), "failure")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("closed pipe") }

func TestABrokenLogStopsNothing(t *testing.T) {
	h := Detect(func(string) string { return "true" }, broken{}, broken{})
	assert.NotPanics(t, func() {
		h.Mask("hunter2")
		h.Notice("x")
		h.Foreign("x")
		h.Fail(&plan.Failure{What: "x"})
	})
}

func TestSummaryIsRewritten(t *testing.T) {
	h, _, dir := onGitHub(t)
	require.NoError(t, h.Summary([]byte("a longer first text")))
	require.NoError(t, h.Summary([]byte("second")))
	assert.Equal(t, "second", content(t, dir, "summary"))

	elsewhere, _ := host(map[string]string{"GRAY_SUMMARY": filepath.Join(dir, "s.md")})
	require.NoError(t, elsewhere.Summary([]byte("third")))
	assert.Equal(t, "third", content(t, dir, "s.md"))
	nowhere, out := host(nil)
	require.NoError(t, nowhere.Summary([]byte("fourth")))
	assert.Empty(t, out.String())
}

func TestALongSummaryIsCut(t *testing.T) {
	const mib = 1 << 20
	whole := bytes.Repeat([]byte("x"), maxSummary)
	assert.Equal(t, whole, fitting(whole), "at the limit")
	for name, text := range map[string]string{
		"lines":    strings.Repeat("| é | row |\n", mib/8),
		"one line": strings.Repeat("é", mib),
		"code":     "```\n" + strings.Repeat("log line\n", mib/4),
	} {
		got := fitting([]byte(text))
		assert.Less(t, len(got), mib, name)
		assert.Contains(t, string(got[len(got)-200:]), "The summary was cut here", name)
		assert.True(t, bytes.Equal(got, bytes.ToValidUTF8(got, nil)), name)
		assert.Zero(t, strings.Count(string(got), "```")%2, name)
	}
}

func TestTektonResults(t *testing.T) {
	dir := t.TempDir()
	env := map[string]string{"GRAY_CI": "tekton"}
	for key := range shares {
		env["GRAY_RESULT_"+strings.ToUpper(strings.ReplaceAll(key, "-", "_"))] = filepath.Join(dir, key)
	}
	h, _ := host(env)
	total := 0
	for key := range shares {
		long := strings.Repeat("é", 500)
		if key == "image" {
			require.ErrorContains(t, h.Output(key, long), "the image reference has 1000 bytes, there is room for 320", "a part of a reference is another one")
			assert.NoFileExists(t, filepath.Join(dir, key))
			long = strings.Repeat("a", shares[key])
		}
		require.NoError(t, h.Output(key, long))
		total += len(content(t, dir, key))
	}
	assert.Less(t, total, 1024, "results share the termination message")
	require.NoError(t, h.Output("outcome", "promoted"))
	assert.Equal(t, "promoted", content(t, dir, "outcome"))
	require.NoError(t, h.Output("unknown", "x"))
	require.NoError(t, h.State("upgrade-id", "u"))
}

func TestOutputOnATerminal(t *testing.T) {
	h, out := host(nil)
	require.NoError(t, h.Output("outcome", "promoted"))
	require.NoError(t, h.State("upgrade-id", "u"))
	assert.Equal(t, "outcome: promoted\n", out.String())
}
