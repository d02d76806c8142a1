package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
)

// hide adds a value to the secrets.
func (c *Config) hide(secret string) {
	if secret != "" && !slices.Contains(c.secrets, secret) {
		c.secrets = append(c.secrets, secret)
	}
}

// secretWords mark an environment variable whose value is taken for a secret.
var secretWords = []string{"PASSWORD", "PASSWD", "SECRET", "TOKEN", "CREDENTIAL", "PRIVATE", "APIKEY", "API_KEY", "ACCESS_KEY"}

// Secrets returns the values to mask before anything is printed: what came from the environment into test accounts,
// the tokens for Prometheus and Loki, and gray and production variables whose name says that they are secret. Values written out in
// the config file are not among them: they are not secret there, and masking a word like "true" would make the log
// unreadable.
func (c Config) Secrets() []string {
	out := slices.Clone(c.secrets)
	for _, e := range slices.Concat(c.Gray.Env, c.Production.Env) {
		name := strings.ToUpper(e.Name)
		if e.Value != "" && !slices.Contains(out, e.Value) && slices.ContainsFunc(secretWords, func(w string) bool { return strings.Contains(name, w) }) {
			out = append(out, e.Value)
		}
	}
	return out
}

// Hash says in 32 hexadecimal digits what was asked for: two runs with the same hash want the same thing. How the run
// reaches the cluster, Prometheus and Loki, where its evidence goes, the reason for ignoring a hold, the offline test, the watchdog
// and the values of test accounts are left out. The content of the manifest is not in it, only its name: Config knows no more.
func (c Config) Hash() string {
	c.Kubeconfig, c.Context, c.Reach, c.Evidence, c.IgnoreHold, c.DryRun, c.secrets = "", "", "", "", "", false, nil
	c.OfflineTest, c.OfflineTestJob = "", ""
	c.PrometheusURL, c.PrometheusToken = "", ""
	c.LokiURL, c.LokiToken, c.LokiTenant = "", "", ""
	c.Watchdog, c.WatchdogAfter, c.WatchdogImage = "", 0, ""
	accounts := make([]Account, 0, len(c.Accounts))
	for _, a := range c.Accounts {
		accounts = append(accounts, Account{Name: a.Name, Headers: namesOnly(a.Headers), Cookies: namesOnly(a.Cookies)})
	}
	c.Accounts = accounts
	text, err := json.Marshal(c)
	if err != nil {
		panic(err) // plain values only: a field that JSON cannot hold is a mistake of the program
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

func namesOnly(values map[string]string) map[string]string {
	out := map[string]string{}
	for name := range values {
		out[name] = ""
	}
	return out
}
