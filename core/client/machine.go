package client

import "github.com/weirmq/weir/core/model"

// Machine is what a driver needs to know of Producer, Consumer and Admin alike.
type Machine interface {
	// Connected says that a Dial succeeded.
	Connected(now model.Time, id ConnID, out *Out)
	// Received hands over one response frame, without its length prefix, for good.
	Received(now model.Time, id ConnID, frame []byte, out *Out)
	// Disconnected says that a connection failed or that a Dial did. The driver has stopped reading what
	// it was given to write.
	Disconnected(now model.Time, id ConnID, detail string, out *Out)
	// Written says that the connection's oldest frame with Send.Report has been written.
	Written(now model.Time, id ConnID, out *Out)
	// Tick does what is due.
	Tick(now model.Time, out *Out)
	// Deadline is when Tick has something to do; 0 is never.
	Deadline() model.Time
	// Close ends the machine; what was under way fails with Closed.
	Close(now model.Time, out *Out)
	// Check verifies what must hold between inputs; it walks everything.
	Check() error
}

var (
	_ Machine = (*Producer)(nil)
	_ Machine = (*Consumer)(nil)
	_ Machine = (*Admin)(nil)
	_ Machine = (*GroupConsumer)(nil)
)
