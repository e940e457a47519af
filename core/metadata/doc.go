// Package metadata is the image of the cluster: which topics exist, with which partitions and settings, which brokers
// have registered, and which producer ids have been given out. It is data, made by applying the records of the
// metadata log (Kafka's own, so that Kafka's tools read our log); what is to change is decided in core/controller.
//
//	Image ──Apply(batch)──► next Image + Changes         one batch of the log: a turn of the controller
//	Image ──Edit()──► Draft ──Apply, Record...──► Seal(version) ──► Image + Changes      many batches: loading
//	Image ──Records()──► batches ──Draft──► the same Image                               a snapshot
//	Image ──NewView(node, static)──► View                what settings come to on one node
//
// An image is immutable and shares with its predecessor what did not change: topics are found in copy-on-write
// ordered maps, and a topic keeps its partitions in chunks. A batch costs what it changes times the depth of the
// maps, whatever the size of the cluster; a topic that many of its records are about is copied once.
//
// Invariants:
//
//  1. The image is a function of the metadata log up to its version: loading the log and following it call the same
//     Draft. It is the same on every node; only a View depends on which node looks.
//  2. An image never changes. Any goroutine may read any image at any time; one at a time makes the next of it.
//  3. A name has at most one topic, and an id names one topic (KIP-516).
//  4. Changes tell of everything that is different between the two images, once, with before and after.
//  5. What contradicts the image is an error, and never taken in by halves.
//  6. What Records writes gives an equal image, and equal images give the same bytes.
//
// Deliberately absent: decisions (core/controller), the log and its snapshots on disk (core/quorum, core/storage),
// what a node holds of a partition (core/replica).
package metadata
