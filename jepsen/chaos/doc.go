// Package chaos breaks a cluster while it works, and keeps account of what it had promised.
//
//	nemesis ──kill, pause, cut──► cluster (processes, cut-able network)
//	                                │  ▲
//	ledger ◄──read── consumer ◄─────┘  └── producer ──sent, acked──► ledger, gaps
//
// Input: the binary, a directory, a time and a seed. Output: a Report.
//
// One fault at a time hits one node, or the connection between two, and is always mended; the next one comes when every
// partition has all of its replicas in sync again. So a majority is there all the time, of the voters and of the replicas of
// every partition, and nothing may be lost, nothing be written twice, and no partition be silent for long. The producer is an
// idempotent one, with acks=all; it and the consumer are weir's own Go client with its defaults.
//
// What is checked, by jepsen/ledger: every acknowledged record is read once, in order, at the offset acknowledged, by a
// consumer that reads along, and again by one that begins anew in the end. Records hold what was sent. A member of a group, which
// commits, is given every one at least once, none again that it had and kept, and is never without any for long.
//
// A gap is the time between two acknowledgements in one partition. It is charged to the fault that began last before it
// ended. Under a load of one record in some milliseconds a gap is what a client sees of a failover.
//
// The seed fixes the faults, their order and their lengths, and what is sent, not how the operating system schedules: a
// seed repeats a kind of run, not a run. Deliberately absent: power failure and disks, which are the simulator's; faults of two
// nodes at once.
package chaos
