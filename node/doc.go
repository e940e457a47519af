// Package node is the production driver of the core: goroutines, sockets, files and real time around the
// machines that decide.
//
//	client ── transport ── connection ──events──► loop ──effect.Set──► storage goroutine ── syncer
//	             (reader, session,                (broker.Step,         (engine)              (fdatasync)
//	              writer)     ▲                    broker.Tick)            │
//	                          ├──replies, outcomes────┘ ▲                  │
//	                          └──records to send────────┼──────────────────┤
//	                                                    └──completions─────┘
//
//	loop ──effect.Call──► carrier (link) ── transport ──► another node        one carrier per lane and node, while it
//	  ▲                       │                                              is used: links.go, carrier.go
//	  └──── effect.Answer ────┘
//
// Input: a config.Config. Output: a running broker, its addresses, and at most one fatal error.
//
// Goroutines: one loop; one for storage; one each for the journal's and the checkpoint's syncs; one janitor;
// one per listener; one per connection, and a second one while it has responses to write; one per lane to another
// node, and two more while that is connected. None per request, none per partition.
//
// Invariants:
//
//  1. Only the loop calls broker.Step and broker.Tick, and only the storage goroutine calls the engine;
//     each machine therefore lives in one goroutine.
//  2. The time handed to the core never goes backwards and is never 0.
//  3. Whatever waits when the disk is free is made durable by the next sync: there is no timer.
//  4. A failed sync ends the node: Failed is closed, nothing more is acknowledged, and the process must
//     exit with an error.
//  5. Memory that clients can make the node hold is bounded: request frames by queued.max.request.bytes; what
//     they are decoded to and the responses not yet sent by queued.max.response.bytes, but for one request
//     that may pass each; what is being inflated by the inflaters; and some 300 KiB per busy connection. Other
//     nodes have a quarter of both besides, and wait behind no client's work: who floods a node does not cut it off.
//  6. Whatever a connection was promised while it is open is delivered in order or the connection closes.
//  7. A client is refused or cut off with an error of Kafka's, or with one line in the log that names it, the
//     cause and the fix (complaint.go). Lines are limited per cause; what is left out is counted and told.
//
// Deliberately absent: any decision about users' data. If a rule about topics, offsets, versions or
// durability seems to belong here, it belongs in the core, where the simulator sees it.
//
// Start with node.go (wiring), then loop.go, storage.go and connection.go. What protects the node from clients is
// in admission.go, budget.go, inflaters.go, janitor.go, sniff.go and turnstile.go; docs/SECURITY.md has the table.
package node
