module github.com/gray-upgrade/gray-upgrade/testdata/gateway/link

go 1.26.0

require (
	github.com/go-acme/lego/v5 v5.4.1
	github.com/traefik/traefik/v3 v3.7.13
)
