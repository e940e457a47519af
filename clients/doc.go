// Package clients is the Go client for weir and every other cluster that speaks Kafka's protocol:
//
//	client    how to reach a cluster, and what errors mean; the others are made from it
//	producer  writes records: idempotent, batched, with one outcome per record
//	consumer  reads partitions, from anywhere or as a member of a group, by Poll or by an iterator
//	admin     topics, settings, groups, offsets, the cluster
//
// What decides is in core/client: machines without I/O, which the simulator tests under every fault it
// knows. These packages give them goroutines, connections and an API. This package itself is empty.
package clients
