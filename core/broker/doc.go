// Package broker composes the machines of one loop: it routes what happens to the replica, the
// controller or the parked request that it concerns, owns their deadlines, and knows none of their rules.
//
// Inputs are Events (event.go lists them all), outputs are effects. One goroutine in production, one
// event handler in simulation, calls Step and Tick; nothing in here waits.
//
//	session ──Event──► Step ──► replica / controller / fetch ──► effect.Set
//	storage ─Completed─►      │
//	                          └──► Published: what sessions answer from without asking
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
//
// Deliberately absent: descriptions of the cluster, versions and encoding (session), bytes on disk (storage), rules of a partition
// (replica), rules of topics (controller).
package broker
