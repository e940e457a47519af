// Package quorum is one voter of the quorum that keeps the cluster's metadata log: Raft, as etcd's library has
// it, in a machine that can be replayed.
//
//	           Propose, Change ──►┌────────┐──► Writes     entries and votes, to be made durable
//	Receive (another voter's) ──► │ Quorum │──► Sends      to other voters
//	Arrived (an image, offered)─► │        │
//	Written (a write is durable)─►│        │──► Committed  entries, in order, once each
//	                     Tick  ──►└────────┘──► Restored   an image instead of entries that are gone
//
// Inputs are the messages of other voters, proposals, the completions of writes, and time. Outputs are collected
// in an Out. Nothing is answered here: who proposed looks for its entry among the committed ones, and for the end
// of its leadership in State.
//
// Invariants:
//
//  1. What promises a vote, a term or an entry is sent after it is durable: a Write's completion brings it out, and
//     until then the machine holds it back. A voter's promises to itself wait, too.
//  2. Committed entries come in the order of their index, without a gap, each once in the life of a Quorum. After
//     a restart they begin behind the image that it was given.
//  3. A message carries no image: it offers one, which is fetched by other ways (offer.go). An image is offered to whoever needs one as
//     long as entries behind it are here and the voters are those that it names: another may not know of a voter that was added
//     since, and would be refused by it for ever. Else one of everything that is committed is made.
//  4. A change of the voters leaves the leader among them. One that came to lead while the change was under way, and is not among them,
//     goes on leading until one of them takes over.
//  5. Nobody is told that a change of the voters is committed before this voter cannot forget it. A crash would else leave some
//     who vote no more, and others who wait for their votes.
//  6. While a leader is Undisputed no other is elected: a majority has answered heartbeats that it sent a moment ago, and whoever answers
//     votes for nobody else for longer than that, also after a restart. Clocks may differ by a tenth in their rates.
//  7. The same inputs give the same outputs. The library draws its election timeout from a global source of
//     randomness; that timeout is never reached here, because elections have a timer of our own (timer.go).
//
// A voter is known by a VoterID, not by its node: a node that comes back with another disk has promised nothing and
// remembers nothing, so it is another voter, and the old one is removed.
//
// Deliberately absent: what entries mean (controller), where they are kept (storage), how voters are reached, how images are fetched, and
// reads: who must not answer from the past commits something first.
//
// This package alone sees the library, so that another implementation can stand in its place.
package quorum
