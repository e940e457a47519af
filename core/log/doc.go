// Package log is one partition's bookkeeping: which offsets its log holds, which leader epochs wrote
// them, and what its idempotent producers wrote last.
//
// It knows headers, not bytes, and neither leaders nor files. Two parts of the core keep a State of the
// same log and reach the same answers because both call Apply with the same batches:
//
//	replica  (in the loop)      everything decided, durable or not: gives out offsets, recognises retries
//	storage  (beside the disk)  everything written: snapshots it at checkpoints, rebuilds it on recovery
//
// Decide, then apply: CheckSequence decides and changes nothing; Apply changes and decides nothing.
//
// Invariants:
//
//  1. startOffset <= endOffset; the end goes back by Truncate only, and the start with it.
//  2. Leader epochs ascend, and so do the offsets where they start.
//  3. A producer remembers between one and five batches, in offset order, all below endOffset.
//  4. A State is a function of the batches applied and not truncated, the start offset, and the calls of Expire:
//     after Truncate, once the producers that it names were learnt again.
//
// Deliberately absent: the high watermark (replica), file positions (storage), open transactions and the
// last stable offset (they arrive with the transaction coordinator; until then no batch is transactional
// and the last stable offset is the high watermark).
package log
