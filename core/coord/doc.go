// Package coord is what coordinators of every kind share: how a decision becomes a record, the record becomes
// durable, and only then the state changes and the answer leaves.
//
//	input ──► decide ──► records ──► Append to the log ──► parked ──► high watermark passes ──► Apply, reply
//	             ▲                        │ refused                                 │
//	             │                        ▼                                         ▼
//	           state ◄────────────── as if never decided               state as loading the log gives it
//
// A coordinator (core/group, later core/txn) leads one partition of an internal topic and keeps its state there. It
// decides from its state and writes what it decided through a Writer, together with what it wants to remember
// of the decision. The Writer gives that back when the partition's high watermark has passed the records, or
// when the log refused them. Loading the log calls the same Apply, so that state after a restart, or on the
// next leader, is the state that clients were told of.
//
// Inputs: Append, Durable and Refused with the partition's high watermark and log end. Outputs: decisions in the
// order in which they were made.
//
// Invariants:
//
//  1. Nothing is answered and nothing applied that is not below the high watermark.
//  2. Decisions come back in the order of their records, each exactly once.
//  3. A refused append leaves nothing behind: neither a record nor a parked decision.
//
// Timers is the other half of the skeleton: deadlines in a heap, so that no step is linear in what is waited for.
//
// Deliberately absent: what a record means, who may ask, locks and clocks. The log itself is core/replica's.
package coord
