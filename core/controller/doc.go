// Package controller decides what changes in the cluster's metadata (core/metadata): which topics are made and
// deleted and with which configuration, where replicas are and who of them leads and is in sync, which brokers are
// counted on, and which producer ids are given out.
//
// There is one on every voter, and the one on the quorum's leader decides. Every change is written as metadata records
// (Kafka's own, so that Kafka's tools read our metadata log), committed by the quorum, and only then answered:
//
//	request ──► queued ──► decided: records ──► the quorum ──► committed, applied to the image ──► reply
//	               ▲        (Take)                                  │ (Applied, Committed)
//	               └──────────── the next turn decides ◄────────────┘
//
// One turn is under way at a time: it is one batch of the metadata log, committed as a whole or not at all. Whatever was
// asked meanwhile is decided together in the next. Each request of a turn is decided against a draft of the metadata that
// has what those before it decided, so two of them may be about the same topic.
//
// Inputs: Lead and Resign; the requests (Create, Delete, Ensure, Extend, Alter, Reassign, ListReassignments, ElectLeaders,
// Register, Unregister, Heartbeat, AlterPartition, ReportDamaged, AllocateProducerIDs); Take, Applied and Committed; time. Outputs: a
// batch from Take, replies, notes and marks.
//
// Invariants:
//
//  1. Only the leader of the quorum decides, and from an image of everything that was committed before it led.
//  2. A name has at most one topic, and an id names one topic for ever (KIP-516).
//  3. No producer id is given out twice, whatever crashes: a block is committed before its first id is used.
//  4. Nothing is answered as done that is not committed. A request that was queued or decided when the leadership ended
//     is answered NOT_CONTROLLER, which says that it may have come to pass or not.
//  5. A partition is led by a replica that has everything that was committed: from the ISR, or the ELR (KIP-966), unless
//     the topic or an operator asks for another.
//     A replica that its broker cannot read is neither, as soon as somebody else leads.
//  6. A reassignment is part of the partition's record: whoever is the controller carries it on.
//
// Deliberately absent: the image itself and how it is kept (core/metadata), agreement (core/quorum), the log on disk
// (core/metalog), how requests get here (core/broker).
package controller
