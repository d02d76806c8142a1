package metrics

import (
	"context"

	"github.com/rs/zerolog/log"

	otypes "github.com/traefik/traefik/v3/pkg/observability/types"
)

// RegisterInfluxDB2 registers nothing: InfluxDB is not in this build.
func RegisterInfluxDB2(context.Context, *otypes.InfluxDB2) Registry {
	log.Error().Msg("InfluxDB is not in this build")
	return nil
}

// StopInfluxDB2 has nothing to stop.
func StopInfluxDB2() {}
