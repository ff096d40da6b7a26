package telemetry

import (
	"context"
	"fmt"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"google.golang.org/grpc"
)

// outlets are the ends of the configured exporters that the providers feed.
type outlets struct {
	traces, logs []*queue
	workers      []*worker // one for each of those queues
	metrics      []sdkmetric.Exporter
}

// connKey tells connections apart that exporters cannot share.
type connKey struct {
	target, ca, cert, key, compression string
	secure                             bool
}

// newOutlets makes queues, senders and metric exporters. It connects to nothing.
func (t *Telemetry) newOutlets(ctx context.Context) (outlets, error) {
	var outs outlets
	logs := &rateLog{logger: t.config.Logger}
	screen := &console{w: t.config.Console}
	for _, e := range t.config.Exporters {
		for _, signal := range []Signal{Traces, Metrics, Logs} {
			if !e.carries(signal) {
				continue
			}
			to := endpoint{protocol: ProtocolConsole}
			if e.Protocol != ProtocolConsole {
				var err error
				if to, err = e.resolve(signal); err != nil {
					return outs, fmt.Errorf("exporter %q: %w", e.Name, err)
				}
			}
			state := &exporterState{name: e.Name, signal: signal, endpoint: to.String(), protocol: to.protocol, log: logs}
			if err := t.addOutlet(ctx, &outs, e, to, state, screen); err != nil {
				return outs, fmt.Errorf("exporter %q, %s: %w", e.Name, signal, err)
			}
			t.states = append(t.states, state)
		}
	}
	return outs, nil
}

func (t *Telemetry) addOutlet(ctx context.Context, outs *outlets, e Exporter, to endpoint, state *exporterState, screen *console) error {
	if state.signal == Metrics {
		exporter, err := t.metricOutlet(ctx, e, to, screen, true)
		if err != nil {
			return err
		}
		last, err := t.metricOutlet(ctx, e, to, screen, false)
		if err != nil {
			return err
		}
		outs.metrics = append(outs.metrics, metricExporter{
			Exporter: exporter, last: last, closing: &t.closing,
			state: state, delta: t.config.Temporality == "delta",
		})
		return nil
	}
	s, err := t.newSender(e, to, state.signal, screen)
	if err != nil {
		return err
	}
	t.senders = append(t.senders, s)
	form := t.config.SpanBatch
	if state.signal == Logs {
		form = t.config.LogBatch
	}
	state.queue = newQueue(t.config.QueueBytes, form, &state.drops)
	if state.signal == Traces {
		outs.traces = append(outs.traces, state.queue)
	} else {
		outs.logs = append(outs.logs, state.queue)
	}
	outs.workers = append(outs.workers, &worker{
		queue: state.queue, sender: s, timeout: e.Timeout, state: state,
		stop: make(chan struct{}), done: make(chan struct{}),
	})
	return nil
}

func (t *Telemetry) newSender(e Exporter, to endpoint, signal Signal, screen *console) (sender, error) {
	switch to.protocol {
	case ProtocolConsole:
		return &consoleSender{console: screen, signal: signal}, nil
	case ProtocolGRPC:
		conn, err := t.connect(e, to)
		if err != nil {
			return nil, err
		}
		return newGRPCSender(conn, signal, e.Headers), nil
	default:
		client, err := e.httpClient(to)
		if err != nil {
			return nil, err
		}
		return &httpSender{client: client, url: to.target, headers: e.Headers, gzip: e.Compression == "gzip"}, nil
	}
}

func (t *Telemetry) metricOutlet(ctx context.Context, e Exporter, to endpoint, screen *console, retry bool) (sdkmetric.Exporter, error) {
	if to.protocol == ProtocolConsole {
		return consoleMetrics{screen, t.config.temporality()}, nil
	}
	var conn *grpc.ClientConn
	if to.protocol == ProtocolGRPC {
		var err error
		if conn, err = t.connect(e, to); err != nil {
			return nil, err
		}
	}
	return newMetricExporter(ctx, e, to, conn, t.config.temporality(), retry)
}

// connect returns the connection to an end point, one for all signals that may share it.
func (t *Telemetry) connect(e Exporter, to endpoint) (*grpc.ClientConn, error) {
	key := connKey{target: to.target, secure: to.secure, ca: e.CA, cert: e.Cert, key: e.Key, compression: e.Compression}
	if conn := t.conns[key]; conn != nil {
		return conn, nil
	}
	conn, err := e.dial(to)
	if err != nil {
		return nil, err
	}
	t.conns[key] = conn
	return conn, nil
}
