#!/bin/sh
# Puts the prometheus of Debian's package at the path it is given: unpacked, not installed, because the package would start it
# as a service.
set -eu
if have=$(command -v prometheus); then
	exec cp "$have" "$1"
fi
out=$(realpath "$1")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get download prometheus || { apt-get update && apt-get download prometheus; }
dpkg-deb --fsys-tarfile ./*.deb | tar -xO ./usr/bin/prometheus >"$out"
chmod 755 "$out"
