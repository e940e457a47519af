// Command bench runs weir beside the brokers it is compared with and beside what the machine can do at all, and
// writes one table and one page.
//
//	make compare                                     everything: weir, Kafka, NATS, the floor program, bare loops
//	make compare ARGS='--only "produce raw"'         some of it
//	go run ./bench --quick                           a minute, weir and the floor program only
//
// It starts every broker itself on free ports of loopback and ends it by its id. Clients are processes of their own
// (drive, bare, and the peers' own). Bars that the design sets are gone through at the end of the page, met or not.
//
// How figures are made:
//
//  1. Rounds are interleaved: every cell (a workload on a system) once, then all again. The table shows medians.
//  2. A cell has a topic of its own, deleted afterwards; dirty pages of the cell before are written out before it
//     starts, and it waits for a quiet moment of the machine.
//  3. Broker CPU is the broker process's user and system time within the driver's window. What the kernel's threads
//     do for a broker is nobody's: it is shown as foreign.
//  4. Nothing is skipped silently: what cannot be measured is an error before the first figure, and what fails
//     is in the table as failed and in the exit code.
//  5. Time, bytes and disk space are bounded, and known before it starts.
//
// Start with plan.go (what is measured), runner.go (how), bars.go (what it must come to).
package main
