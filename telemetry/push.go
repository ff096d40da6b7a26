package telemetry

import (
	"context"
	"errors"
	"sync"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// pusher exports what one reader collects to every exporter, at an interval. All share the reader that scrapes use: with a
// periodic reader each, every measurement would be aggregated once more for each of them, on the request path.
type pusher struct {
	reader    sdkmetric.Reader
	exporters []sdkmetric.Exporter
	timeout   time.Duration // of one round
	quit      chan struct{}
	done      chan struct{}
}

func newPusher(reader sdkmetric.Reader, exporters []sdkmetric.Exporter, interval, timeout time.Duration) *pusher {
	p := &pusher{reader: reader, exporters: exporters, timeout: timeout, quit: make(chan struct{}), done: make(chan struct{})}
	go p.run(interval)
	return p
}

func (p *pusher) run(interval time.Duration) {
	defer close(p.done)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-p.quit: // an export under way must not hold up the end
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		select {
		case <-tick.C:
			p.push(ctx)
		case <-p.quit:
			return
		}
	}
}

// push collects once and exports to all at the same time. Exporters keep their own errors.
func (p *pusher) push(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	var rm metricdata.ResourceMetrics
	if err := p.reader.Collect(ctx, &rm); err != nil && len(rm.ScopeMetrics) == 0 {
		return // the reader is shut down, or the time is over; the next round has it all
	}
	var all sync.WaitGroup
	for _, e := range p.exporters {
		all.Go(func() { _ = e.Export(ctx, &rm) })
	}
	all.Wait()
}

// shutdown exports once more and ends the exporters.
func (p *pusher) shutdown(ctx context.Context) error {
	close(p.quit)
	<-p.done
	p.push(ctx)
	errs := make([]error, len(p.exporters))
	for i, e := range p.exporters {
		errs[i] = e.Shutdown(ctx)
	}
	return errors.Join(errs...)
}
