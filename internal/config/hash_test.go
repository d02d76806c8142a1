package config

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const accountFile = `
accounts:
  - name: tester
    headers:
      Authorization: Bearer ${TOKEN}
      X-Plain: "true"
    cookies:
      session: ${SESSION}
`

func TestSecrets(t *testing.T) {
	env := lookup(map[string]string{"TOKEN": "t0k", "SESSION": "abc"})
	c, err := Parse([]byte(accountFile), "f.yaml", least("gray-env", "DB_PASSWORD=p1,MODE=gray", "production-env", "API_TOKEN=p2,EMPTY_TOKEN="), env)
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"Authorization": "Bearer t0k", "X-Plain": "true"}, c.Accounts[0].Headers)
	assert.Equal(t, map[string]string{"session": "abc"}, c.Accounts[0].Cookies)
	assert.ElementsMatch(t, []string{"t0k", "Bearer t0k", "abc", "p1", "p2"}, c.Secrets())
}

func TestHash(t *testing.T) {
	parse := func(token string, kv ...string) Config {
		env := lookup(map[string]string{"TOKEN": token, "SESSION": "abc"})
		c, err := Parse([]byte(accountFile), "f.yaml", least(kv...), env)
		require.NoError(t, err)
		return c
	}
	base := parse("one")
	assert.Regexp(t, "^[0-9a-f]{32}$", base.Hash())
	for _, same := range []Config{
		base,
		parse("two"),
		parse("one", "kubeconfig", "/x", "context", "c", "evidence", "e", "ignore-hold", "r", "dry-run", "true", "steps", "5,20,50"),
		parse("one", "watchdog", "off", "watchdog-after", "1m", "watchdog-image", "own:1"),
	} {
		assert.Equal(t, base.Hash(), same.Hash())
	}
	seen := map[string]string{base.Hash(): "base"}
	for _, kv := range [][]string{
		{"image", "shop/cart:3"}, {"steps", "5"}, {"gray-env", "A=1"}, {"gray-env", "A=2"}, {"production-env", "A=1"},
		{"thresholds", "{restarts: 1}"}, {"gateway", "httproute/a"}, {"drain", "11s"},
	} {
		h := parse("one", kv...).Hash()
		assert.Empty(t, seen[h], "%v", kv)
		seen[h] = kv[0]
	}
	assert.Len(t, base.Accounts, 1)
	assert.Equal(t, "Bearer one", base.Accounts[0].Headers["Authorization"], "a hash changes nothing")
}
