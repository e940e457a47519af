// Package metadata is the image of the cluster: which topics exist, with which partitions and configuration, and
// which producer ids have been given out. It is data, made by applying the records of the metadata log (Kafka's
// own, so that Kafka's tools read our log); what is to change is decided in core/controller.
//
// Invariants:
//
//  1. The image is a function of the metadata log: loading the log and following it call the same Apply.
//  2. A name has at most one topic, and an id names one topic for ever (KIP-516).
//  3. What contradicts the image is an error, and never taken in by halves.
//
// Deliberately absent: decisions (core/controller), partitions' records (core/replica, core/storage).
package metadata
