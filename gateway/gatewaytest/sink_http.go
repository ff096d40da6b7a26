package gatewaytest

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltraces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

const (
	typeProtobuf = "application/x-protobuf"
	typeJSON     = "application/json"
)

var errTooLarge = errors.New("export is larger than 64 MiB")

// serveHTTP takes one export in over HTTP.
func (s *Sink) serveHTTP(w http.ResponseWriter, r *http.Request) {
	signal := strings.TrimPrefix(r.URL.Path, "/v1/")
	m := emptyExport(signal)
	if m == nil {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodPost {
		http.Error(w, "POST only", http.StatusMethodNotAllowed)
		return
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind != typeProtobuf && kind != typeJSON {
		http.Error(w, "want application/x-protobuf or application/json", http.StatusUnsupportedMediaType)
		return
	}
	if err := readExport(r, kind, m); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e := Export{Signal: signal, Protocol: "http/protobuf", Header: map[string][]string{}, Bytes: proto.Size(m), Items: items(m)}
	if kind == typeJSON {
		e.Protocol = "http/json"
	}
	for name, values := range r.Header {
		e.Header[strings.ToLower(name)] = values
	}
	fault, err := s.receive(r.Context(), e, m)
	if err != nil || fault.BlackHole {
		panic(http.ErrAbortHandler) // close without an answer
	}
	if fault.HTTPStatus != 0 {
		refuseHTTP(w, fault)
		return
	}
	answerHTTP(w, kind, signal, fault)
}

// emptyExport is the message of a signal, nil for an unknown one.
func emptyExport(signal string) proto.Message {
	switch signal {
	case SignalTraces:
		return &coltraces.ExportTraceServiceRequest{}
	case SignalMetrics:
		return &colmetrics.ExportMetricsServiceRequest{}
	case SignalLogs:
		return &collogs.ExportLogsServiceRequest{}
	}
	return nil
}

func readExport(r *http.Request, kind string, m proto.Message) error {
	var body io.Reader = r.Body
	switch encoding := r.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
	case "gzip":
		unzipped, err := gzip.NewReader(r.Body)
		if err != nil {
			return fmt.Errorf("content-encoding gzip: %w", err)
		}
		body = unzipped
	default:
		return fmt.Errorf("content-encoding %q is not supported", encoding)
	}
	raw, err := io.ReadAll(io.LimitReader(body, maxExport+1))
	if err != nil {
		return fmt.Errorf("reading the export: %w", err)
	}
	if len(raw) > maxExport {
		return errTooLarge
	}
	if kind == typeJSON {
		return unmarshalJSON(raw, m)
	}
	if err := proto.Unmarshal(raw, m); err != nil {
		return fmt.Errorf("reading the export: %w", err)
	}
	return nil
}

// unmarshalJSON reads OTLP/JSON, which is proto-JSON but for ids in hex.
// https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
func unmarshalJSON(raw []byte, m proto.Message) error {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return fmt.Errorf("reading the export: %w", err)
	}
	if err := idsToBase64(tree); err != nil {
		return err
	}
	canonical, err := json.Marshal(tree)
	if err != nil {
		return fmt.Errorf("reading the export: %w", err)
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(canonical, m); err != nil {
		return fmt.Errorf("reading the export: %w", err)
	}
	return nil
}

func idsToBase64(tree any) error {
	switch v := tree.(type) {
	case []any:
		for _, one := range v {
			if err := idsToBase64(one); err != nil {
				return err
			}
		}
	case map[string]any:
		for name, member := range v {
			id, isString := member.(string)
			if !isString || name != "traceId" && name != "spanId" && name != "parentSpanId" {
				if err := idsToBase64(member); err != nil {
					return err
				}
				continue
			}
			raw, err := hex.DecodeString(id)
			if err != nil {
				return fmt.Errorf("%s %q: %w", name, id, err)
			}
			v[name] = base64.StdEncoding.EncodeToString(raw)
		}
	}
	return nil
}

func refuseHTTP(w http.ResponseWriter, f Fault) {
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((f.RetryAfter+time.Second-1)/time.Second)))
	}
	http.Error(w, f.message(), f.HTTPStatus)
}

func answerHTTP(w http.ResponseWriter, kind, signal string, f Fault) {
	var answer proto.Message = tracesAnswer(f)
	switch signal {
	case SignalMetrics:
		answer = metricsAnswer(f)
	case SignalLogs:
		answer = logsAnswer(f)
	}
	marshal := proto.Marshal
	if kind == typeJSON {
		marshal = protojson.Marshal
	}
	body, err := marshal(answer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(body) // a client that left needs no answer
}
