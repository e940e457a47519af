// Package cluster runs several nodes as processes of their own, for tests from outside, with a network between them that
// can be cut; or, for measurements, with nothing between them.
//
//	          ┌── node 1 ◄──┐                      each node listens for clients at an address of its own, and for the
//	clients ──┼── node 2 ◄──┼── Network ◄── nodes  others behind a TCP proxy, which asks who calls: the first request on
//	          └── node 3 ◄──┘                      a connection between nodes names both
//
// Input: the binary and a directory. Each node gets a configuration file, a data directory and a log there; the files
// are written anew at each New, so a directory can be used again.
//
// What can be done to a node: Kill (SIGKILL), Stop (SIGTERM), Pause and Resume (SIGSTOP, SIGCONT), Start again. What can be
// done to the network: Cut any direction between any two nodes, Heal. Clients always reach every node that runs: a leader
// that is cut off from the others and not from its clients is the harder case.
//
// Over QUIC nobody can see who calls, so there is nothing to cut: nodes reach each other directly.
//
// A cut holds bytes back, as a network does that loses packets and a TCP that sends them again: connections stay open, and
// what was under way arrives after Heal, unless an end has given up. A connection that is dialled across a cut is accepted
// and hears nothing, where a real one would not be accepted.
package cluster
