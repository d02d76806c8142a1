package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/golden"
	"github.com/gray-upgrade/gray-upgrade/internal/judge"
	"github.com/gray-upgrade/gray-upgrade/internal/plan"
)

func TestStories(t *testing.T) {
	for name, story := range map[string]plan.Story{
		"promoted": promoted(), "passed": passed(), "rolled-back": rolledBack(), "account-failure": accountFailure(),
		"stuck": stuck(), "refused": refused(), "running": running(), "planned": planned(), "hostile": hostile(),
	} {
		t.Run(name, func(t *testing.T) {
			golden.Equal(t, name+".md", Markdown(story))
			golden.Equal(t, name+".txt", []byte(Text(story)))
			golden.Equal(t, name+".svg", SVG(story))
		})
	}
}

// The README's picture is what the tool draws: a good version above, a bad one below.
func TestPicture(t *testing.T) {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d">`+"\n", svgWidth, 2*svgHeight, svgWidth, 2*svgHeight)
	for i, s := range []plan.Story{picture(), rolledBack()} {
		fmt.Fprintf(&b, `<g transform="translate(0 %d)">`+"\n%s</g>\n", i*svgHeight, SVG(s))
	}
	b.WriteString("</svg>\n")
	golden.Equal(t, "../../../docs/upgrade.svg", b.Bytes())
}

func TestEveryOutcomeHasAVerdictOfItsOwn(t *testing.T) {
	seen := map[string]plan.Outcome{}
	for _, o := range []plan.Outcome{
		"", plan.Promoted, plan.Unchanged, plan.RolledBack, plan.Closed, plan.Undecided,
		plan.Interrupted, plan.Invalid, plan.Refused, plan.Stuck, plan.Planned, plan.Passed,
	} {
		s := story().Story
		s.Outcome = o
		_, line := verdict(s)
		word, _, found := strings.Cut(line, ":")
		require.True(t, found, line)
		assert.NotContains(t, seen, word)
		assert.Contains(t, line, "shop/web")
		seen[word] = o
	}
}

func TestVerdictBelievesTheWeightNotTheOutcome(t *testing.T) {
	s := rolledBack()
	s.Weight = 20
	_, line := verdict(s)
	assert.Contains(t, line, "20 % of the requests of shop/web are still configured for gray")
	assert.NotContains(t, line, "all users")
}

// TestUnchangedSaysWhatWasDone: a digest is compared before anything is started, a tag is known by gray's pods alone.
func TestUnchangedSaysWhatWasDone(t *testing.T) {
	digest := story()
	left := story().did(time.Second, 0, plan.Step{Kind: plan.RemoveGray, Phase: plan.PhaseClose})
	tag := story().did(time.Second, 0, plan.Step{Kind: plan.StartGray, Phase: plan.PhaseStart}).
		did(time.Second, 0, plan.Step{Kind: plan.Identify, Phase: plan.PhaseStart}).
		did(time.Second, 0, plan.Step{Kind: plan.RemoveGray, Phase: plan.PhaseClose})
	for want, s := range map[string]*teller{
		"nothing was done": digest,
		"what an earlier run left was closed, nothing else was done":                        left,
		"gray was started without users to learn the image's digest, and was removed again": tag,
	} {
		s.Outcome = plan.Unchanged
		_, line := verdict(s.Story)
		assert.Equal(t, "unchanged: shop/web runs app:v2@sha256:9f8e7d6c5b4a already; "+want, line)
	}
}

func TestRolledBackSaysWhetherTheImageIsOnHold(t *testing.T) {
	s := rolledBack()
	_, line := verdict(s)
	assert.Contains(t, line, "app:v2@sha256:9f8e7d6c5b4a failed and is on hold until it passes an offline test")
	s.Held, s.To = "", "registry.example.com/shop/app:v2"
	_, line = verdict(s)
	assert.Contains(t, line, "app:v2 failed; its digest could not be learned, so nothing is on hold: give the image by digest")
	assert.NotContains(t, line, "and is on hold")
}

// nasty is everything that could mean something to whoever shows it.
const nasty = "a|b `c` <img src=x onerror=alert(1)> @all #1 :+1: $x$ [l](http://e.example) www.e.example\n## head\r\n- item\n```\n" +
	"\x1b[31mred\x1b[0m\x1b]0;title\x07\x1b]8;;http://e.example\x1b\\ nul\x00 bad\xff\xfe bidi\u202eabc zero\u200bwidth \u0085 \u2028 --> </code> & &lt; \\| ~~s~~ *b* _i_ \"]; end ::error::x"

func hostile() plan.Story {
	t := story()
	t.Target = plan.Target{Namespace: nasty, Deployment: nasty, Service: nasty, Route: nasty}
	t.Identity = plan.Identity{Run: nasty, URL: "https://e.example/)|[x](javascript:alert(1))", Actor: nasty}
	t.From, t.To, t.Evidence = nasty, nasty, nasty
	t.Warnings = []string{nasty}
	check := judge.Check{Name: nasty, Verdict: judge.Fail, Got: math.NaN(), Limit: math.Inf(1), Unit: nasty, Why: nasty, Where: nasty}
	t.did(time.Second, 5, plan.Step{Kind: nasty, Phase: nasty, Why: nasty, Side: nasty}, served(1, 19), judged(check), noted(nasty, nasty), broken(nasty))
	t.Watched = &judge.Sample{OnTrial: judge.Numbers{Name: nasty, Logs: []judge.LogTemplate{{Template: nasty, Line: nasty, Count: 1, Pods: []string{nasty}}}}}
	t.Proofs = []plan.Proof{{Pod: nasty, Side: nasty, Account: nasty, Check: nasty, Verdict: nasty, Got: nasty, Want: nasty}}
	t.Outcome, t.Held, t.Compared = plan.RolledBack, nasty, 4
	t.Changes = []plan.Change{{Object: nasty, Field: nasty, Before: nasty, After: nasty}}
	t.Failure = &plan.Failure{What: nasty, Where: nasty, Done: nasty, Next: nasty, Checks: []judge.Check{check}}
	return t.Story
}

func TestVerdictOfARunThatFoundNothingClaimsNothing(t *testing.T) {
	for outcome, want := range map[plan.Outcome]string{
		plan.Closed:      "closed: shop/cart was not looked at, and not changed; not the image's fault, no hold, a rerun is fine",
		plan.Interrupted: "interrupted: shop/cart was not looked at, and not changed; no hold, a rerun is fine",
		plan.Stuck:       "A PERSON MUST ACT: the close of shop/cart could not begin, nobody knows how many of its users are on gray",
	} {
		_, line := verdict(plan.Story{Outcome: outcome, Target: plan.Target{Namespace: "shop", Service: "cart"}, Failure: &plan.Failure{}})
		assert.Equal(t, want, line)
	}
	_, line := verdict(plan.Story{Outcome: plan.Invalid})
	assert.Equal(t, "invalid: the service was not changed, the input must be mended first", line)
}

// TestACloseThatWasAskedForBlamesNobody: it says nothing of holds, which it neither makes nor ends.
func TestACloseThatWasAskedForBlamesNobody(t *testing.T) {
	s := story().Story
	s.Outcome = plan.Closed
	_, line := verdict(s)
	assert.Equal(t, "closed: all users of shop/web are on production; there was nothing left to close", line)
	s.Entries = []plan.Entry{{}}
	_, line = verdict(s)
	assert.Equal(t, "closed: all users of shop/web are on production; what an earlier run left was brought home", line)
}

func TestPage(t *testing.T) {
	for name, story := range map[string]plan.Story{"rolled-back": rolledBack(), "hostile": hostile()} {
		golden.Equal(t, name+".html", Page(story))
	}
}

func TestThePageHoldsNothingForeign(t *testing.T) {
	p := string(Page(hostile()))
	require.True(t, utf8.ValidString(p))
	for _, bad := range []string{"\x1b", "\x00", "\u202e", "\u200b", "<img", "</code> &", "<script", "src=\"", "href=", "url("} {
		assert.NotContains(t, p, bad)
	}
}

func TestHostileTextStaysText(t *testing.T) {
	md := string(Markdown(hostile()))
	require.True(t, utf8.ValidString(md))
	for _, bad := range []string{
		"\x1b", "\x00", "\r", "\u202e", "\u200b", "\u2028", "<img", "@all", "#1 ", "http://", "www.e", "&lt;img src=x onerror=alert(1)>",
		"\n## head", "\n- item", "~~", "*b*", "_i_", "](javascript", "$x$",
	} {
		assert.NotContains(t, md, bad)
	}
	assert.Equal(t, 2, strings.Count(md, "```"), "the fences of the chart and no others")
	for line := range strings.Lines(md) {
		if strings.HasPrefix(line, "|") {
			assert.Contains(t, []int{4, 5, 6, 7, 8}, strings.Count(line, "|")-1, "a cell broke out of its table: %s", line)
		}
	}
	text := Text(hostile())
	require.True(t, utf8.ValidString(text))
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		assert.True(t, (i == 0 && strings.HasPrefix(line, "gray-upgrade: ")) || strings.HasPrefix(line, "  "), line)
		assert.NotContains(t, line, "\x1b")
	}
}

func TestSVGIsXML(t *testing.T) {
	for _, s := range []plan.Story{promoted(), hostile(), running(), {}} {
		decoder := xml.NewDecoder(bytes.NewReader(SVG(s)))
		for {
			_, err := decoder.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
		}
	}
}

// The worst that the escaper makes of a character, everywhere and at every length.
func TestSummaryStaysBelowItsLimit(t *testing.T) {
	long := strings.Repeat("@", 5000)
	s := hostile()
	s.Target = plan.Target{Namespace: long, Deployment: long, Service: long, Route: long}
	s.Identity = plan.Identity{Run: long, URL: long, Actor: long}
	s.From, s.To, s.Evidence = long, long, long
	s.Failure = &plan.Failure{What: long, Where: long, Done: long, Next: long}
	check := judge.Check{Name: long, Verdict: judge.Fail, Unit: long, Why: long, Where: long}
	entry := plan.Entry{
		Step: plan.Step{Kind: plan.Kind(long), Phase: plan.Phase(long), Side: plan.Side(long), Why: long}, Begin: noon, End: noon.Add(time.Second),
		Served: &plan.Share{Gray: 1e12, Production: 1e12}, Checks: []judge.Check{check}, Error: long,
	}
	for range 100 {
		entry.Notes = append(entry.Notes, long)
	}
	for range 200 {
		s.Warnings = append(s.Warnings, long)
		s.Entries = append(s.Entries, entry)
		s.Proofs = append(s.Proofs, plan.Proof{Pod: long, Side: plan.Side(long), Account: long, Check: long, Verdict: judge.Pass, Got: long, Want: long})
		s.Plan.Steps = append(s.Plan.Steps, entry.Step)
	}
	s.Watched = &judge.Sample{OnTrial: judge.Numbers{Name: long}}
	for i := range 20 {
		s.Watched.OnTrial.Logs = append(s.Watched.OnTrial.Logs, judge.LogTemplate{Template: fmt.Sprint(i), Line: long, Pods: []string{long, long}})
		check.Name = fmt.Sprint(i) + long
		s.Failure.Checks = append(s.Failure.Checks, check)
		unknown := check
		unknown.Verdict, unknown.Name = judge.Inconclusive, "x"+check.Name
		s.Failure.Checks = append(s.Failure.Checks, unknown)
	}
	s.Outcome = plan.Planned // the plan's table is the one part that other outcomes do not have
	md := Markdown(s)
	assert.Less(t, len(md), MaxMarkdown)
	assert.Contains(t, string(md), "rows are left out here")
	assert.Contains(t, string(md), "earlier rows are left out here")
	assert.Less(t, len(Text(s)), 64<<10)
}

func TestTablesKeepWhatMattersWhenTheyAreCut(t *testing.T) {
	s := story().Story
	for i := range 6000 {
		s.Entries = append(s.Entries, plan.Entry{Step: plan.Step{Kind: plan.Await, Why: fmt.Sprintf("look %d", i)}, Begin: noon, End: noon})
		s.Proofs = append(s.Proofs, plan.Proof{Pod: fmt.Sprintf("pod-%d", i), Verdict: judge.Pass})
	}
	s.Proofs[5999].Verdict = judge.Fail
	md := string(Markdown(s))
	assert.Contains(t, md, "look 5999")
	assert.NotContains(t, md, "look 0 ")
	assert.Contains(t, md, "pod-5999", "what failed is shown first")
}

func TestClean(t *testing.T) {
	tests := []struct {
		name, in string
		limit    int
		want     string
	}{
		{"plain", "a b", 10, "a b"},
		{"empty", "", 10, ""},
		{"white space is one space", " a\r\n\t b \u2028c ", 10, "a b c"},
		{"as long as allowed", "abcde", 5, "abcde"},
		{"cut", "abcdef", 5, "abcd…"},
		{"cut counts runes", "ääääää", 5, "ääää…"},
		{"control characters", "a\x00\x07b\x7f", 10, "ab"},
		{"colours", "\x1b[1;31mred\x1b[0m", 10, "red"},
		{"window title", "\x1b]0;evil\x07x", 10, "x"},
		{"title without end", "x\x1b]0;evil", 10, "x"},
		{"eight-bit sequence", "\u009b31mx", 10, "x"},
		{"not UTF-8", "a\xffb", 10, "a\uFFFDb"},
		{"direction and zero width", "a\u202eb\u200bc\ufeffd", 10, "abcd"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { assert.Equal(t, tt.want, clean(tt.in, tt.limit)) })
	}
}

func TestLink(t *testing.T) {
	assert.Equal(t, "[run 1](https://ci.example.com/a/b?x=1)", link("run 1", "https://ci.example.com/a/b?x=1"))
	for _, bad := range []string{"", "javascript:alert(1)", "https://e.example/)", "https://e.example/ x", "https://a@e.example/", "https://e.example/|", "https://e.example/" + strings.Repeat("a", 500)} {
		assert.Equal(t, "run", link("run", bad), bad)
	}
}

func TestShort(t *testing.T) {
	for in, want := range map[string]string{
		"":                               "",
		"app":                            "app",
		"h:5000/a/b:v1":                  "b:v1",
		"h/b:v1@sha256:0123456789abcdef": "b:v1@sha256:0123456789ab",
		"h/b@sha256:01":                  "b@sha256:01",
	} {
		assert.Equal(t, want, short(in))
	}
}

func FuzzEscape(f *testing.F) {
	f.Add(nasty, 300)
	f.Add("\x1b[", 1)
	f.Add("@@@@", 2)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = 1 + int(uint(limit)%1000)
		c := clean(s, limit)
		require.True(t, utf8.ValidString(c))
		require.LessOrEqual(t, utf8.RuneCountInString(c), limit)
		require.Equal(t, -1, strings.IndexFunc(c, func(r rune) bool { return r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) }))
		p := prose(s, limit)
		require.LessOrEqual(t, len(p), limit*longest)
		require.False(t, strings.ContainsAny(strings.NewReplacer("&#64;<!-- -->", "", "&#35;<!-- -->", "", ": ", "").Replace(p), "<>|`*_~[]\\$:@"), p)
		require.False(t, strings.ContainsAny(label(s, limit), "\"`<>;{}#&\n"))
		require.NoError(t, xml.Unmarshal([]byte("<a>"+markup(s, limit)+"</a>"), new(string)))
	})
}
