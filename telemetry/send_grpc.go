package telemetry

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	grpccodes "google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip" // also registers the compressor
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

// Most bytes read of an answer, whatever the receiver sends.
const maxResponse = 4 << 20

// dial returns a connection that is made when first used.
func (e Exporter) dial(to endpoint) (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	if to.secure {
		config, err := e.tlsConfig()
		if err != nil {
			return nil, err
		}
		creds = credentials.NewTLS(config)
	}
	calls := []grpc.CallOption{grpc.MaxCallRecvMsgSize(maxResponse)}
	if e.Compression == "gzip" {
		calls = append(calls, grpc.UseCompressor(gzip.Name))
	}
	conn, err := grpc.NewClient(to.target,
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(calls...),
		grpc.WithDisableServiceConfig(), // retrying is the worker's
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: time.Second, Multiplier: 1.6, Jitter: 0.2, MaxDelay: longestRetry},
			MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithUserAgent("ccproxy"))
	if err != nil {
		return nil, fmt.Errorf("end point %q: %w", to.target, err)
	}
	return conn, nil
}

// grpcSender calls the Export method of one signal's service.
type grpcSender struct {
	conn   *grpc.ClientConn // shared between signals, closed by Telemetry
	method string
	md     metadata.MD
}

func newGRPCSender(conn *grpc.ClientConn, s Signal, headers map[string]string) *grpcSender {
	method := "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
	if s == Logs {
		method = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
	}
	return &grpcSender{conn: conn, method: method, md: metadata.New(headers)}
}

func (s *grpcSender) send(ctx context.Context, pieces [][]byte) (int64, string, error) {
	if len(s.md) > 0 {
		ctx = metadata.NewOutgoingContext(ctx, s.md)
	}
	var answer []byte
	err := s.conn.Invoke(ctx, s.method, pieces, &answer, grpc.ForceCodecV2(wireCodec{}))
	if err != nil {
		return 0, "", grpcError(err)
	}
	rejected, message := partialSuccess(answer)
	return rejected, message, nil
}

func (s *grpcSender) close() error { return nil }

// grpcError tells which failures may pass:
// https://opentelemetry.io/docs/specs/otlp/#failures (read 2026-10).
func grpcError(err error) error {
	st := status.Convert(err)
	var after time.Duration
	throttled := false
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			throttled, after = true, info.GetRetryDelay().AsDuration()
		}
	}
	e := &sendError{err: err, after: after}
	switch st.Code() {
	case grpccodes.Canceled, grpccodes.DeadlineExceeded, grpccodes.Aborted, grpccodes.OutOfRange, grpccodes.Unavailable, grpccodes.DataLoss:
		e.retry = true
	case grpccodes.ResourceExhausted:
		e.retry = throttled
		e.tooLarge = !throttled // what gRPC answers to a message above its limit
	}
	return e
}

// wireCodec passes encoded messages through.
type wireCodec struct{}

func (wireCodec) Name() string { return "proto" }

func (wireCodec) Marshal(v any) (mem.BufferSlice, error) {
	pieces, ok := v.([][]byte)
	if !ok {
		return nil, fmt.Errorf("marshal %T: want encoded pieces", v)
	}
	buffers := make(mem.BufferSlice, 0, len(pieces))
	for _, p := range pieces {
		if len(p) > 0 {
			buffers = append(buffers, mem.SliceBuffer(p))
		}
	}
	return buffers, nil
}

func (wireCodec) Unmarshal(data mem.BufferSlice, v any) error {
	into, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("unmarshal into %T: want *[]byte", v)
	}
	*into = data.Materialize()
	return nil
}

// partialSuccess reads ExportTraceServiceResponse or ExportLogsServiceResponse, which have the same shape:
// partial_success = 1 { rejected = 1, error_message = 2 }. What it does not understand it takes for success.
func partialSuccess(answer []byte) (rejected int64, message string) {
	body := field(answer, 1)
	for len(body) > 0 {
		number, kind, n := protowire.ConsumeTag(body)
		if n < 0 {
			return rejected, message
		}
		value := body[n:]
		switch {
		case number == 1 && kind == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(value)
			rejected = max(0, int64(v))
		case number == 2 && kind == protowire.BytesType:
			v, _ := protowire.ConsumeBytes(value)
			message = string(v)
		}
		m := protowire.ConsumeFieldValue(number, kind, value)
		if m < 0 {
			return rejected, message
		}
		body = value[m:]
	}
	return rejected, message
}

// field returns the first length-delimited field of that number, or nil.
func field(message []byte, want protowire.Number) []byte {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return nil
		}
		if number == want && kind == protowire.BytesType {
			v, _ := protowire.ConsumeBytes(message[n:])
			return v
		}
		m := protowire.ConsumeFieldValue(number, kind, message[n:])
		if m < 0 {
			return nil
		}
		message = message[n+m:]
	}
	return nil
}
