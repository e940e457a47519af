package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/weirmq/weir/core/model"
)

// wholePatience is how often it is looked whether everything is in sync, for a strike that waits for that.
const wholePatience = 50 * ms

// strike lets one planned fault happen.
func (w *world) strike(s *Strike) {
	if s.Kind == FaultWipe && s.Whole && !w.settled && !(w.whole() && w.spareVoter(s.Node)) {
		w.after(wholePatience, func() { w.strike(s) })
		return
	}
	if len(s.harms()) > 0 && w.plan.clustered() && !w.harmless(s) {
		if !w.settled {
			w.after(wholePatience, func() { w.strike(s) })
		}
		return
	}
	w.trace.add(w.now, int(s.Node), "strike", uint64(s.ID), uint64(s.Kind), uint64(s.For), s.Kind.String())
	r := w.root.Stream("strike", uint64(s.ID))
	until := w.now + s.For
	switch s.Kind {
	case FaultReset:
		w.net.pick(r, s.Percent, func(c *conn) { c.reset(s.Late) })
		return
	case FaultBlackhole:
		w.net.pick(r, s.Percent, func(c *conn) { c.blackhole(until) })
		return
	case FaultClog:
		w.net.pick(r, s.Percent, func(c *conn) { c.clog(until, FaultClog) })
		return
	case FaultPartition:
		if ds, err := parseDirections(s.Cuts); err == nil { // the plan is valid
			w.net.partition(ds, until, s.Percent, r)
		}
		return
	case FaultRefuse:
		w.net.refuseUntil = max(w.net.refuseUntil, until)
		w.breakSome(s, r.Percent(50))
		return
	case FaultSilence:
		w.net.silenceUntil = max(w.net.silenceUntil, until)
		w.breakSome(s, r.Percent(50))
		return
	default: // it strikes nodes
	}
	for _, n := range w.nodes {
		if s.Node == 0 || int(s.Node) == n.id {
			n.strike(s, until)
		}
	}
}

// harmless reports whether of everything that a strike may damage others have enough. A voter whose metadata log is damaged is given
// another disk, so the disks that others have lost must be made up for, and where an operator changes who votes, enough others must.
func (w *world) harmless(s *Strike) bool {
	isLost := slices.ContainsFunc(w.nodes, func(n *node) bool { return int(s.Node) != n.id && n.disks > 0 })
	if (isLost || w.plan.has("voters")) && !w.whole() || !w.spareVoter(s.Node) {
		return false
	}
	return !slices.ContainsFunc(w.nodes, func(n *node) bool { return (s.Node == 0 || int(s.Node) == n.id) && !n.spare() })
}

// breakSome resets connections so that somebody has to dial while nobody answers.
func (w *world) breakSome(s *Strike, all bool) {
	percent := int64(40)
	if all {
		percent = 100
	}
	w.net.pick(w.root.Stream("strike.break", uint64(s.ID)), percent, func(c *conn) { c.reset(0) })
}

func (n *node) strike(s *Strike, until model.Time) {
	switch s.Kind {
	case FaultCrash, FaultPower:
		n.strikeCrash(s, until)
	case FaultSyncError:
		n.downUntil = max(n.downUntil, until)
		n.disk.FailSyncs(1, s.Evict)
	case FaultDiskFull:
		n.disk.SetCapacity(s.Room)
		n.w.at(until, func() {
			if !n.w.settled {
				n.disk.SetCapacity(-1)
			}
		})
	case FaultDiskSlow:
		n.slowMean = s.Mean
		n.w.at(until, func() { n.slowMean = 0 })
	case FaultWipe:
		if n.process == nil || n.w.settled {
			return
		}
		n.downUntil = max(n.downUntil, until)
		if !n.spare() || n.w.rotten(n) {
			n.note("strike.mitigated", uint64(s.ID), 0, 0, "something is on this disk only")
			n.crash(true)
			return
		}
		if n.wipe(); s.Whole {
			n.w.fire(FaultWipeMore)
		}
	case FaultSlowNode:
		n.slowTimes, n.slowUntil = s.Times, until
		n.w.at(until, func() { n.slowTimes = 0 })
	case FaultPause:
		if n.process != nil {
			n.w.fire(FaultPause)
			n.pausedUntil = max(n.pausedUntil, until)
		}
	case FaultWallStep:
		n.w.fire(FaultWallStep)
		n.clock.wallOffset += s.By
	default: // not a node's, or a part of another strike
	}
}

// crashPatience is how long a crash waits for its disk operation before it strikes anyway.
const crashPatience = 100 * ms

func (n *node) strikeCrash(s *Strike, until model.Time) {
	if n.process == nil {
		return
	}
	power := s.Kind == FaultPower
	n.downUntil = max(n.downUntil, until)
	n.harms, n.again = s.harms(), s.Again
	if s.Ops == 0 {
		n.crash(power)
		return
	}
	life := n.life
	n.disk.CrashAfter(s.Ops, power)
	n.w.after(crashPatience, func() {
		if n.life == life && n.process != nil {
			n.crash(power)
		}
	})
}

// heal ends all faults for good. What they left behind stays: clocks that are off, damage, a node that
// is down for a little longer.
func (w *world) heal() {
	w.settled = true
	w.trace.add(w.now, 0, "heal", 0, 0, 0, "")
	w.net.heal()
	for _, n := range w.nodes {
		n.disk.SetCapacity(-1)
		n.disk.FailSyncs(0, false)
		n.disk.CrashAfter(0, false)
		n.harms, n.again, n.slowMean, n.slowTimes = nil, 0, 0, 0
	}
	w.plan.Disk = DiskPlan{OpMean: us, SyncMin: 50 * us, SyncMean: 200 * us}
	w.settlePrograms(false)
	if w.plan.Silent > 0 {
		w.agree(w.now + agreePatience)
	}
}

// settlePrograms has programs come to an end: those that are silent, or all others.
func (w *world) settlePrograms(silent bool) {
	for _, h := range w.hosts {
		if s, is := h.program.(interface{ Silent() bool }); (is && s.Silent()) == silent {
			h.program.Settle(w.now)
			h.schedule()
		}
	}
}

// agreePatience is how long replicas may take to agree once everything is healed and nothing is written.
const agreePatience = 30 * sc

// agree waits until all replicas are in sync and know how far their partitions are committed, before anything new is written.
func (w *world) agree(limit model.Time) {
	down := slices.ContainsFunc(w.nodes, func(n *node) bool { return !n.serves() && n.refused == "" })
	why := ""
	if !down && !w.damaged() {
		why = w.apart()
	}
	switch {
	case !down && why == "":
		w.settlePrograms(true)
	case w.now >= limit && !w.damaged():
		w.fail("silence", fmt.Sprintf("%s after all faults were healed, and nothing new was written: %s", time.Duration(agreePatience), why+w.standing()))
	default:
		w.after(pollEvery, func() { w.agree(limit) })
	}
}
