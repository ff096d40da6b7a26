package store

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

func TestFiltersPickWhatTheySay(t *testing.T) {
	s := openTest(t, Options{Dir: t.TempDir()})
	p := newPlayer(s)
	const n = 400
	for i := range n {
		sc := plainScene(i)
		if i%10 == 0 {
			sc.outcome = names.OutcomeFailed
		}
		p.play(t.Context(), sc)
	}
	settle(t, s, n)
	all, _ := s.List(Filter{}, n)
	for name, c := range map[string]struct {
		f    Filter
		want func(x *Exchange) bool
	}{
		"label":          {Filter{Label: "think"}, func(x *Exchange) bool { return x.Label == "think" }},
		"routed model":   {Filter{Model: "claude-sonnet-5"}, func(x *Exchange) bool { return x.Routed == "claude-sonnet-5" }},
		"original model": {Filter{Model: "claude-opus-4-8"}, func(*Exchange) bool { return true }},
		"provider":       {Filter{Provider: "anthropic"}, func(*Exchange) bool { return true }},
		"key and team":   {Filter{Key: "key-3", Team: "research"}, func(x *Exchange) bool { return x.Key == "key-3" && x.Team == "research" }},
		"session":        {Filter{Session: "session-2"}, func(x *Exchange) bool { return x.Session == "session-2" }},
		"outcome":        {Filter{Outcomes: []string{names.OutcomeFailed}}, func(x *Exchange) bool { return x.Outcome == names.OutcomeFailed }},
		"failed":         {Filter{Failed: true}, func(x *Exchange) bool { return x.Outcome != names.OutcomeCompleted }},
		"cost":           {Filter{MinCost: 0.008}, func(x *Exchange) bool { return x.Cost >= 0.008 }},
		"too long":       {Filter{MinDuration: time.Hour}, func(*Exchange) bool { return false }},
		"short":          {Filter{MaxDuration: time.Second}, func(*Exchange) bool { return false }},
		"no such label":  {Filter{Label: "nope"}, func(*Exchange) bool { return false }},
		"since":          {Filter{Since: time.Unix(1_800_000_100, 0)}, func(x *Exchange) bool { return x.Start.Unix() >= 1_800_000_100 }},
		"until":          {Filter{Until: time.Unix(1_800_000_100, 0)}, func(x *Exchange) bool { return x.Start.Unix() < 1_800_000_100 }},
		"after":          {Filter{After: 390}, func(x *Exchange) bool { return x.Seq > 390 }},
		"text":           {Filter{Text: all[7].RequestID[20:]}, func(x *Exchange) bool { return x.RequestID == all[7].RequestID }},
		"text, trace":    {Filter{Text: all[9].TraceID.String()[3:30]}, func(x *Exchange) bool { return x.TraceID == all[9].TraceID }},
		"text, session":  {Filter{Text: "ssion-1"}, func(x *Exchange) bool { return x.Session == "session-1" }},
	} {
		var want []int64
		for i := range all {
			if c.want(&all[i]) {
				want = append(want, all[i].Seq)
			}
		}
		list, _ := s.List(c.f, n)
		var got []int64
		for i := range list {
			got = append(got, list[i].Seq)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %d exchanges, want %d", name, len(got), len(want))
		}
	}
}

func TestPagesFollowEachOther(t *testing.T) {
	s := openTest(t, Options{})
	p := newPlayer(s)
	for i := range 333 {
		p.play(t.Context(), plainScene(i))
	}
	settle(t, s, 333)
	f := Filter{Label: "think"}
	var seen []int64
	for {
		list, more := s.List(f, 10)
		for _, x := range list {
			seen = append(seen, x.Seq)
		}
		if !more {
			break
		}
		f.Before = list[len(list)-1].Seq
	}
	if len(seen) != 111 || !slices.IsSortedFunc(seen, func(a, b int64) int { return int(b - a) }) {
		t.Errorf("got %d exchanges, want 111 from newest to oldest", len(seen))
	}
}

func TestValuesAreWhatExchangesHave(t *testing.T) {
	s := openTest(t, Options{})
	p := newPlayer(s)
	for i := range 20 {
		p.play(t.Context(), plainScene(i))
	}
	settle(t, s, 20)
	v := s.Values()
	if want := []string{"background", "default", "think"}; !slices.Equal(v.Labels, want) {
		t.Errorf("got labels %v, want %v", v.Labels, want)
	}
	if want := []string{"claude-haiku-4-5", "claude-opus-4-8", "claude-sonnet-5"}; !slices.Equal(v.Models, want) {
		t.Errorf("got models %v, want %v", v.Models, want)
	}
	if len(v.Keys) != 7 || len(v.Teams) != 2 || len(v.Providers) != 1 || len(v.Outcomes) != 1 {
		t.Errorf("got %+v", v)
	}
}

func TestSpendAddsUp(t *testing.T) {
	s := openTest(t, Options{})
	p := newPlayer(s)
	total := 0.0
	for i := range 100 {
		sc := plainScene(i)
		total += sc.cost
		p.play(t.Context(), sc)
	}
	settle(t, s, 100)
	since := time.Unix(1_800_000_000, 0)
	for _, by := range SpendDimensions {
		got, err := s.Spend(t.Context(), SpendQuery{Since: since, Until: since.Add(100 * time.Second), Step: 10 * time.Second, By: by, Series: 3})
		if err != nil {
			t.Fatal(err)
		}
		sum, points := 0.0, 0.0
		for _, series := range got.Series {
			sum += series.Cost
			if len(series.Points) != 10 {
				t.Errorf("by %s: got %d points, want 10", by, len(series.Points))
			}
			for _, v := range series.Points {
				points += v
			}
		}
		if math.Abs(got.Total.Cost-total) > 1e-9 || math.Abs(sum-total) > 1e-9 || math.Abs(points-total) > 1e-9 {
			t.Errorf("by %s: got %v, %v by series, %v by time, want %v", by, got.Total.Cost, sum, points, total)
		}
		if len(got.Series) > 3 {
			t.Errorf("by %s: got %d series, want 3 at most", by, len(got.Series))
		}
		if got.Total.Requests != 100 || math.Abs(got.Total.Baseline-5*total) > 1e-9 || got.Total.Compared != got.Total.Cost {
			t.Errorf("by %s: got %+v", by, got.Total)
		}
	}
	if got, _ := s.Spend(t.Context(), SpendQuery{Since: since, Until: since}); len(got.Series) != 0 {
		t.Errorf("no time: got %+v, want nothing", got)
	}
}

func TestFeedTellsOfWhatEnds(t *testing.T) {
	s := openTest(t, Options{})
	f := s.Subscribe()
	defer f.Unsubscribe()
	newPlayer(s).play(t.Context(), plainScene(0))
	select {
	case <-f.Changed():
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came")
	}
	if list, _ := s.List(Filter{After: 0}, 10); len(list) != 1 {
		t.Errorf("got %d exchanges, want 1", len(list))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, open := <-f.Changed(); open {
		t.Error("the feed goes on although the store is closed")
	}
}

func TestTraceIsFoundAsSoonAsItHasEnded(t *testing.T) {
	s := openTest(t, Options{})
	p := newPlayer(s)
	for i := range 50 {
		id, _ := p.play(t.Context(), plainScene(i))
		if found, err := s.Find(t.Context(), id.String()); err != nil || len(found) != 1 {
			t.Fatalf("got %d exchanges, %v, want it", len(found), err)
		}
	}
}
