// Package link is the caller's side of one connection between two nodes: it takes calls, decides when there is to be a
// connection, makes sure who is at its other end, and turns calls into request frames and response frames into answers.
// The other side is core/session.
//
//	effect.Call ──► waiting ──► encode ──► request frame          (a connection that has greeted)
//	                                             │
//	effect.Answer ◄── check ◄── decode ◄── response frame, in request order
//
// Everything costly about an answer (decoding, CRC of batches) happens here, on the link's own time, so that the
// broker's loop only ever sees what is sound.
//
// Inputs: Call; Connected, Receive and Lost of the connection; Tick. Output: Out. One link is one lane to one node.
//
//	        a call                 Connected              NodeHello is answered
//	idle ───────────► dialling ────────────────► greeting ──────────────────────► ready
//	 ▲  ▲                 │ fails, takes too long     │ so does this, or             │  │
//	 │  │                 │                           │ another node answers         │  │ no calls for IdleTimeout
//	 │  │                 ▼                           ▼                              │  └──────────────────────► idle
//	 │  └─ no calls ── backing off ◄──────────────────┴──────── the connection is lost
//	 │                    │
//	 └────────────────────┘ the time is over and calls wait: it dials again
//
// Invariants:
//
//  1. Every call is answered exactly once. It is answered within its Timeout, by Tick at the latest.
//  2. Nothing but the greeting is sent before the other end has said that it is the node that is meant, of this cluster.
//  3. Requests are sent in the order of the calls. CallUnreachable and CallRefused are answers to calls of which not a byte was
//     handed to the connection.
//  4. Calls that wait while there is no connection are answered when dialling fails, not before: who calls again at once,
//     whatever the answer, calls no faster than the link dials.
//  5. What is sent and not answered is bounded in number and bytes, and so is what waits.
//  6. A batch in an answer has a sound header and the right checksum, and its offset is the next one.
//
// Deliberately absent: sockets and frames' length prefixes (the driver), retries (whoever calls knows whether that is safe),
// the meaning of answers (broker).
package link
