// Package ext stands in for the empty extension point that Traefik's own go.mod replaces by a local folder.
package ext

// HTTP extends no HTTP configuration.
type HTTP struct{}

// Router extends no router.
type Router struct{}
