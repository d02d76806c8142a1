#!/bin/sh
# Builds Traefik from the Go module proxy alone: build.sh [OUT], OUT relative to the caller's folder.
#
# Two modules are copied into link/ (not committed), because go build refuses an overlay on files that
# lie in the module cache. link.sum checks what is copied; go.sum checks everything else.
set -eu
out=${1:-traefik}
case $out in
/*) ;;
*) out=$PWD/$out ;;
esac
cd "$(dirname "$0")"
export GOWORK=off GOFLAGS=

# copy MODULE NAME makes link/NAME a fresh copy of MODULE, unless it is one already.
copy() {
	dir=$(go list -modfile=link.mod -m -f '{{.Dir}}' "$1")
	version=$(go list -modfile=link.mod -m -f '{{.Version}}' "$1")
	if [ "$(cat "link/$2.version" 2>/dev/null)" = "$version" ]; then
		return
	fi
	rm -rf "link/$2" "link/$2.version"
	cp -r "$dir" "link/$2"
	chmod -R u+w "link/$2"
	echo "$version" >"link/$2.version"
}

mkdir -p link "$(dirname "$out")"
go mod download -modfile=link.mod
copy github.com/traefik/traefik/v3 traefik
copy github.com/go-acme/lego/v5 lego
CGO_ENABLED=0 go build -overlay overlay.json -trimpath \
	-ldflags "-s -w -X github.com/traefik/traefik/v3/pkg/version.Version=3.7.13" \
	-o "$out" github.com/traefik/traefik/v3/cmd/traefik
