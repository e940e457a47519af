// Package consumer reads records: of partitions that the caller names, or as a member of a group, which
// divides the partitions among its members.
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
//
// A member of a group calls Poll (or iterates) again and again: that is when it commits what earlier Polls
// returned, and lets go of partitions that the group wants back. So a record counts as processed when the next
// Poll is called, each is processed at least once, and after a crash those since the last commit are read
// again. Heartbeats do not depend on Poll. What a Poll did not return, or Unread gave back, is never committed.
//
//	c, err := consumer.New(cl, consumer.WithGroup("billing"), consumer.WithTopics("orders"))
package consumer
