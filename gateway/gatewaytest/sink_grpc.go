package gatewaytest

import (
	"context"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltraces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // exporters may compress
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

type grpcTraces struct {
	coltraces.UnimplementedTraceServiceServer
	sink *Sink
}

// Export takes spans in.
func (g grpcTraces) Export(ctx context.Context, m *coltraces.ExportTraceServiceRequest) (*coltraces.ExportTraceServiceResponse, error) {
	fault, err := g.sink.receiveGRPC(ctx, SignalTraces, m)
	if err != nil {
		return nil, err
	}
	return tracesAnswer(fault), nil
}

type grpcMetrics struct {
	colmetrics.UnimplementedMetricsServiceServer
	sink *Sink
}

// Export takes metrics in.
func (g grpcMetrics) Export(ctx context.Context, m *colmetrics.ExportMetricsServiceRequest) (*colmetrics.ExportMetricsServiceResponse, error) {
	fault, err := g.sink.receiveGRPC(ctx, SignalMetrics, m)
	if err != nil {
		return nil, err
	}
	return metricsAnswer(fault), nil
}

type grpcLogs struct {
	collogs.UnimplementedLogsServiceServer
	sink *Sink
}

// Export takes log records in.
func (g grpcLogs) Export(ctx context.Context, m *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error) {
	fault, err := g.sink.receiveGRPC(ctx, SignalLogs, m)
	if err != nil {
		return nil, err
	}
	return logsAnswer(fault), nil
}

func (s *Sink) receiveGRPC(ctx context.Context, signal string, m proto.Message) (Fault, error) {
	header, _ := metadata.FromIncomingContext(ctx)
	e := Export{Signal: signal, Protocol: "grpc", Header: header, Bytes: proto.Size(m), Items: items(m)}
	fault, err := s.receive(ctx, e, m)
	switch {
	case err != nil:
		return fault, status.FromContextError(err).Err()
	case fault.BlackHole:
		return fault, status.Error(codes.Unavailable, "released")
	case fault.GRPCCode == codes.OK:
		return fault, nil
	}
	refusal := status.New(fault.GRPCCode, fault.message())
	if fault.RetryAfter > 0 {
		detailed, err := refusal.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(fault.RetryAfter)})
		if err == nil {
			refusal = detailed
		}
	}
	return fault, refusal.Err()
}

// partial reports whether the answer says something beside success.
func (f Fault) partial() bool { return f.PartialRejected != 0 || f.message() != "" }

func tracesAnswer(f Fault) *coltraces.ExportTraceServiceResponse {
	answer := &coltraces.ExportTraceServiceResponse{}
	if f.partial() {
		answer.PartialSuccess = &coltraces.ExportTracePartialSuccess{RejectedSpans: f.PartialRejected, ErrorMessage: f.message()}
	}
	return answer
}

func metricsAnswer(f Fault) *colmetrics.ExportMetricsServiceResponse {
	answer := &colmetrics.ExportMetricsServiceResponse{}
	if f.partial() {
		answer.PartialSuccess = &colmetrics.ExportMetricsPartialSuccess{RejectedDataPoints: f.PartialRejected, ErrorMessage: f.message()}
	}
	return answer
}

func logsAnswer(f Fault) *collogs.ExportLogsServiceResponse {
	answer := &collogs.ExportLogsServiceResponse{}
	if f.partial() {
		answer.PartialSuccess = &collogs.ExportLogsPartialSuccess{RejectedLogRecords: f.PartialRejected, ErrorMessage: f.message()}
	}
	return answer
}
