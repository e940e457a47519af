// Package explain is the catalogue of what can go wrong, in words for people: a stable code, what it means,
// the usual cause, what to do. The command line prints from it, the node's log lines carry its codes, and
// docs/ERRORS.md is generated from it.
//
//	explain.Of(explain.DiskFull)      // an Entry
//	explain.Find("disk-full")         // what a user typed: a code of ours, or Kafka's by name or number
//	explain.KafkaByNumber(3)          // an error code of Kafka's protocol
//
// What holds:
//
//  1. Codes are stable: scripts compare them. A code may be added; none changes its meaning or goes away.
//  2. Every Code constant has exactly one entry with a title, a cause, a fix and where it appears, and every
//     entry has a constant. Tests hold that, and that every error code of Kafka has an entry.
//  3. Text here is general. What failed, on what, with which values, is said by whoever reports.
//
// Absent on purpose: which Go error means which code. That is for the program that sees the error.
package explain
