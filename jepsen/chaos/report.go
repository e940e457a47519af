package chaos

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/weirmq/weir/bench/report"
	"github.com/weirmq/weir/jepsen/ledger"
)

// Report is what a run came to.
type Report struct {
	Seed    uint64  `json:"seed"`
	Nodes   int     `json:"nodes"`
	Rate    int     `json:"rate"`
	Seconds float64 `json:"seconds"`
	ledger.Counts
	GivenUp    int64           `json:"given_up"` // by the producer
	WorstGapMs float64         `json:"worst_gap_ms"`
	Latency    *report.Latency `json:"latency"` // to the acknowledgement
	Group      MemberCounts    `json:"group"`
	Kinds      []Kind          `json:"kinds"`
	Faults     []Fault         `json:"faults"`
	Gaps       []Gap           `json:"longest_gaps"`
	Findings   []string        `json:"findings"`
	Failure    string          `json:"failure,omitempty"` // why the run could not be brought to its end
	LogErrors  int             `json:"log_errors"`        // lines of level error in the nodes' logs
	LogError   []string        `json:"log_error"`         // the first of each node
}

// Kind is what faults of one kind came to.
type Kind struct {
	Kind  string `json:"kind"`
	Count int    `json:"count"`
	// Gaps, of each fault its worst; whole, from its end until everything was in sync again.
	GapP50Ms   float64 `json:"gap_p50_ms"`
	GapMaxMs   float64 `json:"gap_max_ms"`
	WholeP50Ms float64 `json:"whole_p50_ms"`
	WholeMaxMs float64 `json:"whole_max_ms"`
}

func (r *Run) report(took time.Duration) *Report {
	group := r.member.judged() // first: it may be a finding
	rep := &Report{
		Group: group,
		Seed:  r.o.Seed, Nodes: len(r.cluster.Nodes), Rate: r.o.Rate, Seconds: took.Seconds(), Counts: r.load.ledger.Counts(),
		GivenUp: r.load.failed.Load(), WorstGapMs: ms(r.gaps.worst), Latency: r.gaps.latency.Latency(), Faults: r.nemesis.list(), Gaps: r.gaps.longest(),
		Findings: append(r.load.ledger.Findings(), r.load.found()...),
	}
	if rep.Latency != nil {
		rep.Latency.Curve = nil // it would be most of the report
	}
	r.mu.Lock()
	rep.LogErrors = r.count
	for i := range r.cluster.Nodes {
		if e := r.errors[i+1]; e != "" {
			rep.LogError = append(rep.LogError, fmt.Sprintf("node %d: %s", i+1, e))
		}
	}
	r.mu.Unlock()
	for _, kind := range Kinds {
		var gap, whole []float64
		for i := range rep.Faults {
			if f := &rep.Faults[i]; f.Kind == kind {
				gap, whole = append(gap, f.GapMs), append(whole, f.WholeMs)
			}
		}
		if len(gap) == 0 {
			continue
		}
		slices.Sort(gap)
		slices.Sort(whole)
		last, middle := len(gap)-1, len(gap)/2
		rep.Kinds = append(rep.Kinds, Kind{kind, len(gap), gap[middle], gap[last], whole[middle], whole[last]})
	}
	return rep
}

// Err is nil when every promise was kept, and some were made.
func (r *Report) Err() error {
	switch {
	case r.Failure != "" && r.Wrong() == 0:
		return errors.New(r.Failure)
	case r.Wrong() > 0 || len(r.Findings) > 0:
		return fmt.Errorf("promises were broken: lost %d, duplicated %d, reordered %d, changed %d, invented %d; the first: %s",
			r.Lost, r.Duplicated, r.Reordered, r.Changed, r.Invented, strings.Join(r.Findings[:min(3, len(r.Findings))], "; "))
	case r.Acked == 0:
		return errors.New("nothing was acknowledged, so the run shows nothing")
	case r.Read < r.Acked:
		return fmt.Errorf("%d records were acknowledged and %d read", r.Acked, r.Read)
	}
	return nil
}

// Write writes it for people.
func (r *Report) Write(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintf(to, "\n%.0f s, %d nodes, replication factor %d, acks=all, %d records a second, seed %d\n\n", r.Seconds, r.Nodes, replicationFactor, r.Rate, r.Seed)
	_, _ = fmt.Fprintf(to, "acked %d  read %d  lost %d  duplicated %d  reordered %d  changed %d  invented %d\n",
		r.Acked, r.Read, r.Lost, r.Duplicated, r.Reordered, r.Changed, r.Invented)
	if l := r.Latency; l != nil {
		_, _ = fmt.Fprintf(to, "acknowledged after: p50 %.1f ms, p99 %.1f ms, max %.0f ms; worst gap of a partition %.2f s\n", l.P50, l.P99, l.Max, r.WorstGapMs/1000)
	}
	_, _ = fmt.Fprintf(to, "a member of a group read %d, %d of them again; it lost its partitions %s, and was given nothing for %.2f s at most (fault %d)\n\n",
		r.Group.Read+r.Group.Repeated, r.Group.Repeated, times(r.Group.Lost), r.Group.SilenceMs/1000, r.Group.Fault)
	_, _ = fmt.Fprintln(w, "fault\tcount\tgap p50\tgap max\tin sync again p50\tmax\t")
	for _, k := range r.Kinds {
		_, _ = fmt.Fprintf(w, "%s\t%d\t%.2f s\t%.2f s\t%.2f s\t%.2f s\t\n", k.Kind, k.Count, k.GapP50Ms/1000, k.GapMaxMs/1000, k.WholeP50Ms/1000, k.WholeMaxMs/1000)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(to)
	for _, f := range r.Findings {
		_, _ = fmt.Fprintln(to, f)
	}
	if r.LogErrors > 0 {
		_, _ = fmt.Fprintf(to, "the nodes logged %d errors, the first of each:\n%s\n", r.LogErrors, strings.Join(r.LogError, "\n"))
	}
	verdict := "every promise was kept"
	if err := r.Err(); err != nil {
		verdict = err.Error()
	}
	_, err := fmt.Fprintf(to, "verdict: %s\n", verdict)
	return err
}

func times(n int64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
