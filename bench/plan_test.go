package main

import (
	"strings"
	"testing"
	"time"
)

func full(t *testing.T) []cell {
	t.Helper()
	cells, err := plan(&settings{systems: known, rounds: 1, window: time.Second, logBytes: 8e9})
	if err != nil {
		t.Fatal(err)
	}
	return cells
}

func TestNoCellIsThereTwice(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range full(t) {
		if seen[c.String()] {
			t.Errorf("twice: %s", c)
		}
		seen[c.String()] = true
	}
}

// Every bar finds its figures in what a full run measures: a workload renamed in one place shows here.
func TestEveryBarIsMeasuredByAFullRun(t *testing.T) {
	var samples []sample
	for _, c := range full(t) {
		x := sample{Workload: c.workload, System: c.system, Figures: map[string]float64{}}
		for _, f := range append([]string{requestRate, perItemAnon}, columns...) {
			x.Figures[f] = 1
		}
		samples = append(samples, x)
	}
	table, _, all := barTable(gather(header{LogBytes: 8e9}, samples))
	if all != len(bars()) {
		for _, row := range table.Rows {
			if row[5] == "not measured" {
				t.Errorf("%s %s: %s", row[0], row[1], row[6])
			}
		}
	}
}

func TestABarIsMetOnTheRightSide(t *testing.T) {
	one := func(v float64) *results {
		return gather(header{}, []sample{{Workload: "start empty", System: "weir", Figures: map[string]float64{idleRSS: v, firstAck: v}}})
	}
	for _, c := range []struct {
		rss  float64
		want string
	}{{59, "met"}, {60, "met"}, {61, "not met"}} {
		table, _, _ := barTable(one(c.rss))
		for _, row := range table.Rows {
			if row[1] == "idle node, RSS" && row[5] != c.want {
				t.Errorf("%v MB: %s, want %s", c.rss, row[5], c.want)
			}
		}
	}
}

func TestFailuresStayInTheTable(t *testing.T) {
	r := gather(header{}, []sample{
		{Workload: "w", System: "weir", Figures: map[string]float64{recordRate: 3}},
		{Workload: "w", System: "kafka", Failed: "it fell over\nand more"},
	})
	text := page(r).Markdown()
	if !strings.Contains(text, "failed 1 of 1 times: it fell over") {
		t.Error(text)
	}
}

func TestWhatIsMissingIsSaidFirst(t *testing.T) {
	s := settings{systems: []string{"weir", "kafka", "nats", "pulsar"}, data: t.TempDir()}
	s.peers.Weir, s.peers.Dir = "/nowhere/weir", "/nowhere"
	err := s.ready()
	for _, want := range []string{"/nowhere/weir", "/nowhere/kafka", "/nowhere/nats-peer", "pulsar"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named in: %v", want, err)
		}
	}
	s.systems, s.logBytes = nil, 1<<60
	if err := s.ready(); err == nil || !strings.Contains(err.Error(), "free") {
		t.Errorf("a disk without room: %v", err)
	}
}

func TestMediansAreOfWhatDidNotFail(t *testing.T) {
	at := func(v float64) sample {
		return sample{Workload: "w", System: "s", Figures: map[string]float64{byteRate: v}}
	}
	r := gather(header{}, []sample{at(5), at(1), {Workload: "w", System: "s", Failed: "no"}, at(3)})
	if v, err := r.median("w", "s", byteRate); err != nil || v != 3 {
		t.Errorf("%v, %v; want 3", v, err)
	}
	if _, err := r.median("w", "other", byteRate); err == nil {
		t.Error("a median of nothing")
	}
}
