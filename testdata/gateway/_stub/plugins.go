// Package plugins keeps Traefik's plugin settings and leaves out the two interpreters that would run one.
package plugins

import (
	"context"
	"errors"
	"net/http"

	"github.com/traefik/traefik/v3/pkg/provider"
)

var errNoPlugins = errors.New("plugins are not in this build")

// Constructor makes a middleware.
type Constructor func(context.Context, http.Handler) (http.Handler, error)

// Builder builds nothing.
type Builder struct{}

// NewBuilder fails when a plugin is asked for.
func NewBuilder(_ *Manager, remote map[string]Descriptor, local map[string]LocalDescriptor) (*Builder, error) {
	if len(remote)+len(local) > 0 {
		return nil, errNoPlugins
	}
	return &Builder{}, nil
}

// Build always fails.
func (Builder) Build(string, map[string]any, string) (Constructor, error) { return nil, errNoPlugins }

// BuildProvider always fails.
func (Builder) BuildProvider(string, map[string]any) (provider.Provider, error) {
	return nil, errNoPlugins
}
