// Package ecs stands in for Traefik's Amazon ECS provider, whose SDK is a fifth of the build.
package ecs

import (
	"errors"

	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/safe"
)

// ProviderName is the name Traefik's list of providers has for it.
const ProviderName = "ecs"

// Provider cannot be used.
type Provider struct{}

// Init says so.
func (*Provider) Init() error { return errors.New("the ECS provider is not in this build") }

// Provide provides nothing.
func (*Provider) Provide(chan<- dynamic.Message, *safe.Pool) error { return nil }
