// Package client holds what weir's producer, consumer and admin clients share: how to reach a cluster, and
// what their errors mean. It works with any cluster that speaks Kafka's protocol, from Kafka 0.11 on.
//
//	c, err := client.New([]string{"localhost:9092"}, client.WithID("billing"))
//	p, err := producer.New(c)
//
// A Client is a description, not a connection: making one does no I/O, it needs no Close, and any
// number of producers, consumers and admins can be made from it. Each has connections of its own.
//
// Errors are *Error. They unwrap to a sentinel of this package that says how the operation ended, and
// to the Kafka error that caused it, where there is one:
//
//	errors.Is(err, client.ErrTimedOut)
//	errors.Is(err, kerr.TopicAuthorizationFailed)
//	client.Definite(err) // it certainly did not happen
package client
