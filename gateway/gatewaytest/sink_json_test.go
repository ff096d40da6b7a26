package gatewaytest

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
)

// FuzzUnmarshalJSON feeds OTLP/JSON of every signal; what is read must be storable.
func FuzzUnmarshalJSON(f *testing.F) {
	f.Add(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","name":"x","attributes":[{"key":"a","value":{"arrayValue":{"values":[{"intValue":"1"}]}}}]}]}]}]}`)
	f.Add(`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","histogram":{"dataPoints":[{"count":"1","sum":2,"bucketCounts":["1"],"exemplars":[{"asInt":"3"}]}]}}]}]}]}`)
	f.Add(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"b"},"spanId":"eee19b7ec3c1b174"}]}]}]}`)
	f.Add(`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"summary":{"dataPoints":[{}]}},{"exponentialHistogram":{"dataPoints":[{}]}}]}]}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		s := NewSink()
		for _, signal := range []string{SignalTraces, SignalMetrics, SignalLogs} {
			m := emptyExport(signal)
			if unmarshalJSON([]byte(text), m) != nil {
				continue
			}
			s.store(&Export{Signal: signal}, m)
			if n := proto.Size(m); n > 0 && len(s.Raw()) == 0 {
				t.Errorf("%s: %d bytes were read, none kept", signal, n)
			}
		}
		_ = s.Tree("")
	})
}

func TestCloseLeavesNothingRunning(t *testing.T) {
	before := goleak.IgnoreCurrent()
	s := NewSink()
	s.StartGRPC()
	url := s.StartHTTP()
	client := &http.Client{Transport: &http.Transport{}}
	r, err := http.NewRequestWithContext(context.Background(), "POST", url+"/v1/logs", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	s.Close()
	s.Close() // again is harmless
	client.CloseIdleConnections()
	goleak.VerifyNone(t, before)
}
