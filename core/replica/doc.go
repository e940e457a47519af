// Package replica is one replica of one partition: the machine that gives out offsets, decides what a produce request may
// do, follows a leader, and knows how far the log may be read.
//
//	          Produce                    Appended, FetchedBy
//	client ────────────► decide offset ───────────► high watermark ──► acknowledgement
//	                     emit Append                      │
//	                     park the request                 └──────────► parked fetches (broker wakes them)
//
//	          Position                     Fetched
//	follower ────────────► leader ──────────────────► emit Append ──► Appended ──► Position
//	                          └── diverging ────────► emit Truncate ──► Truncated ───┘
//
// A Replica leads or follows, as the controller says. What a leader knows of the others is in Followers: who is in sync,
// and how far the log may be read therefore.
//
// Inputs: Lead, Follow, Produce, Appended, Truncated, FetchedBy, Fetched, Retained, Expire. Outputs: effect.Append,
// Truncate, StartAt, Retain, Produced, notes, marks.
//
// Invariants:
//
//  1. logStartOffset <= highWatermark <= logEndOffset.
//  2. A batch is acknowledged with acks=all only when the high watermark has passed its last offset, and a
//     duplicate only when its original has; with acks=1 when it is durable here.
//  3. Offsets are dense: an append's base offset is the log end offset that the batches before it left.
//  4. Parked requests wait in offset order; none waits below what it waits for, and none waits where nobody leads.
//  5. After an append was refused by storage, nothing that was decided behind it counts: the state starts
//     again from what storage says the log holds.
//  6. A follower's Position says that everything before it is durable here. There is none while anything is on its way.
//  7. A follower's log is a piece of its leader's from the start to where they part; it is cut there before it goes on
//     (KIP-101, 279, 320, 595).
//
// A high watermark is local knowledge, of which storage keeps a lower bound through restarts: a new leader knows one that may be below what an earlier one had shown, until the
// followers have fetched. Nothing rests on it going up only.
//
// Deliberately absent: reading bytes (storage), waiting fetches and the fetches between nodes (broker, since a fetch
// spans partitions), names and configuration of topics (controller).
package replica
