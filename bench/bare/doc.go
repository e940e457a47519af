// Package bare is what the machine does without a broker: appends and syncs, and bytes over TCP, TLS, QUIC and by
// sendfile. Its figures are what a broker's are held against, taken in the same run.
//
//	sync        4 KiB into a file written before, then fdatasync, one after the other: latency
//	sync-grow   the same at the end of a growing file
//	append      1 MiB appends, each followed by fdatasync: throughput
//	write       1 MiB appends without sync
//	read        a file's bytes from disk, the page cache having been told to forget them
//	tcp, tls, quic   one connection (QUIC: one stream) of 1 MiB writes to a server that reads them
//	sendfile    a server sends a file's cached bytes, 1 MiB a call
//	rtt         200 bytes there and back over TCP
//
// The first five need no server; the others have one, in a process of its own: Serve. Drivers run as package
// drive's do, with the same lines and result on stdout.
package bare
