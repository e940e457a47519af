package effect

// What another node is answered is what its call is answered: see call.go.

func (*PartitionsAltered) body()       {}
func (*BrokerRegistered) body()        {}
func (*BrokerHeartbeatAnswered) body() {}
func (*ProducerIDsAllocated) body()    {}
func (*DamagedReported) body()         {}
func (*QuorumMessagesTaken) body()     {}
func (*ImageFetched) body()            {}

// Forwarded as a reply is the controller's own answer to a client's request that was forwarded: its Response goes to
// the client as it is. It has no Code then: who cannot forward answers for itself. Without a Response the controller may have decided.
func (*Forwarded) body() {}
