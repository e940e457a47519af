// Package producer writes records to topics.
//
//	p, err := producer.New(c)                                   // c is a *client.Client
//	res, err := p.Produce(ctx, producer.Record{Topic: "orders", Key: key, Value: value})  // waits
//	err = p.ProduceAsync(ctx, record, func(res producer.Result, err error) { ... })       // does not
//	err = p.Flush(ctx)
//	err = p.Close(ctx)                                          // flushes first
//
// Every record that was taken has exactly one outcome: its offset, or an error that says with
// client.Definite whether the record is certainly not written. By default the producer is idempotent: the
// records of a partition are written once and in the order in which they were taken, whatever has to
// be retried. Records are batched per partition, so throughput comes from ProduceAsync: Produce waits
// for the batch of its record, which lingers for company first (WithLinger).
//
// Memory is bounded by WithBufferBytes. When the buffer is full ProduceAsync waits for room, or for its
// context, and TryProduce refuses.
package producer
