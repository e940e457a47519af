// Package consumer reads records of partitions that the caller names; it takes part in no group.
//
//	c, err := consumer.New(cl, consumer.WithTopics("orders"))       // cl is a *client.Client
//	for rec, err := range c.Records(ctx) {                            // record by record
//		...
//	}
//	batch, err := c.Poll(ctx)                                         // or what there is at once
//	err = c.Close()
//
// Records of a partition come in the order of their offsets, each once. Partitions are fetched ahead, up to
// WithBufferBytes, while the caller works on what it has; Pause stops that for one of them. A partition
// that cannot go on (it was deleted, access was denied, a record cannot be read) is halted: Poll says so
// with an error once, the others go on, and Seek revives it.
package consumer
