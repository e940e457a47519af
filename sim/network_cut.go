package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/sim/draw"
)

// cut is one direction between two machines in which nothing arrives until a time. What was sent is not gone: it is
// sent again, as TCP does, and arrives when the cut ends, unless the connection is given up then. Connections cannot be
// made while either direction is cut.
type cut struct {
	direction
	since  model.Time
	until  model.Time
	oneWay bool // the other direction was not cut by the same strike
}

// direction is from one machine to another: nodes by their number, 0 where the clients are.
type direction struct{ from, to int }

func (d direction) String() string { return fmt.Sprintf("%d>%d", d.from, d.to) }

// cutUntil is when what a side sends arrives again; 0 if it does now.
func (c *conn) cutUntil(s int) model.Time {
	until := model.Time(0)
	for i := range c.net.cuts {
		if k := &c.net.cuts[i]; k.from == c.ends[s] && k.to == c.ends[1-s] {
			until = max(until, k.until)
		}
	}
	return until
}

// isCut reports whether something that would arrive now does not, and counts the fault that keeps it.
func (c *conn) isCut(s int) bool {
	is := false
	for i := range c.net.cuts {
		if k := &c.net.cuts[i]; k.from == c.ends[s] && k.to == c.ends[1-s] && k.until > c.net.w.now {
			is = true
			c.net.w.fire(FaultPartition)
			if k.oneWay {
				c.net.w.fire(FaultOneWay)
			}
		}
	}
	return is
}

// whenOpen does something at once, or when what a side sends arrives again.
func (c *conn) whenOpen(s int, do func()) {
	if !c.isCut(s) {
		do()
		return
	}
	c.net.w.at(c.cutUntil(s), func() { c.whenOpen(s, do) })
}

// partition cuts directions until a time. When it is over, some of the connections on which something was kept are
// given up by both sides.
func (n *network) partition(directions []direction, until model.Time, percent int64, r *draw.Stream) {
	for _, d := range directions {
		n.w.trace.add(n.w.now, 0, "net.cut", uint64(d.from), uint64(d.to), uint64(until), "")
		n.cuts = append(n.cuts, cut{direction: d, since: n.w.now, until: until, oneWay: !slices.Contains(directions, direction{d.to, d.from})})
	}
	n.w.at(until, func() {
		n.cuts = slices.DeleteFunc(n.cuts, func(k cut) bool { return k.until <= n.w.now })
		for _, c := range slices.Clone(n.conns) {
			kept := false
			for s := range c.pipes {
				kept = kept || len(c.pipes[s].queue) > 0 && slices.Contains(directions, direction{c.ends[s], c.ends[1-s]})
			}
			if kept && r.Percent(percent) {
				c.giveUp()
			}
		}
	})
}

// giveUp ends a connection on both sides; what was under way is gone.
func (c *conn) giveUp() {
	for s := range c.pipes {
		c.pipes[s].queue = nil
	}
	c.drop(0)
	c.drop(1)
}

// Shapes of partitions, as directions between all machines, that of the clients included. Each cuts both ways;
// oneSided leaves one.

// isolated cuts one machine off from all others.
func isolated(all []int, one int) (ds []direction) {
	for _, m := range all {
		if m != one {
			ds = append(ds, direction{one, m}, direction{m, one})
		}
	}
	return ds
}

// split cuts two groups off from each other.
func split(all, group []int) (ds []direction) {
	for _, a := range all {
		for _, b := range all {
			if slices.Contains(group, a) != slices.Contains(group, b) {
				ds = append(ds, direction{a, b})
			}
		}
	}
	return ds
}

// bridged is a split in which one machine of the group reaches everybody.
func bridged(all, group []int, bridge int) []direction {
	return slices.DeleteFunc(split(all, group), func(d direction) bool { return d.from == bridge || d.to == bridge })
}

// ring lets each machine reach its neighbours only: with five or more, each sees a majority and no two the same.
func ring(all []int) (ds []direction) {
	n := len(all)
	for i := range all {
		for j := range all {
			if d := (j - i + n) % n; d > 1 && d < n-1 {
				ds = append(ds, direction{all[i], all[j]})
			}
		}
	}
	return ds
}

// oneSided leaves of every two opposite directions one: that out of the group, or that into it.
func oneSided(ds []direction, group []int, out bool) []direction {
	return slices.DeleteFunc(slices.Clone(ds), func(d direction) bool { return slices.Contains(group, d.from) != out })
}

// directionsText is how a plan has directions: "1>2,2>1".
func directionsText(ds []direction) string {
	words := make([]string, 0, len(ds))
	for _, d := range ds {
		words = append(words, d.String())
	}
	return strings.Join(words, ",")
}

// parseDirections reads what directionsText wrote.
func parseDirections(text string) ([]direction, error) {
	var ds []direction
	for word := range strings.SplitSeq(text, ",") {
		from, to, ok := strings.Cut(word, ">")
		a, errA := strconv.Atoi(from)
		b, errB := strconv.Atoi(to)
		if !ok || errA != nil || errB != nil || a < 0 || b < 0 || a == b {
			return nil, fmt.Errorf("%q is no direction such as 1>2", word)
		}
		ds = append(ds, direction{a, b})
	}
	return ds, nil
}
