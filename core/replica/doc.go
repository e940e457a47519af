// Package replica is one replica of one partition: the machine that gives out offsets, decides what a
// produce request may do, and knows how far the log may be read.
//
// Today every replica is its partition's leader and its only in-sync replica, so the high watermark is
// what is durable here. The shape is that of replication: appends are decided at once and pipelined,
// acknowledgements wait for the high watermark, reads stop at it.
//
//	          Produce                    Appended
//	client ────────────► decide offset ───────────► high watermark ──► acknowledgement
//	                     emit Append                      │
//	                     park the request                 └──────────► parked fetches (broker wakes them)
//
// What a leader knows of its followers is in Followers: who is in sync, and how far the log may be read therefore.
// It is not connected yet: that comes with replication.
//
// Inputs: Produce, Appended, Retained, Expired. Outputs: effect.Append, effect.Produced, notes, marks.
//
// Invariants:
//
//  1. logStartOffset <= highWatermark <= logEndOffset.
//  2. A batch is acknowledged with acks=all only when the high watermark has passed its last offset, and a
//     duplicate only when its original has.
//  3. Offsets are dense: an append's base offset is the log end offset that the batches before it left.
//  4. Parked requests wait in offset order; none waits below the high watermark.
//  5. After an append was refused by storage, nothing that was decided behind it counts: the state starts
//     again from what storage says the log holds.
//
// Deliberately absent: reading bytes (storage), waiting fetches (broker, since a fetch spans partitions),
// names and configuration of topics (controller).
package replica
