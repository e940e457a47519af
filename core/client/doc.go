// Package client holds the machines that speak to Kafka clusters as a client does: Producer, Consumer,
// GroupConsumer and Admin. They do no I/O. clients/ wraps them for users, with goroutines and sockets, and the simulator
// runs the very same machines, so that a client's bug is found like a broker's.
//
// A machine is stepped by inputs, each with the time and an Out to report into:
//
//	                  Produce, Poll, CreateTopics ...      (the user)
//	                                 │
//	Connected ─┐                     ▼                ┌─► Dials, Sends, Closes   (the network)
//	Received ──┼──────────────►   machine   ──────────┼─► Acks, Chunks, Events, Answers
//	Disconnected                     ▲                └─► Notes
//	                               Tick, at Deadline
//
// The driver carries out what Out asks for and resets it. Each Dial is answered by Connected, or by
// Disconnected; frames go to Received in the order in which they came, without length prefix. After a
// burst of user inputs the driver calls Tick, and again whenever Deadline has come. A deadline may lie
// in the past: there is something to do at once.
//
// What holds:
//
//  1. Every record that Produce took gets exactly one Ack. A failed one says whether the record is
//     certainly not written (Definite) or may be.
//  2. With idempotence (the default) a record is written at most once, and the records of one partition
//     are written in the order in which they were produced, whatever is lost, refused or repeated
//     on the way. Failed records leave no trace in the order of the others.
//  3. A consumer yields the records of a partition in the order of their offsets, each once between two
//     seeks, and none below its position.
//  4. Memory is bounded: what was produced and not acknowledged by BufferBytes, what was fetched and not
//     taken by BufferBytes and one answer per broker.
//  5. Bytes from brokers are never trusted: what is malformed closes the connection.
//  6. Equal inputs give equal outputs: the only randomness is Config.Seed's.
//
// Each machine has connections of its own: per broker one for records, and one somewhere for control
// requests, which must not wait behind a long fetch; a group's member has one more to its coordinator, where
// joining may wait for others. On each, versions are negotiated (KIP-511), and
// every request goes out in the newest version that both sides know; brokers since Kafka 0.11 serve.
//
// A leader that dies, freezes or is cut off is left as soon as the cluster has another. Who leads is asked again and again
// meanwhile: of another broker each time, since the one that was asked may be cut off and know nothing; of none that owes an
// answer, if there is any that does not; and a broker that was asked is not waited for long. What was sent to a leader is
// sent to the next one when the first has refused it or is given up, and nothing else of that partition before.
//
// Absent on purpose: the groups of KIP-848 (GroupConsumer speaks the classic protocol, as every broker and
// client does), transactions, fetch sessions, SASL, and every kind of waiting.
//
// Where to start: out.go for what comes out, producer.go and lane.go for the way of a record,
// consumer.go and fetch.go for the way back, groupconsumer.go for groups, errand.go for admin requests, cluster.go for what they share, retriable.go for what errors mean.
package client
