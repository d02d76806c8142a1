package cluster

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDiff holds in both directions for every pair: the patch leads there and its inverse back.
func TestDiff(t *testing.T) {
	documents := []string{
		`{}`,
		`{"a":1}`,
		`{"a":2,"b":{"c":"x"}}`,
		`{"b":{"c":"y","d":null}}`,
		`{"a":[1,2,3]}`,
		`{"a":[1,2]}`,
		`{"a":[]}`,
		`{"a":[{"name":"web","env":[{"name":"A"}]},{"name":"b"}]}`,
		`{"a":[{"name":"web","env":[{"name":"A","value":""},{"name":"B"}]}]}`,
		`{"x/y~z":{"k/":1}}`,
		`{"x/y~z":{"k/":2},"u":9007199254740993}`,
	}
	for _, from := range documents {
		for _, to := range documents {
			var f, want any
			require.NoError(t, json.Unmarshal([]byte(from), &f))
			f, err := tree(json.RawMessage(from))
			require.NoError(t, err)
			want, err = tree(json.RawMessage(to))
			require.NoError(t, err)
			ops := diff("", f, want)
			var got json.RawMessage
			require.NoError(t, apply(json.RawMessage(from), ops, &got), "%s to %s: %v", from, to, ops)
			assert.JSONEq(t, to, string(got), "%s to %s: %v", from, to, ops)
			if from == to {
				assert.Empty(t, ops)
			}
		}
	}
}

func TestDiffIsSmall(t *testing.T) {
	from, err := tree(json.RawMessage(`{"containers":[{"name":"web","args":["a"],"env":[{"name":"SECRET","value":"s"}],"image":"web:v1"}]}`))
	require.NoError(t, err)
	to, err := tree(json.RawMessage(`{"containers":[{"name":"web","args":["a","b"],"env":[{"name":"SECRET","value":"s"},{"name":"M","value":"p"}],"image":"web:v2"}]}`))
	require.NoError(t, err)
	back, err := json.Marshal(diff("/spec", to, from))
	require.NoError(t, err)
	assert.JSONEq(t, `[
		{"op":"remove","path":"/spec/containers/0/args/1"},
		{"op":"remove","path":"/spec/containers/0/env/1"},
		{"op":"replace","path":"/spec/containers/0/image","value":"web:v1"}
	]`, string(back), "the way back holds no value that did not change")
}

func TestApplyRefuses(t *testing.T) {
	for _, op := range []Op{
		{Op: "remove", Path: "/a/3"},
		{Op: "replace", Path: "/a/x", Value: 1},
		{Op: "add", Path: "/a/9", Value: 1},
		{Op: "add", Path: "/b/c/d", Value: 1},
	} {
		var got any
		assert.Error(t, apply(json.RawMessage(`{"a":[1,2],"b":1}`), []Op{op}, &got), op.Path)
	}
}
