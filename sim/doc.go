// Package sim runs the whole core in a world that it makes up from a seed: virtual time, a network that
// loses connections, a disk that loses what was not synced, processes that die at any moment, and clients
// that remember what they were promised.
//
// A run is a function of its plan, and a plan is a function of its seed: data that can be printed, edited
// and run again (plan.go). Inside a run everything happens in one event heap (world.go, heap.go); every
// choice is a counter-based draw (draw), so that taking one fault out of a plan does not reshuffle the rest.
//
//	seed ──► Plan ──► world: events by virtual time
//	                    ├─ node      the real core over a simulated Disk, restarted by real recovery only
//	                    ├─ network   connections: delay, segments, resets, black holes, late bytes
//	                    ├─ workload  the machines of core/client as clients
//	                    ├─ ghost     what storage was told and what became durable, by the simulator's own account
//	                    └─ check     judges what the clients saw
//
// Invariants:
//
//  1. The same plan and binary give the same trace, whatever else the process does.
//  2. Nothing in here decides anything about users' data: that is what is being tested.
//  3. Oracles look at what clients saw and at the simulator's own account of the disk, never at what the
//     broker believes of itself.
//  4. A run in which nothing succeeded, or a fleet in which a fault never fired, has failed.
//
// Start with run.go (one run), node.go and node_turn.go (how the core is driven), then check. The document
// docs/SIMULATION.md says what is covered and what is not.
package sim
