package config

import (
	"fmt"
	"strings"
	"time"
)

// Key is one input: a flag, an input of the GitHub action, an environment variable, a param of the Tekton Task and a key
// of the config file, all under one name.
type Key struct {
	Name        string // as flag, input, param and key of the file
	Type        string // what a value looks like, in words; TypeBoolean marks a switch
	Default     string // as a person would write it; "" where there is none, or where it is found out (see Description)
	Description string // one line of plain text
	Required    bool   // must be given, wherever it is given
	Secret      bool   // values are never printed
	NotInFile   bool   // makes no sense as a key of the config file

	set func(p *parser, v value)
}

// TypeBoolean is the Type of switches.
const TypeBoolean = "true or false"

// Env is the environment variable of the key: GRAY_STEP_DURATION.
func (k Key) Env() string { return "GRAY_" + strings.ToUpper(strings.ReplaceAll(k.Name, "-", "_")) }

// ActionEnv is the variable in which the GitHub runner hands the input over: INPUT_STEP-DURATION (hyphens stay).
func (k Key) ActionEnv() string { return "INPUT_" + strings.ToUpper(k.Name) }

// Keys is every input, in the order in which people read them. Flags, action.yml, the Tekton Task and the table in the
// README are made from it or tested against it.
var Keys = []Key{
	{Name: "image", Type: "image reference", set: (*parser).image,
		Description: "Image to upgrade to, with a tag, a digest or both. Required unless manifest is given."},
	{Name: "service", Type: "name", Required: true, set: text(func(c *Config) *string { return &c.Service }, dnsLabel),
		Description: "Service whose pods are upgraded."},
	{Name: "namespace", Type: "name", set: text(func(c *Config) *string { return &c.Namespace }, dnsLabel),
		Description: "Namespace of the Service. Default: that of the kubeconfig's context, or of the pod."},
	{Name: "deployment", Type: "name", set: text(func(c *Config) *string { return &c.Deployment }, dnsName),
		Description: "Deployment behind the Service. Default: the one whose pods the Service selects."},
	{Name: "container", Type: "name", set: text(func(c *Config) *string { return &c.Container }, dnsLabel),
		Description: "Container that gets the image. Default: every container whose image comes from the same repository."},
	{Name: "manifest", Type: "file", set: text(func(c *Config) *string { return &c.Manifest }, printable),
		Description: "File with a whole pod template (kind Deployment or PodTemplate), instead of image and parameters."},

	{Name: "gateway", Type: "httproute/NAME", set: (*parser).gateway,
		Description: "Route that leads to the Service. Default: the one HTTPRoute that does."},
	{Name: "gateway-pods", Type: "NAMESPACE/SELECTOR[:PORT]", set: (*parser).gatewayPods,
		Description: "Pods of the gateway whose metrics are read, for example gateway/app.kubernetes.io/name=traefik:9100. Default: discovered."},
	{Name: "url", Type: "URL", set: (*parser).url,
		Description: "Base URL of the service at the gateway, for probes, for example http://shop.example.com."},
	{Name: "side-header", Type: "header name", set: text(func(c *Config) *string { return &c.SideHeader }, headerName),
		Description: "Response header that tells gray and production apart. Default: our own, set on gray's backend in the route."},
	{Name: "confirm", Type: "required or wait=DURATION", Default: "required", set: (*parser).confirm,
		Description: "What a weight needs to count as served: the gateway's own word, or, where it cannot be asked, a wait."},
	{Name: "bypass", Type: "refuse or warn", Default: "refuse", set: policy(func(c *Config) *Policy { return &c.Bypass }),
		Description: "What to do when calls reach production past the gateway."},

	{Name: "steps", Type: "weights in percent", Default: "5,20,50", set: (*parser).steps,
		Description: "Weights of gray on the way up, rising, before gray and production are in balance."},
	{Name: "step-duration", Type: "duration", Default: "60s",
		set:         duration(func(c *Config) *time.Duration { return &c.StepDuration }, 0, 24*time.Hour),
		Description: "How long each weight is watched at least."},
	{Name: "step-timeout", Type: "duration", Default: "0s",
		set:         duration(func(c *Config) *time.Duration { return &c.StepTimeout }, 0, 24*time.Hour),
		Description: "How long a weight is watched at most while there is not enough evidence. 0s: four times step-duration, and a minute."},
	{Name: "return-steps", Type: "weights in percent", Default: "50,0", set: (*parser).returnSteps,
		Description: "Weights of gray on the way back, after production runs the new image, falling to 0."},
	{Name: "gray-replicas", Type: "number", Default: "0", set: (*parser).grayReplicas,
		Description: "Gray pods to start with. 0: a tenth of production, at least 1."},
	{Name: "gray-args", Type: "words or YAML list", Secret: true, set: args(func(c *Config) *Parameters { return &c.Gray }),
		Description: "Arguments that put the image in gray mode, appended to the container's args."},
	{Name: "gray-env", Type: "NAME=VALUE, by lines or commas", Secret: true, set: env(func(c *Config) *Parameters { return &c.Gray }),
		Description: "Environment that puts the image in gray mode."},
	{Name: "production-args", Type: "words or YAML list", Secret: true, set: args(func(c *Config) *Parameters { return &c.Production }),
		Description: "Arguments for the image in production mode, appended to the container's args."},
	{Name: "production-env", Type: "NAME=VALUE, by lines or commas", Secret: true, set: env(func(c *Config) *Parameters { return &c.Production }),
		Description: "Environment for the image in production mode."},
	{Name: "thresholds", Type: "YAML map",
		Default: "{error-percent: 0.2, p99-ms: 0, memory-ratio: 2, cpu-ratio: 2, new-error-logs: 0, restarts: 0, min-requests: 50, false-alarm-percent: 1}",
		set:     (*parser).thresholds,
		Description: "Limits of the verdict, gray against production. Those left out keep their default. " +
			"p99-ms 0: twice production's and 100 ms above it. false-alarm-percent: how many of 100 good upgrades chance may blame, by errors, slow answers and log lines while both sides have users."},
	{Name: "prometheus-url", Type: "URL", set: (*parser).prometheusURL,
		Description: "Base URL of a Prometheus that is asked about both sides, for example http://prometheus.example.com:9090. A token for it goes into the environment variable GRAY_PROMETHEUS_TOKEN."},
	{Name: "prometheus-preset", Type: "traefik, ingress-nginx, istio, envoy-gateway or linkerd", set: (*parser).preset,
		Description: "Gateway whose error share and p99 are asked of that Prometheus. Default: none, only the queries of the config file."},
	{Name: "loki-url", Type: "URL", set: (*parser).lokiURL,
		Description: "Base URL of a Loki whose lines are read instead of the pods' own logs, for example http://loki.example.com:3100. A token goes into the environment variable GRAY_LOKI_TOKEN, a tenant into GRAY_LOKI_TENANT."},
	{Name: "loki-query", Type: "LogQL selector", Default: StandardLokiQuery, set: (*parser).lokiQuery,
		Description: "What finds the lines of one side in that Loki, with placeholders as in queries. Each line must have a label pod, and should have one container."},
	{Name: "gitops", Type: "refuse or warn", Default: "refuse", set: policy(func(c *Config) *Policy { return &c.GitOps }),
		Description: "What to do when Argo CD or Flux own the objects and would revert the upgrade."},
	{Name: "ignore-hold", Type: "reason", set: text(func(c *Config) *string { return &c.IgnoreHold }, reason),
		Description: "Run an image that is on hold once; the reason is recorded."},
	{Name: "offline-test", Type: "required or rerun-accepts", Default: "required", set: (*parser).offlineTest,
		Description: "What an image on hold needs to try again: a recorded pass of an offline test, or that a person reruns the failed job (GitHub's rerun)."},
	{Name: "offline-test-job", Type: "file", set: text(func(c *Config) *string { return &c.OfflineTestJob }, printable),
		Description: "File with a Job (batch/v1) that offline-test run starts against gray, whose address it finds in GRAY_TEST_URL. Exit code 0 is a pass."},
	{Name: "close-floor", Type: "percent", Default: "50", set: (*parser).closeFloor,
		Description: "Share of production's pods that must be ready to send all users back to production."},
	{Name: "drain", Type: "duration", Default: "10s",
		set:         duration(func(c *Config) *time.Duration { return &c.Drain }, 0, time.Hour),
		Description: "How long a side must have served nothing before its pods are stopped."},
	{Name: "timeout", Type: "duration", Default: "30m",
		set:         duration(func(c *Config) *time.Duration { return &c.Timeout }, time.Second, 24*time.Hour),
		Description: "Longest time for the whole upgrade; then it is closed."},
	{Name: "close-timeout", Type: "duration", Default: "5m",
		set:         duration(func(c *Config) *time.Duration { return &c.CloseTimeout }, time.Second, time.Hour),
		Description: "Longest time for closing: users back on production, gray gone."},
	{Name: "pod-timeout", Type: "duration", Default: "3m",
		set:         duration(func(c *Config) *time.Duration { return &c.PodTimeout }, time.Second, time.Hour),
		Description: "Longest time for a pod to become ready."},

	{Name: "watchdog", Type: "auto, required or off", Default: "auto", set: (*parser).watchdog,
		Description: "A Job in the cluster that closes when the runner is lost. auto: where its image, ServiceAccount and permissions are there."},
	{Name: "watchdog-after", Type: "duration", Default: "30s",
		set:         duration(func(c *Config) *time.Duration { return &c.WatchdogAfter }, 10*time.Second, 10*time.Minute),
		Description: "How long the runner must not have been heard of before the watchdog closes."},
	{Name: "watchdog-image", Type: "image reference", set: (*parser).watchdogImage,
		Description: "Image of gray-upgrade itself, for the watchdog. Default: the one that the Tekton Task runs, or the environment variable GRAY_UPGRADE_IMAGE."},

	{Name: "pod-access", Type: "port-forward or direct", Default: "port-forward", set: (*parser).podAccess,
		Description: "Way to gray's and the gateway's pods. direct: by their IP addresses, for a runner that reaches them; no network policy and no mesh may stand between."},
	{Name: "kubeconfig", Type: "file", set: text(func(c *Config) *string { return &c.Kubeconfig }, printable),
		Description: "Kubeconfig. Default: KUBECONFIG, ~/.kube/config, or the pod's ServiceAccount, what is there first."},
	{Name: "context", Type: "name", set: text(func(c *Config) *string { return &c.Context }, printable),
		Description: "Context of the kubeconfig. Default: its current one."},
	{Name: "config", Type: "file", NotInFile: true, set: func(*parser, value) {},
		Description: "File with any of these inputs as keys, and with test accounts, checks and queries."},
	{Name: "dry-run", Type: TypeBoolean, Default: "false", set: (*parser).dryRun,
		Description: "Check everything, print the plan, change nothing."},
	{Name: "evidence", Type: "folder", Default: "gray-upgrade-evidence",
		set:         text(func(c *Config) *string { return &c.Evidence }, printable),
		Description: "Folder that gets a folder for each upgrade: every sample and decision as JSON lines, the report, and what gray logged."},
}

// Table is Keys as a Markdown table, for the README.
func Table() string {
	var b strings.Builder
	b.WriteString("| input | value | default | what it is |\n|---|---|---|---|\n")
	for _, k := range Keys {
		name := "`" + k.Name + "`"
		if k.Required {
			name += " (required)"
		}
		standard := ""
		if k.Default != "" {
			standard = "`" + k.Default + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, k.Type, standard, k.Description)
	}
	return b.String()
}
