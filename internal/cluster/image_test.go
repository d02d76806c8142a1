package cluster

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestParseReference(t *testing.T) {
	for image, want := range map[string]reference{
		"nginx":                         {repo: "nginx"},
		"nginx:1.2":                     {repo: "nginx", tag: "1.2"},
		"127.0.0.1:5000/shop/app:v1":    {repo: "127.0.0.1:5000/shop/app", tag: "v1"},
		"127.0.0.1:5000/shop/app":       {repo: "127.0.0.1:5000/shop/app"},
		"r.io/app:v1@sha256:ab":         {repo: "r.io/app", tag: "v1", digest: "sha256:ab"},
		"r.io/app@sha256:ab":            {repo: "r.io/app", digest: "sha256:ab"},
		"localhost/app:v1":              {repo: "localhost/app", tag: "v1"},
		"registry:5000/app@sha256:0123": {repo: "registry:5000/app", digest: "sha256:0123"},
	} {
		assert.Equal(t, want, parseReference(image), image)
	}
}

func TestSameRepository(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"nginx:1", "nginx:2", true},
		{"nginx", "docker.io/library/nginx@sha256:ab", true},
		{"index.docker.io/library/nginx", "nginx", true},
		{"team/app", "docker.io/team/app:v1", true},
		{"r.io/team/app", "team/app", false},
		{"r.io:5000/app", "r.io/app", false},
		{"localhost/app", "app", false},
		{"r.io/app", "r.io/app2", false},
	} {
		assert.Equal(t, c.same, parseReference(c.a).sameRepository(parseReference(c.b)), "%s and %s", c.a, c.b)
	}
}

func TestPinned(t *testing.T) {
	assert.Equal(t, "r.io/app:v1@sha256:ab", pinned("r.io/app:v1", "sha256:ab"))
	assert.Equal(t, "r.io/app@sha256:cd", pinned("r.io/app@sha256:cd", "sha256:ab"), "as written")
	assert.Equal(t, "r.io/app:v1", pinned("r.io/app:v1", ""))
	assert.Empty(t, pinned("", "sha256:ab"), "a whole template keeps its images")
}

func TestImageDigest(t *testing.T) {
	for id, want := range map[string]struct {
		digest   string
		pullable bool
	}{
		"r.io/app@sha256:ab":                    {"sha256:ab", true},
		"docker-pullable://r.io/app@sha256:ab":  {"sha256:ab", true},
		"docker.io/library/nginx@sha256:ab":     {"sha256:ab", true},
		"sha256:ab":                             {"sha256:ab", false},
		"docker://sha256:ab":                    {"sha256:ab", false},
		"127.0.0.1:5000/shop/app@sha256:012345": {"sha256:012345", true},
	} {
		_, digest, pullable := imageDigest(id)
		assert.Equal(t, want.digest, digest, id)
		assert.Equal(t, want.pullable, pullable, id)
	}
}

// FuzzParseReference: nothing of a reference is lost, whatever a pod reports as its image.
func FuzzParseReference(f *testing.F) {
	for _, image := range []string{"nginx", "r.io:5000/app:v1@sha256:ab", "docker-pullable://r.io/app@sha256:ab", ":@/", "a@b@c", "::1/app:"} {
		f.Add(image)
	}
	f.Fuzz(func(t *testing.T, image string) {
		r := parseReference(image)
		again := r.repo
		if r.tag != "" || strings.HasPrefix(image, r.repo+":") {
			again += ":" + r.tag
		}
		if r.digest != "" || strings.HasSuffix(image, "@") {
			again += "@" + r.digest
		}
		assert.Equal(t, image, again)
		assert.True(t, r.sameRepository(r))
		_, _, _ = imageDigest(image)
	})
}
