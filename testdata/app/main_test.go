package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestReadSettings(t *testing.T) {
	tests := []struct {
		name  string
		args  string
		env   map[string]string
		check func(settings) bool
		err   string
	}{
		{name: "defaults", check: func(s settings) bool {
			return s.role == "web" && s.mode == "production" && s.nameVersion && s.access && s.work == 2*time.Millisecond
		}},
		{name: "variables", env: map[string]string{"ROLE": "cart", "MODE": "gray", "APP_VERSION": "v2", "NAME_VERSION": "false"},
			check: func(s settings) bool {
				return s.role == "cart" && s.mode == "gray" && s.version == "v2" && !s.nameVersion
			}},
		{name: "a flag wins", args: "--mode=production", env: map[string]string{"MODE": "gray"},
			check: func(s settings) bool { return s.mode == "production" }},
		{name: "the last flag wins", args: "--mode=production --mode=gray", check: func(s settings) bool { return s.mode == "gray" }},
		{name: "an empty variable is none", env: map[string]string{"ROLE": ""}, check: func(s settings) bool { return s.role == "web" }},
		{name: "faults", env: map[string]string{"APP_FAULTS": `{"errorShare":1}`}, check: func(s settings) bool { return s.faults != "" }},
		{name: "role", args: "--role=shop", err: "must be web, cart or test"},
		{name: "a test of nothing", args: "--role=test", err: "needs --gray-test-url"},
		{name: "mode", args: "--mode=grey", err: "must be production or gray"},
		{name: "rest", args: "now", err: `unexpected argument "now"`},
		{name: "bad variable", env: map[string]string{"WORK": "slow"}, err: "environment variable WORK"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := readSettings(strings.Fields(tt.args), func(k string) (string, bool) { v, ok := tt.env[k]; return v, ok })
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				return
			}
			require.NoError(t, err)
			require.True(t, tt.check(s), "%+v", s)
		})
	}
}
