// Command bench measures a weir node as users meet it, beside what the machine's disk can do, in one run.
//
//	go run ./bench --weir bin/weir                 everything, medians of five interleaved rounds
//	go run ./bench --weir bin/weir --rounds 1      a quick look
//
// It starts nodes of its own on free ports with a data directory of its own, and prints a Markdown table
// and one JSON line per measurement. Every row names its transport and driver:
//
//	kgo    franz-go, a full client: idempotent, acks=all, linger 5 ms. The client takes most of the CPU.
//	raw    prepared batches replayed over one or more connections, so cheap that the broker is the limit.
//	bare   no broker: a loop of appends and fdatasync on the same file system, in the same minutes.
//
// Broker CPU is the node's own user and system time, read before and after.
//
// Absolute figures of shared machines mean little; compare rows of one run. What the ratios must be is in
// the design's table of goals.
package main
