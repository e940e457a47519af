package broker

import "github.com/weirmq/weir/core/effect"

// What nodes ask of each other. Ask is what the caller put into its effect.Call.

// AlterPartition asks the controller to commit who is in sync. It is answered by one effect.PartitionsAltered.
type AlterPartition struct {
	To  effect.RequestID
	Ask effect.AlterPartition
}

// RegisterBroker asks the controller to register a broker. It is answered by one effect.BrokerRegistered.
type RegisterBroker struct {
	To  effect.RequestID
	Ask effect.RegisterBroker
}

// BrokerHeartbeat tells the controller that a broker lives. It is answered by one effect.BrokerHeartbeatAnswered.
type BrokerHeartbeat struct {
	To  effect.RequestID
	Ask effect.HeartbeatBroker
}

// AllocateProducerIDs asks the controller for a block of producer ids. It is answered by one
// effect.ProducerIDsAllocated.
type AllocateProducerIDs struct {
	To  effect.RequestID
	Ask effect.AllocateProducerIDs
}

// CreateMissing asks the controller for topics that clients of another broker want, those of the cluster's own among them. It is answered by
// one effect.TopicsCreated.
type CreateMissing struct {
	To  effect.RequestID
	Ask effect.CreateMissing
}

// ReportDamaged tells the controller which replicas a broker cannot serve. It is answered by one effect.DamagedReported.
type ReportDamaged struct {
	To  effect.RequestID
	Ask effect.ReportDamaged
}

// QuorumMessages brings another voter's messages, at least one. It is answered by one effect.QuorumMessagesTaken. The
// messages are slices of the frame they came in.
type QuorumMessages struct {
	To  effect.RequestID
	Ask effect.QuorumMessages
}

// FetchImage asks for a piece of an image of the metadata log. It is answered by one effect.ImageFetched.
type FetchImage struct {
	To  effect.RequestID
	Ask effect.FetchImage
}

// Leave says that this node is about to stop: what it leads is to be led elsewhere first. Left tells when it may go.
type Leave struct{}

// Answered brings what became of an effect.Call.
type Answered struct{ effect.Answer }

func (*AlterPartition) event()      {}
func (*RegisterBroker) event()      {}
func (*BrokerHeartbeat) event()     {}
func (*AllocateProducerIDs) event() {}
func (*CreateMissing) event()       {}
func (*ReportDamaged) event()       {}
func (*QuorumMessages) event()      {}
func (*FetchImage) event()          {}
func (*Leave) event()               {}
func (*Answered) event()            {}

// Origin is where a request comes from that the controller decides. Who is not the controller forwards Frame to it
// (effect.Forward), and gives the client the answer as it comes: an effect.Forwarded is a reply to any of these.
type Origin struct {
	// Frame is the client's request as it came, header included and without the length; nil if another node has
	// forwarded it, for then it is decided here or not at all.
	Frame []byte
	// Principal and ClientAddress are of the client, as effect.Forward has them.
	Principal, ClientAddress []byte
}

// Forwarded reports whether another node has forwarded the request.
func (o *Origin) Forwarded() bool { return o.Frame == nil }
