package cluster

import "strings"

// reference is an image reference in its parts, as written: registry/repository[:tag][@digest].
type reference struct {
	repo   string
	tag    string
	digest string // sha256:...
}

func parseReference(image string) reference {
	var r reference
	image, r.digest, _ = strings.Cut(image, "@")
	slash := strings.LastIndex(image, "/")
	if colon := strings.LastIndex(image, ":"); colon > slash {
		image, r.tag = image[:colon], image[colon+1:]
	}
	r.repo = image
	return r
}

// canonical is the repository with the parts that may be left out: nginx is docker.io/library/nginx.
func (r reference) canonical() string {
	host, path, found := strings.Cut(r.repo, "/")
	switch {
	case !found:
		return "docker.io/library/" + r.repo
	case host == "index.docker.io":
		return "docker.io/" + path
	case host != "localhost" && !strings.ContainsAny(host, ".:"):
		return "docker.io/" + r.repo
	}
	return r.repo
}

func (r reference) sameRepository(other reference) bool { return r.canonical() == other.canonical() }

// pinned is the reference with the digest written behind the tag; one that has a digest, or none to get, stays as
// written.
func pinned(image, digest string) string {
	if image == "" || digest == "" || parseReference(image).digest != "" {
		return image
	}
	return image + "@" + digest
}

// imageDigest reads the digest from a container status: repo@sha256:..., docker-pullable://repo@sha256:... .
// pullable is false for a bare image ID, which is no manifest digest and cannot be pulled.
func imageDigest(imageID string) (repo reference, digest string, pullable bool) {
	if _, rest, found := strings.Cut(imageID, "://"); found {
		imageID = rest
	}
	if r := parseReference(imageID); r.digest != "" {
		return r, r.digest, true
	}
	return reference{}, imageID, false
}
