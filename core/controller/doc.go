// Package controller decides what changes in the cluster's metadata (core/metadata): which topics are made and
// deleted, with which partitions and configuration, and which producer ids are given out.
//
// Every change is decided, written as metadata records (Kafka's own, so that Kafka's tools read our
// metadata log), made durable, and only then applied to the image and answered:
//
//	request ──► queued ──► decided: records ──► appended ──► durable: Apply to Image ──► reply
//	               ▲                                                 │
//	               └──────────── the next turn decides ◄─────────────┘
//
// One append is under way at a time. Whatever was asked meanwhile is decided together in the next turn,
// against an image that holds everything durable, so a decision never rests on what may be lost. Two
// requests of one turn that touch the same topic name are kept apart: the second waits for a turn of its own.
//
// Inputs: Create, Delete, Allocate, Ensure (auto-creation), Appended. Outputs: effect.Append on the
// metadata log, outcomes in Done.
//
// Invariants:
//
//  1. The image is a function of the metadata log: loading the log calls the same Apply.
//  2. A name has at most one topic, and an id names one topic for ever (KIP-516).
//  3. No producer id is given out twice, whatever crashes: a block is durable before its first id is used.
//  4. Nothing is answered that is not durable.
//
// Deliberately absent: a quorum (this machine is the only voter for now; the log under it becomes raft's),
// placement over several nodes, metadata snapshots.
package controller
