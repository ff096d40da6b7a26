package telemetry

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
)

const (
	scrapeCache    = time.Second // an answer this old is good enough for the next scrape
	scrapesAtATime = 8           // slow readers beyond these get 503
)

// newPrometheus returns a reader for the meter provider and the handler that serves it.
func newPrometheus() (*otelprometheus.Exporter, http.Handler, error) {
	registry := prometheus.NewRegistry()
	reader, err := otelprometheus.New(otelprometheus.WithRegisterer(registry))
	if err != nil {
		return nil, nil, fmt.Errorf("make prometheus reader: %w", err)
	}
	handler := promhttp.HandlerFor(&cachedGatherer{gatherer: registry}, promhttp.HandlerOpts{
		EnableOpenMetrics:   true, // the format that carries exemplars
		MaxRequestsInFlight: scrapesAtATime,
	})
	return reader, handler, nil
}

// cachedGatherer collects at most once a second, however often and from however many places it is scraped.
type cachedGatherer struct {
	gatherer prometheus.Gatherer

	mu       sync.Mutex // held while collecting: the others wait for the same answer
	at       time.Time
	families []*dto.MetricFamily
	err      error
}

// Gather implements prometheus.Gatherer. The families are shared and must not be changed.
func (g *cachedGatherer) Gather() ([]*dto.MetricFamily, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.at.IsZero() || time.Since(g.at) >= scrapeCache {
		g.families, g.err = g.gatherer.Gather()
		g.at = time.Now()
	}
	return g.families, g.err
}
