// Package scale runs clusters of a thousand nodes in one process, to see what grows faster than it should.
//
// The nodes are the real machine of the loop, core/broker, with all that is in it: voters, controller, placement, fetchers,
// proposals. What is left out is what costs memory and shows nothing here: codecs and connections (a call's body is handed to
// the other node as it is), disks (appends are durable after a while; voters have the real storage engine over a disk in
// memory, so that they can be started again), and records: partitions are empty.
//
//	Step ──► effects ──► Call ───── latency ────► event at the other node
//	                     Reply, Read ── latency ──► Answered
//	                     Append ──── sync ──────► Completed
//
// Every step of a node takes some time on its one loop, so a controller that is asked by everybody has a queue. Nodes share
// images of the metadata (metadata.Memo), which never change.
//
// Input: how many brokers, voters, racks, partitions. Output: a Report of phases: brokers register, partitions are created,
// the power fails everywhere and comes back, a rack is lost and comes back. For each, the simulated time until all is well
// and what it took: events, calls between nodes, bytes of the controller's log, memory.
//
// The run is decided by its options: twice the same gives the same figures, but for the time and memory of the machine.
package scale
