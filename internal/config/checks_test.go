package config

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestChecks(t *testing.T) {
	c, err := Parse([]byte(`
service: cart
image: shop/cart:2
gray-args: [--mode, gray, "-n", 5]
gray-env: {MODE: gray, COUNT: 010, ON: yes, NONE: }
production-env:
  - MODE=production
accounts:
  - name: tester
    headers: {X-Account: "7"}
checks:
  - name: least
    path: /healthz
  - name: most
    account: tester
    method: POST
    path: /account?details=1
    headers: {Content-Type: application/json}
    body: |
      {"a": 1}
    status: 201
    expect-headers: {Content-Type: application/json}
    json-path: $.account
    equals: gray-1
    text: account
    within: 2s
    side: both
    port: 8080
  - name: again
    path: /cart
    method: HEAD
    repeat: true
`), "f.yaml", nil, nil)
	require.NoError(t, err)
	assert.Equal(t, []Check{
		{Name: "least", Method: "GET", Path: "/healthz", Status: 200, Within: 5 * time.Second, Side: "gray"},
		{Name: "most", Account: "tester", Method: "POST", Path: "/account?details=1", Headers: map[string]string{"Content-Type": "application/json"},
			Body: "{\"a\": 1}\n", Status: 201, Header: map[string]string{"Content-Type": "application/json"}, JSONPath: "$.account", Equals: "gray-1",
			Text: "account", Within: 2 * time.Second, Side: "both", Port: 8080},
		{Name: "again", Method: "HEAD", Path: "/cart", Status: 200, Within: 5 * time.Second, Side: "gray", Repeat: true},
	}, c.Checks)
	assert.Equal(t, []string{"--mode", "gray", "-n", "5"}, c.Gray.Args)
	assert.Equal(t, []EnvVar{{"MODE", "gray"}, {"COUNT", "010"}, {"ON", "yes"}, {"NONE", ""}}, c.Gray.Env)
	assert.Equal(t, []EnvVar{{"MODE", "production"}}, c.Production.Env)
	assert.Empty(t, c.Secrets(), "written out in the file: not secret")
}
