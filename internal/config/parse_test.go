package config

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gray-upgrade/gray-upgrade/internal/golden"
	"github.com/gray-upgrade/gray-upgrade/internal/judge"
)

// flags makes inputs from key, value, key, value.
func flags(kv ...string) []Input {
	var out []Input
	for i := 0; i+1 < len(kv); i += 2 {
		out = append(out, Input{Key: kv[i], Value: kv[i+1], Origin: FromFlag})
	}
	return out
}

// least is what every Config needs, and more.
func least(kv ...string) []Input {
	return append(flags("service", "cart", "image", "shop/cart:2"), flags(kv...)...)
}

// lookup is an environment.
func lookup(kv map[string]string) func(string) string {
	return func(name string) string { return kv[name] }
}

func TestDefaults(t *testing.T) {
	got, err := Parse(nil, "", least(), nil)
	require.NoError(t, err)
	want := Defaults()
	want.Service, want.Image = "cart", "shop/cart:2"
	assert.Equal(t, want, got)
}

func TestDefaultsInWordsAreTheDefaults(t *testing.T) {
	for _, k := range Keys {
		if k.Default == "" {
			continue
		}
		got, err := Parse(nil, "", least(k.Name, k.Default), nil)
		require.NoError(t, err, k.Name)
		want := Defaults()
		want.Service, want.Image = "cart", "shop/cart:2"
		assert.Equal(t, want, got, k.Name)
	}
}

func TestPrecedence(t *testing.T) {
	file := []byte("steps: 1\nstep-duration: 1s\ntimeout: 1m\nclose-timeout: 11s\nthresholds: {restarts: 1, min-requests: 1, new-error-logs: 1}\n")
	inputs := append(least("steps", "4"),
		Input{Key: "steps", Value: "2", Origin: FromEnv},
		Input{Key: "step-duration", Value: "2s", Origin: FromEnv},
		Input{Key: "timeout", Value: "2m", Origin: FromEnv},
		Input{Key: "thresholds", Value: "min-requests: 2", Origin: FromEnv},
		Input{Key: "steps", Value: "3", Origin: FromInput},
		Input{Key: "step-duration", Value: "3s", Origin: FromInput},
		Input{Key: "timeout", Value: " ", Origin: FromInput},
		Input{Key: "thresholds", Value: "{restarts: 3}", Origin: FromInput},
	)
	c, err := Parse(file, "f.yaml", inputs, nil)
	require.NoError(t, err)
	assert.Equal(t, []int{4}, c.Steps, "flag over input")
	assert.Equal(t, 3*time.Second, c.StepDuration, "input over env")
	assert.Equal(t, 2*time.Minute, c.Timeout, "env over file; an empty input is none")
	assert.Equal(t, 11*time.Second, c.CloseTimeout, "file over default")
	assert.Equal(t, 3*time.Minute, c.PodTimeout, "default")
	assert.Equal(t, judge.Limits{ErrorPercent: 0.2, MemoryRatio: 2, CPURatio: 2, Restarts: 3, MinRequests: 2, NewErrorLogs: 1, FalseAlarmPercent: 1}, c.Limits, "limit by limit")
}

func TestAWeakerFaultyValueIsNotLookedAt(t *testing.T) {
	_, err := Parse([]byte("steps: none\n"), "f.yaml", least("steps", "5"), nil)
	assert.NoError(t, err)
}

func TestFileName(t *testing.T) {
	assert.Empty(t, FileName(least()))
	assert.Equal(t, "b", FileName([]Input{{Key: "config", Value: "a", Origin: FromEnv}, {Key: "config", Value: " b ", Origin: FromInput}, {Key: "config", Value: "", Origin: FromFlag}}))
	assert.Equal(t, "c", FileName([]Input{{Key: "config", Value: "c", Origin: FromFlag}, {Key: "config", Value: "a", Origin: FromEnv}}))
}

func TestGoodValues(t *testing.T) {
	const digest = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for _, tc := range []struct {
		key, value string
		got        func(Config) any
		want       any
	}{
		{"image", "cart:1", func(c Config) any { return c.Image }, "cart:1"},
		{"image", "localhost:5000/shop/cart:v1.2_3-x" + digest, func(c Config) any { return c.Image }, "localhost:5000/shop/cart:v1.2_3-x" + digest},
		{"image", "Registry.Example.com/a__b/c-d" + digest, func(c Config) any { return c.Image }, "Registry.Example.com/a__b/c-d" + digest},
		{"image", "[::1]:5000/a:1", func(c Config) any { return c.Image }, "[::1]:5000/a:1"},
		{"gateway", "HTTPRoute/shop.route", func(c Config) any { return c.Gateway }, "httproute/shop.route"},
		{"gateway-pods", "gateway/app.kubernetes.io/name=traefik,tier==edge:9100", func(c Config) any { return c.GatewayPods },
			GatewayPods{Namespace: "gateway", Selector: "app.kubernetes.io/name=traefik,tier==edge", Port: 9100}},
		{"gateway-pods", "gateway/app=traefik", func(c Config) any { return c.GatewayPods }, GatewayPods{Namespace: "gateway", Selector: "app=traefik"}},
		{"url", "https://shop.example.com:8443/base/", func(c Config) any { return c.URL }, "https://shop.example.com:8443/base"},
		{"confirm", "wait=1m30s", func(c Config) any { return c.Confirm }, Confirm{Wait: 90 * time.Second}},
		{"confirm", "required", func(c Config) any { return c.Confirm }, Confirm{}},
		{"bypass", "warn", func(c Config) any { return c.Bypass }, Warn},
		{"steps", " 1, 2 ,100", func(c Config) any { return c.Steps }, []int{1, 2, 100}},
		{"step-duration", "0s", func(c Config) any { return c.StepDuration }, time.Duration(0)},
		{"return-steps", "0", func(c Config) any { return c.ReturnSteps }, []int{0}},
		{"return-steps", "99,1,0", func(c Config) any { return c.ReturnSteps }, []int{99, 1, 0}},
		{"gray-replicas", "1000", func(c Config) any { return c.GrayReplicas }, int32(1000)},
		{"gray-args", "--mode gray\n 'a b' \"c\\\" $d \\x\" e\\ f ''", func(c Config) any { return c.Gray.Args },
			[]string{"--mode", "gray", "a b", `c" $d \x`, "e f", ""}},
		{"gray-args", "['--mode=gray', -n, 5]", func(c Config) any { return c.Gray.Args }, []string{"--mode=gray", "-n", "5"}},
		{"gray-args", "- --mode gray\n- '[x]'\n", func(c Config) any { return c.Gray.Args }, []string{"--mode gray", "[x]"}},
		{"gray-args", "'[x]' -n", func(c Config) any { return c.Gray.Args }, []string{"[x]", "-n"}},
		{"gray-env", "MODE=gray,EMPTY=,X=a=b", func(c Config) any { return c.Gray.Env }, []EnvVar{{"MODE", "gray"}, {"EMPTY", ""}, {"X", "a=b"}}},
		{"production-env", "URLS=a,b\n\n  B=2  \n", func(c Config) any { return c.Production.Env }, []EnvVar{{"URLS", "a,b"}, {"B", "2"}}},
		{"thresholds", "error-percent: 0.5\np99-ms: 500", func(c Config) any { return c.Limits },
			judge.Limits{ErrorPercent: 0.5, P99: 500 * time.Millisecond, MemoryRatio: 2, CPURatio: 2, MinRequests: 50, FalseAlarmPercent: 1}},
		{"thresholds", "min-requests: 0", func(c Config) any { return c.Limits.MinRequests }, 0},
		{"ignore-hold", "known flake, see OPS-7 (é)", func(c Config) any { return c.IgnoreHold }, "known flake, see OPS-7 (é)"},
		{"close-floor", "100", func(c Config) any { return c.CloseFloor }, 100},
		{"step-timeout", "0s", func(c Config) any { return c.StepLimit() }, 5 * time.Minute},
		{"step-timeout", "2m", func(c Config) any { return c.StepLimit() }, 2 * time.Minute},
		{"dry-run", "true", func(c Config) any { return c.DryRun }, true},
		{"watchdog", "required", func(c Config) any { return c.Watchdog }, GuardRequired},
		{"watchdog", "off", func(c Config) any { return c.Watchdog }, GuardOff},
		{"watchdog-after", "10s", func(c Config) any { return c.WatchdogAfter }, 10 * time.Second},
		{"watchdog-after", "10m", func(c Config) any { return c.WatchdogAfter }, 10 * time.Minute},
		{"watchdog-image", "registry.example.com/gray-upgrade:v1", func(c Config) any { return c.WatchdogImage }, "registry.example.com/gray-upgrade:v1"},
		{"pod-access", "direct", func(c Config) any { return c.PodAccess }, Direct},
		{"kubeconfig", "/tmp/a b/config", func(c Config) any { return c.Kubeconfig }, "/tmp/a b/config"},
	} {
		c, err := Parse(nil, "", least(tc.key, tc.value), nil)
		if assert.NoError(t, err, tc.key) {
			assert.Equal(t, tc.want, tc.got(c), tc.key)
		}
	}
}

// TestBadValues has a row for each side of each limit that a good value does not show.
func TestBadValues(t *testing.T) {
	for _, tc := range []struct{ key, value, want string }{
		{"image", "cart:", `flag --image: image "cart:": is not allowed; allowed: [HOST[:PORT]/]PATH[:TAG][@sha256:DIGEST]`},
		{"image", "cart@sha256:12", "is not allowed"},
		{"image", "https://cart", "is not allowed"},
		{"image", "cart image", "is not allowed"},
		{"image", strings.Repeat("a", 501), "has 501 bytes"},
		{"service", "-cart", "is not allowed"},
		{"service", strings.Repeat("a", 64), "has 64 bytes; allowed: a name of at most 63 characters"},
		{"deployment", "a..b", "is not allowed"},
		{"gateway", "cart", "names no kind; allowed: httproute/NAME"},
		{"gateway", "ingress/cart", `ingress is not supported in this version; allowed: httproute/NAME`},
		{"gateway", "grpcroute/cart", "grpcroute is not supported in this version"},
		{"gateway", "virtualservice/cart", "virtualservice is not supported in this version"},
		{"gateway", "traefikservice/cart", "traefikservice is not supported in this version"},
		{"gateway", "httproute/shop/cart", "is not the name of a route"},
		{"gateway", "httproute/", "is not the name of a route"},
		{"gateway-pods", "app=traefik", "names no namespace"},
		{"gateway-pods", "Gateway/app=traefik", `"Gateway" is not a namespace`},
		{"gateway-pods", "gateway/", `"" is not a label selector`},
		{"gateway-pods", "gateway/app in (a)", "is not a label selector"},
		{"gateway-pods", "gateway/app=a:0", "port is below 1"},
		{"gateway-pods", "gateway/app=a:65536", "port is above 65535"},
		{"gateway-pods", "gateway/app=a:http", "port is not a whole number"},
		{"url", "shop.example.com", "is not an http or https URL"},
		{"url", "http://", "has no host"},
		{"url", "http://:80", "has no host"},
		{"url", "http://a/?b", "has a query or fragment"},
		{"url", "http://a b/", "is not a URL"},
		{"side-header", "X:Side", "is not allowed"},
		{"confirm", "wait", "is not allowed; allowed: required or wait=DURATION"},
		{"confirm", "wait=0s", "is not allowed"},
		{"confirm", "wait=61m", "is not allowed"},
		{"bypass", "Refuse", "is not allowed; allowed: refuse or warn"},
		{"steps", "0,5", `"0" is below 1; allowed: whole numbers from 1 to 100`},
		{"steps", "5,101", `"101" is above 100`},
		{"steps", "5,5", "5 is not above 5"},
		{"steps", "20,5", "5 is not above 20"},
		{"steps", "5%", `"5%" is not a whole number`},
		{"steps", "5,", `"" is not a whole number`},
		{"step-duration", "-1s", "is below 0s; allowed: a duration from 0s to 24h"},
		{"step-duration", "24h1s", "is above 24h"},
		{"step-duration", "60", "has no unit"},
		{"step-duration", "a minute", "is not a duration"},
		{"return-steps", "100,0", `"100" is above 99`},
		{"return-steps", "50,50,0", "50 is not below 50"},
		{"return-steps", "50", "does not end in 0"},
		{"gray-replicas", "1001", "is above 1000"},
		{"gray-replicas", "1.5", "is not a whole number"},
		{"gray-args", `a "b`, "flag --gray-args: gray-args: has an open quote"},
		{"gray-args", `a \`, "ends in a backslash"},
		{"gray-args", "['--mode gray'", "flag --gray-args: gray-args: begins like a YAML list and is none; allowed: words with quotes as in a shell, or a YAML list"},
		{"gray-args", "[{a: b}]", "gray-args[0]: is a map; allowed: a plain value"},
		{"image", "registry.example.com:5000/shop/cart", "has neither tag nor digest; allowed: [HOST[:PORT]/]PATH[:TAG][@sha256:DIGEST]"},
		{"gray-env", "MODE=gray,next", `flag --gray-env: gray-env[1]: has no "="`},
		{"gray-env", "A=1,A=2", "A stands here for the second time"},
		{"gray-env", "A B=1", "the name is not allowed"},
		{"step-timeout", "59s", `step-timeout "59s": is below step-duration; allowed: 0s, or at least 1m0s`},
		{"thresholds", "{error-percent: 100.1}", `thresholds.error-percent "100.1": is above 100`},
		{"thresholds", "{error-percent: -1}", "is below 0"},
		{"thresholds", "{error-percent: .nan}", "is not a number"},
		{"thresholds", "{min-requests: -1}", "is below 0"},
		{"thresholds", "{p99-ms: 0.5}", "is not a whole number"},
		{"thresholds", "{false-alarm-percent: 0}", "is below 0.001"},
		{"thresholds", "{memory-ratio: 0.9}", "is below 1"},
		{"thresholds", "{frobnicate: 500}", "flag --thresholds: key thresholds.frobnicate: is not known; allowed: error-percent, p99-ms"},
		{"thresholds", "{p99: 500}", "flag --thresholds: key thresholds.p99: is not known, did you mean p99-ms?"},
		{"thresholds", "5", "is not a map"},
		{"thresholds", "{", "is not YAML"},
		{"ignore-hold", "because\nof this", "is not allowed; allowed: one line that says why"},
		{"ignore-hold", strings.Repeat("é", 151), "has 302 bytes"},
		{"close-floor", "0", "is below 1"},
		{"close-floor", "101", "is above 100"},
		{"drain", "61m", "is above 1h"},
		{"timeout", "0s", "is below 1s"},
		{"watchdog", "on", "is not allowed; allowed: auto or required or off"},
		{"watchdog-after", "9.999s", "is below 10s"},
		{"watchdog-after", "10m0.001s", "is above 10m"},
		{"watchdog-image", "gray-upgrade image", "is not allowed"},
		{"dry-run", "yes", "is not allowed; allowed: true or false"},
		{"prometheus-url", "prometheus:9090", "is not an http or https URL; allowed: http:// or https://, a host, and at most a path, like http://prometheus.example.com:9090"},
		{"prometheus-url", "http://prometheus:9090", "is given, and nothing is asked there"},
		{"prometheus-preset", "nginx", "is not allowed; allowed: traefik or ingress-nginx or istio or envoy-gateway or linkerd"},
		{"prometheus-preset", "istio", "is given without prometheus-url"},
		{"loki-url", "loki:3100", "is not an http or https URL; allowed: http:// or https://, a host, and at most a path, like http://loki.example.com:3100"},
		{"loki-query", `{pod=~"{{.Pods}}"}`, "is given without loki-url"},
		{"evidence", "a\x00b", "is not allowed"},
		{"manifest", "pod.yaml", "is given together with image (flag --image); allowed: one of them"},
		{"imag", "cart", "flag --imag: imag: is not known, did you mean image?"},
	} {
		_, err := Parse(nil, "", least(tc.key, tc.value), nil)
		assert.ErrorContains(t, err, tc.want, "%s=%q", tc.key, tc.value)
	}
}

func TestTheWatchdogRunsTheToolsOwnImage(t *testing.T) {
	own := lookup(map[string]string{"GRAY_UPGRADE_IMAGE": " registry.example.com/gray-upgrade:v1 "})
	c, err := Parse(nil, "", least(), own)
	require.NoError(t, err)
	assert.Equal(t, "registry.example.com/gray-upgrade:v1", c.WatchdogImage)
	c, err = Parse([]byte("watchdog-image: mirror/gray-upgrade:v1\n"), "f.yaml", least(), own)
	require.NoError(t, err)
	assert.Equal(t, "mirror/gray-upgrade:v1", c.WatchdogImage, "the user's word wins")
	_, err = Parse(nil, "", least(), lookup(map[string]string{"GRAY_UPGRADE_IMAGE": "no image"}))
	assert.ErrorContains(t, err, `environment variable GRAY_UPGRADE_IMAGE: watchdog-image "no image": is not allowed`)
}

func TestEachOriginIsNamed(t *testing.T) {
	_, err := Parse([]byte("steps: 0\n"), "gray.yaml", append(least(),
		Input{Key: "drain", Value: "x", Origin: FromFlag},
		Input{Key: "timeout", Value: "x", Origin: FromInput},
		Input{Key: "pod-timeout", Value: "x", Origin: FromEnv}), nil)
	for _, want := range []string{"flag --drain: drain", "input timeout: timeout", "environment variable GRAY_POD_TIMEOUT: pod-timeout", "gray.yaml:1:8: steps"} {
		assert.ErrorContains(t, err, want)
	}
}

func TestAURLWithAPasswordIsNotShown(t *testing.T) {
	for _, value := range []string{"http://user:hunter2@a/", "http://user:hunter2@a b/", "hunter2@a"} {
		_, err := Parse([]byte("url: "+value+"\n"), "f.yaml", least(), nil)
		require.Error(t, err)
		assert.NotContains(t, err.Error(), "hunter2")
	}
}

func TestNothingGiven(t *testing.T) {
	_, err := Parse(nil, "", nil, nil)
	assert.EqualError(t, err,
		"service: is not given; allowed: --service, input service, environment variable GRAY_SERVICE, or key service in the config file\n"+
			"image: is not given (nor is manifest); allowed: --image, input image, environment variable GRAY_IMAGE, or key image in the config file")
}

func TestManifestInsteadOfImage(t *testing.T) {
	c, err := Parse(nil, "", flags("service", "cart", "manifest", "pod.yaml"), nil)
	require.NoError(t, err)
	assert.Equal(t, "pod.yaml", c.Manifest)
	for _, key := range []string{"gray-args", "production-args", "container"} {
		_, err = Parse(nil, "", flags("service", "cart", "manifest", "pod.yaml", key, "x"), nil)
		assert.ErrorContains(t, err, "is given together with manifest, which is the whole pod template", key)
	}
	for _, key := range []string{"gray-env", "production-env"} {
		_, err = Parse(nil, "", flags("service", "cart", "manifest", "pod.yaml", key, "A=hunter2"), nil)
		require.ErrorContains(t, err, "is given together with manifest, which is the whole pod template", key)
		assert.NotContains(t, err.Error(), "hunter2")
	}
}

// TestFaults holds the whole text for whole files: every fault at once, with its place, and nothing secret.
func TestFaults(t *testing.T) {
	files, err := filepath.Glob("testdata/faults/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, name := range files {
		file, err := os.ReadFile(name)
		require.NoError(t, err)
		_, err = Parse(file, filepath.Base(name), nil, lookup(map[string]string{"WITH_BREAK": "not-to-be-shown\n"}))
		require.Error(t, err)
		assert.NotContains(t, err.Error(), "not-to-be-shown", name)
		assert.NotContains(t, err.Error(), "not to be shown", name)
		golden.Equal(t, "faults/"+strings.TrimSuffix(filepath.Base(name), ".yaml")+".txt", []byte(err.Error()+"\n"))
	}
}

func TestAFileInOneLineIsNotShown(t *testing.T) {
	_, err := Parse([]byte(`{"service": "cart", "image": "cart:1", "gray-env": {"TOKEN": "hunter2"}, "steps": [0]}`), "f.json", nil, nil)
	require.ErrorContains(t, err, `f.json:1:`)
	assert.NotContains(t, err.Error(), "hunter2")
}

func TestParseTarget(t *testing.T) {
	file := []byte("accounts:\n  - name: a\n    headers: {X: \"${NOT_SET}\"}\nchecks:\n  - nonsense\ndrain: 20s\n")
	c, err := ParseTarget(file, "f.yaml", flags("service", "cart"))
	require.NoError(t, err)
	assert.Equal(t, 20*time.Second, c.Drain)
	assert.Empty(t, c.Accounts)
	_, err = ParseTarget(nil, "", nil)
	assert.ErrorContains(t, err, "service: is not given")
}

func TestKeysHaveNamesForEveryHost(t *testing.T) {
	k := Key{Name: "step-duration"}
	assert.Equal(t, "GRAY_STEP_DURATION", k.Env())
	assert.Equal(t, "INPUT_STEP-DURATION", k.ActionEnv())
	assert.Contains(t, Table(), "| `service` (required) | name |  | Service whose pods are upgraded. |\n")
	for _, k := range Keys {
		assert.NotContains(t, k.Description+k.Type+k.Default, "|", "%s: a table is made of it", k.Name)
		assert.NotContains(t, k.Description, "\n", k.Name)
	}
}

func TestWhatIsNestedWithoutEndIsRefusedAtOnce(t *testing.T) {
	for _, text := range []string{strings.Repeat("[", 900_000), "a: " + strings.Repeat("{a: ", 200_000), strings.Repeat("- ", 300_000)} {
		_, err := Parse([]byte(text), "f.yaml", least(), nil)
		assert.ErrorContains(t, err, "f.yaml:1:1: is nested too deeply; allowed: at most 100 lists and maps in one another")
		_, err = Parse(nil, "", least("thresholds", text), nil)
		assert.ErrorContains(t, err, "is nested too deeply")
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/faults/*.yaml")
	require.NoError(f, err)
	for _, name := range files {
		text, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(text)
	}
	f.Add([]byte("\"a\\n::error::b\": 1\n\"\\x1b[2J\\0\": {\"x\\r\": \xff}\nsteps: \"%0A::add-mask::\\u202e\""))
	f.Add([]byte(strings.Repeat("[", 1000)))
	f.Add([]byte(strings.Repeat("x", 1000) + ": 1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse(text, "f.yaml", nil, nil)
		if err == nil && c.Service == "" {
			t.Error("no service and no fault")
		}
		tells(t, err)
		_, err = Parse(nil, "", flags("service", "a", "image", "b:1", "thresholds", string(text), "gray-args", string(text), "gray-env", string(text), "steps", string(text), "confirm", string(text), "gateway-pods", string(text)), nil)
		tells(t, err)
	})
}

// tells holds what every fault must be, whatever it is about: one short printable line and its snippet.
func tells(t *testing.T, err error) {
	t.Helper()
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return
	}
	for _, e := range joined.Unwrap() {
		f, ok := errors.AsType[*Fault](e)
		require.True(t, ok)
		said, snippet := *f, strings.Split(f.Snippet, "\n")
		said.Snippet = ""
		for _, line := range append(snippet, said.Error()) {
			assert.True(t, utf8.ValidString(line), "%q", line)
			assert.Less(t, len(line), 4000, "%q", line)
			for _, r := range line {
				assert.True(t, r == '\uFFFD' || strconv.IsPrint(r), "%q in %q", r, line)
			}
			assert.False(t, strings.HasPrefix(strings.TrimSpace(line), "::"), "%q", line)
		}
	}
}
