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
// Input: a config.Config. Output: a running broker, its addresses, and at most one fatal error.
//
// Goroutines: one loop; one for storage; one each for the journal's and the checkpoint's syncs; two per
// connection; one per listener. None per request, none per partition.
//
// Invariants:
//
//  1. Only the loop calls broker.Step and broker.Tick, and only the storage goroutine calls the engine;
//     each machine therefore lives in one goroutine.
//  2. The time handed to the core never goes backwards and is never 0.
//  3. Whatever waits when the disk is free is made durable by the next sync: there is no timer.
//  4. A failed sync ends the node: Failed is closed, nothing more is acknowledged, and the process must
//     exit with an error.
//  5. Memory that clients can make the node hold is bounded: requests by queued.max.request.bytes, what a
//     connection may have in flight by its own limits, responses by what is in flight.
//  6. Whatever a connection was promised while it is open is delivered in order or the connection closes.
//
// Deliberately absent: any decision about users' data. If a rule about topics, offsets, versions or
// durability seems to belong here, it belongs in the core, where the simulator sees it.
//
// Start with node.go (wiring), then loop.go, storage.go and connection.go.
package node
