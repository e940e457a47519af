// Package broker composes the machines of one loop: it routes what happens to the replica, the voter, the controller, the
// coordinator or the parked request that it concerns, owns their deadlines, and knows none of their rules. It is also a
// node's part in its cluster: it registers and says that it lives (membership.go), follows the metadata (voter.go, or
// observer.go if it does not vote; images of it move in pieces, imaging.go), copies what it follows (fetcher.go), tells who is in sync with what it leads
// (propose.go), and stops serving when it is cut off (lease.go).
//
// Inputs are Events (event.go lists them all), outputs are effects. One goroutine in production, one
// event handler in simulation, calls Step and Tick; nothing in here waits.
//
//	session ──Event──► Step ──► replica / controller / fetch ──► effect.Set ──► storage, sessions
//	storage ─Completed─►      │                                          └──Call──► other nodes
//	link ────Answered──►      └──► Published: what sessions answer from without asking
//
// Invariants:
//
//  1. Every request is answered exactly once: a Produce with acks by one effect.Produced per part, a Fetch
//     by one effect.Read, everything else by one effect.Reply, unless its connection is gone.
//  2. A parked fetch is registered at every partition it waits for, and has a deadline: it always has a wake-up.
//  3. What a fetch session's client has not been told of a partition is in the session's queue.
//  4. Once the broker has caught up, partitions exist here exactly for those that the image gives this node.
//  5. now never goes backwards.
//  6. What is published after a step is what is so after that step, and never changes.
//  7. A call has one answer, and whoever asked is told once. What this node asks of itself goes the same way.
//  8. Metadata that comes from another node is taken in whole, or refused.
//
// Deliberately absent: descriptions of the cluster, versions and encoding (session), bytes on disk (storage), rules of a partition
// (replica), rules of topics (controller).
package broker
