// Package collector holds the configuration of the servers that the gateway's telemetry goes to: the OpenTelemetry Collector,
// Tempo, Prometheus with its rules, Loki, Alertmanager. docker-compose.yml runs them; so does whoever has the programs.
//
//	otelcol.yaml, builder.yaml           the Collector, and the components to build one from
//	tempo.yaml loki.yaml                 traces and logs
//	prometheus.yaml rules/ alertmanager.yaml   metrics, what is derived from them, alerts
//	lgtm.yml lgtm/                       the same in one container, grafana/otel-lgtm
//
// The Go code knows what the rules and the dashboards may ask for: Known says which series exist, with which labels, and
// Selectors what a query reads. Tests compare the two.
package collector

//go:generate go run ./generate
