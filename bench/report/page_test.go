package report_test

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/weirmq/weir/bench/report"
)

func example() *report.Page {
	h := report.NewHistogram()
	for i := range 10_000 {
		h.Record(time.Duration(i) * time.Microsecond)
	}
	t := &report.Table{Head: []string{"what", "value"}}
	t.Add("<script>alert(1)</script>", "1.5")
	t.Add("a | b", "not met")
	p := &report.Page{Title: "A & B"}
	p.Add(report.Part{
		Heading: "One", Text: []string{"x < y"}, Table: t,
		Bars: []*report.Bars{{Title: "Bars <b>", Unit: "MB/s", Groups: []report.Group{
			{Name: "g", Bars: []report.Bar{{Series: "weir", Value: 3, Low: 2, High: 4}, {Series: "kafka", Value: 1, Low: 1, High: 1}}},
		}}},
		Lines: []*report.Lines{{Title: "Lines", LogX: true, LogY: true, Quantiles: true, Series: []report.Series{
			{Name: "weir", Points: h.Latency().Curve}, {Name: "one", Points: []report.Point{{X: 1, Y: 0}, {X: 10, Y: 5}}},
		}}},
	})
	return p
}

func TestAPageIsWholeAndNeedsNothingElse(t *testing.T) {
	text := example().HTML()
	for _, bad := range []string{"<script", "http:", "https:", "src=", "href=", "NaN", "Inf"} {
		if strings.Contains(text, bad) {
			t.Errorf("the page contains %q", bad)
		}
	}
	if strings.Count(text, "<svg") != 2 {
		t.Errorf("%d plots, want 2", strings.Count(text, "<svg"))
	}
	// Every element is closed: the page reads as XML once its void elements are.
	body := strings.NewReplacer("<!DOCTYPE html>", "", `<meta charset="utf-8">`, "", `<meta name="viewport" content="width=device-width, initial-scale=1">`, "").Replace(text)
	for d := xml.NewDecoder(strings.NewReader(body)); ; {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestOneInputGivesOnePage(t *testing.T) {
	a, b := example(), example()
	if a.HTML() != b.HTML() || a.Markdown() != b.Markdown() {
		t.Error("two pages of one input differ")
	}
}

func TestACellCannotBreakAMarkdownTable(t *testing.T) {
	if text := example().Markdown(); !strings.Contains(text, `| a \| b | not met |`) {
		t.Error(text)
	}
}

func TestAHistogramTellsWhatWasRecorded(t *testing.T) {
	h := report.NewHistogram()
	if h.Latency() != nil {
		t.Error("a distribution of nothing")
	}
	for i := 1; i <= 1000; i++ {
		h.Record(time.Duration(i) * time.Millisecond)
	}
	other := report.NewHistogram()
	other.Record(time.Hour) // counted as the largest that there is
	h.Merge(other)
	l := h.Latency()
	near := func(got, want float64) bool { return got > want*0.998 && got < want*1.002 }
	if l.Count != 1001 || !near(l.P50, 501) || !near(l.P99, 991) || !near(l.Max, 120_000) {
		t.Errorf("%+v", *l)
	}
	last := l.Curve[len(l.Curve)-1]
	if last.X != 1001 || last.Y != l.Max {
		t.Errorf("the curve ends at %v", last)
	}
}
