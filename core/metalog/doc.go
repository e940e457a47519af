// Package metalog is a voter with its log on disk: the quorum of core/quorum, kept as three ordinary partitions by the
// storage engine.
//
//	                                          metadata log      one batch for each entry
//	quorum ── Write ──► Log ── effects ──►    images            newest that is complete counts
//	   ▲                 │                    hard state        newest record counts
//	   └──── Written ────┴◄─ Appended, Truncated
//
// The metadata log is Kafka's: record batches whose leader epoch is Raft's term. An entry is a batch: what was proposed
// as it is, and what Raft adds (a leader's first entry, a change of the voters) as control batches. Indexes count batches
// and offsets count records; the Log translates.
//
//	index    41          42             43        44
//	      ┌───────────┬──────────────┬─────────┬───────────┐
//	term  │ 3         │ 3            │ 4 ctrl  │ 4         │
//	      └───────────┴──────────────┴─────────┴───────────┘
//	offset 1007        1010           1024      1025        1031 = log end offset
//
// An image is a control batch that says of what, batches of records, and a control batch that says it is complete. A crash
// between leaves one that is not, which is skipped.
//
// Images come to other voters, and to brokers that do not vote, in pieces:
//
//	Outgoing  images that are held for whoever was told of them      Incoming  one that is being fetched, piece by piece
//
// What a voter is sent is the Offer of an image: up to where it is, of how many bytes, with what checksum. It is Offered until it has
// Arrived, or is not wanted any more, and offered again now and then in case the voter has forgotten.
//
// An image that comes from another voter replaces the log: it is made durable, then the entries are dropped, and only then
// is anything written behind it. A crash between leaves a log that the image is not of, because it is shorter or has other
// terms. It is dropped at the start. One's own image is of the entries that are there, and lets the older of them go.
//
// Inputs: proposals, other voters' messages and images, completions of storage, time. Outputs: effects for storage, and in Out
// what was committed, restored, or is to be sent.
//
// Invariants:
//
//  1. A Write of the quorum is Written when everything of it is durable, and not before.
//  2. Committed batches come out in order, without a gap, with the offset and the epoch that they have in the log.
//  3. Nothing is asked of storage behind a cut of the entries before that is durable: a full disk may refuse it.
//  4. What the disk holds after a crash at any moment is what the quorum was told is durable, or more that it asked for.
//  5. What another voter sends, and what the disk holds, is refused unless the machine can read it: a voter of an older
//     version stays behind, or does not start, and never finds out by what is committed.
//
// Deliberately absent: what the records mean (metadata), who proposes (controller), and how voters are reached and asked for pieces (broker).
package metalog
