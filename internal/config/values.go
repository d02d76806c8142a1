package config

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// form is what a plain text value must look like.
type form struct {
	pattern *regexp.Regexp
	longest int // bytes
	allowed string
}

var (
	dnsLabel = form{regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`), 63,
		"a name of at most 63 characters: a-z, 0-9 and -, a letter or digit at both ends"}
	dnsName = form{regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`), 253,
		"a name of at most 253 characters: a-z, 0-9, - and ., a letter or digit at both ends of each part"}
	headerName = form{regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"), 100,
		"the name of a header: letters, digits and -, at most 100 characters"}
	printable = form{regexp.MustCompile(`^[^\pC\x{2028}\x{2029}]+$`), 1000,
		"one line of text, at most 1000 bytes"}
	reason = form{regexp.MustCompile(`^[^\pC\x{2028}\x{2029}]+$`), 300,
		"one line that says why, at most 300 bytes"}
)

// imageForm is the grammar of image references as registries take them: [HOST[:PORT]/]PATH[:TAG][@DIGEST].
var imageForm = form{
	regexp.MustCompile(`^(?:(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?/)?` +
		`[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*` +
		`(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[a-f0-9]{64})?$`), 500,
	"[HOST[:PORT]/]PATH[:TAG][@sha256:DIGEST] with a path in lower case, like registry.example.com/shop/cart:1.4.2",
}

// plain returns a scalar's text.
func (p *parser) plain(v value, allowed string) (string, bool) {
	if v.node.kind == scalar {
		return v.node.text, true
	}
	p.fault(v, "is "+v.node.kind.String(), allowed)
	return "", false
}

// form returns a scalar's text when it has the form.
func (p *parser) form(v value, f form) string {
	s, ok := p.plain(v, f.allowed)
	switch {
	case !ok:
	case len(s) > f.longest:
		p.fault(v, "has "+itoa(len(s))+" bytes", f.allowed)
	case !f.pattern.MatchString(s):
		p.fault(v, "is not allowed", f.allowed)
	default:
		return s
	}
	return ""
}

// text is the setter of a string.
func text(field func(*Config) *string, f form) func(*parser, value) {
	return func(p *parser, v value) { *field(&p.config) = p.form(v, f) }
}

// image takes no reference that would mean whatever is newest.
func (p *parser) image(v value) {
	p.config.Image = p.form(v, imageForm)
	last := p.config.Image[strings.LastIndex(p.config.Image, "/")+1:]
	if last != "" && !strings.ContainsAny(last, ":@") {
		p.fault(v, "has neither tag nor digest", imageForm.allowed)
	}
}

// ownImage is the variable by which the tool's own container names its image.
const ownImage = "GRAY_UPGRADE_IMAGE"

func (p *parser) watchdog(v value) {
	p.config.Watchdog = Guard(p.word(v, string(GuardAuto), string(GuardRequired), string(GuardOff)))
}

func (p *parser) watchdogImage(v value) { p.config.WatchdogImage = p.form(v, imageForm) }

// ownImage takes the image that the tool itself runs from where the user names none.
func (p *parser) ownImage() {
	if _, given := p.from["watchdog-image"]; given || p.getenv == nil {
		return
	}
	if text := strings.TrimSpace(p.getenv(ownImage)); text != "" {
		p.watchdogImage(value{path: "watchdog-image", origin: "environment variable " + ownImage, node: node{kind: scalar, text: text}})
	}
}

// policy is the setter of a Policy.
func policy(field func(*Config) *Policy) func(*parser, value) {
	return func(p *parser, v value) {
		*field(&p.config) = Policy(p.word(v, string(Refuse), string(Warn)))
	}
}

// word returns one of the words.
func (p *parser) word(v value, words ...string) string {
	allowed := strings.Join(words, " or ")
	s, ok := p.plain(v, allowed)
	for _, w := range words {
		if ok && s == w {
			return s
		}
	}
	if ok {
		p.fault(v, "is not allowed", allowed)
	}
	return ""
}

func (p *parser) dryRun(v value) { p.config.DryRun = p.boolean(v) }

func (p *parser) boolean(v value) bool { return p.word(v, "true", "false") == "true" }

// duration is the setter of a duration within bounds.
func duration(field func(*Config) *time.Duration, low, high time.Duration) func(*parser, value) {
	return func(p *parser, v value) { *field(&p.config) = p.duration(v, low, high) }
}

func (p *parser) duration(v value, low, high time.Duration) time.Duration {
	allowed := "a duration from " + clock(low) + " to " + clock(high) + ", like 90s or 1m30s"
	s, ok := p.plain(v, allowed)
	if !ok {
		return 0
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		problem := "is not a duration"
		if _, err := strconv.ParseFloat(s, 64); err == nil {
			problem = "has no unit"
		}
		p.fault(v, problem, allowed)
	case d < low:
		p.fault(v, "is below "+clock(low), allowed)
	case d > high:
		p.fault(v, "is above "+clock(high), allowed)
	default:
		return d
	}
	return 0
}

// clock writes a duration without the units that are zero: 24h, not 24h0m0s.
func clock(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func (p *parser) podAccess(v value) {
	p.config.PodAccess = PodAccess(p.word(v, string(PortForward), string(Direct)))
}

func (p *parser) offlineTest(v value) {
	p.config.OfflineTest = OfflineTest(p.word(v, string(TestRequired), string(RerunAccepts)))
}

func (p *parser) grayReplicas(v value) {
	p.config.GrayReplicas = int32(p.number(v, 0, 1000)) //nolint:gosec // at most 1000
}

func (p *parser) closeFloor(v value) { p.config.CloseFloor = p.number(v, 1, 100) }

// number returns a whole number within bounds.
func (p *parser) number(v value, low, high int) int {
	allowed := "a whole number from " + itoa(low) + " to " + itoa(high)
	s, ok := p.plain(v, allowed)
	if !ok {
		return 0
	}
	n, problem := whole(s, low, high)
	if problem != "" {
		p.fault(v, problem, allowed)
	}
	return n
}

// whole reads a whole number in decimal; problem is "" when it is within bounds.
func whole(s string, low, high int) (n int, problem string) {
	n, err := strconv.Atoi(s) // out of range it is the nearest number there is
	switch {
	case errors.Is(err, strconv.ErrRange) && n < 0:
		return 0, "is below " + itoa(low)
	case errors.Is(err, strconv.ErrRange):
		return 0, "is above " + itoa(high)
	case err != nil:
		return 0, "is not a whole number"
	case n < low:
		return 0, "is below " + itoa(low)
	case n > high:
		return 0, "is above " + itoa(high)
	}
	return n, ""
}
