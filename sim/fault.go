package sim

// Fault is one way in which the simulated world hurts a node, with its number in the fault catalogue
// (docs/SIMULATION.md).
type Fault uint8

// The kinds. Those that strikes reports are struck by the plan at a given time; the rest are effects of those or
// properties of a whole run.
const (
	FaultNone      Fault = iota
	FaultCrash           // P1, D3: the process is killed, the page cache survives
	FaultPower           // P1, D2: the power fails
	FaultSyncError       // D8: a sync fails once and its pages are dropped
	FaultDiskFull        // D9: no space, after part of a write
	FaultDiskSlow        // D1: every disk operation takes long
	FaultPause           // P2: the process stands still, its timers then fire all at once
	FaultReset           // N4: connections are reset after a prefix of what was under way
	FaultBlackhole       // N6: nothing arrives, and in the end the connection is lost
	FaultClog            // N7: nothing arrives for a while, then everything at once
	FaultRefuse          // N11: connections are refused
	FaultSilence         // N11: connection attempts are not answered
	FaultWallStep        // T1: the wall clock jumps

	FaultCrashInOp    // P1: the crash struck inside a disk operation
	FaultCrashAgain   // P5: the process was killed again while it recovered
	FaultBitFlip      // D6: one bit of synced data is wrong after a restart
	FaultTornPage     // D2: some sectors of a page are new and some are not
	FaultNameLost     // D4: a directory entry, a removal or a rename was lost
	FaultLateDelivery // N5: bytes of a dead connection are still carried out
	FaultSegment      // N3: what was written at once arrives in pieces
	FaultBandwidth    // N2: links carry few bytes a second
	FaultClockRate    // T1, T2: clocks run fast or slow
	FaultHostile      // malformed requests

	FaultPartition // N9: machines cannot send to others, and connections between them are held up or lost
	FaultOneWay    // N9: of two machines, one hears the other and is not heard
	FaultSlowNode  // P3: everything takes a node many times as long
	FaultWipe      // D11: a node comes back with another disk, an empty one
	FaultWipeMore  // D11: another disk is lost, once all that was on the one before is in sync again
	FaultFar       // N1: nodes are far from each other
	FaultVoters    // C2: an operator changes who votes
	FaultSurge     // overload: producers send ten times as much for a while
	FaultUnclean   // C2: a replica leads that may lack what was acknowledged, as the topic or an operator will have it
	FaultNear      // a replica in a reader's rack serves it instead of the leader
	FaultZeroed    // D13: bytes in the middle of a file are zeros after a restart
	FaultShortened // D13: the end of a file is gone after a restart
	FaultRemoved   // D13: a file is gone after a restart

	faultCount
)

// strikes reports whether a fault is one that a plan strikes with.
func (f Fault) strikes() bool {
	return f >= FaultCrash && f <= FaultWallStep || f == FaultPartition || f == FaultSlowNode || f == FaultWipe
}

var faultNames = [faultCount]string{
	FaultNone: "none", FaultCrash: "crash", FaultPower: "power", FaultSyncError: "sync-error",
	FaultDiskFull: "disk-full", FaultDiskSlow: "disk-slow", FaultPause: "pause", FaultReset: "reset",
	FaultBlackhole: "blackhole", FaultClog: "clog", FaultRefuse: "refuse", FaultSilence: "silence",
	FaultWallStep: "wall-step", FaultCrashInOp: "crash-in-op", FaultCrashAgain: "crash-again",
	FaultBitFlip: "bit-flip", FaultTornPage: "torn-page", FaultNameLost: "name-lost",
	FaultLateDelivery: "late-delivery", FaultSegment: "segment", FaultBandwidth: "bandwidth",
	FaultClockRate: "clock-rate", FaultHostile: "hostile",
	FaultPartition: "partition", FaultOneWay: "one-way", FaultSlowNode: "slow-node", FaultWipe: "wipe",
	FaultWipeMore: "wipe-more", FaultFar: "far", FaultVoters: "voters", FaultNear: "near", FaultUnclean: "unclean", FaultSurge: "surge",
	FaultZeroed: "zeroed", FaultShortened: "shortened", FaultRemoved: "removed",
}

// String is the fault's name in plans and reports.
func (f Fault) String() string {
	if f >= faultCount {
		return "unknown"
	}
	return faultNames[f]
}

func parseFault(name string) (Fault, bool) {
	for f, n := range faultNames {
		if n == name && f != 0 {
			return Fault(f), true
		}
	}
	return 0, false
}

// Faults lists every kind, in order.
func Faults() []Fault {
	all := make([]Fault, 0, faultCount-1)
	for f := FaultNone + 1; f < faultCount; f++ {
		all = append(all, f)
	}
	return all
}
