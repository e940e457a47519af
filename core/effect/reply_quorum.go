package effect

import "github.com/weirmq/weir/core/model"

// QuorumDescribed answers who keeps the metadata log, and how far each has it.
type QuorumDescribed struct {
	Code        int16
	Message     string
	Leader      model.NodeID
	LeaderEpoch model.LeaderEpoch
	// HighWatermark is where what is committed ends.
	HighWatermark     model.Offset
	Voters, Observers []QuorumMember
	Nodes             []QuorumNode // of the voters
}

// QuorumMember is a node that has the metadata log or follows it.
type QuorumMember struct {
	Node         model.NodeID
	Directory    model.DirectoryID // zero: not known
	LogEndOffset model.Offset
	// HeardAt is when it was last heard, and CaughtUpAt when it last had everything; NoTimestamp: not since this leader leads.
	HeardAt, CaughtUpAt model.Timestamp
}

// QuorumNode is where a voter is reached by other nodes.
type QuorumNode struct {
	Node    model.NodeID
	Address Address
}

// VotersChanged answers a request for a change of the voters.
type VotersChanged struct {
	Code    int16
	Message string
}

func (*QuorumDescribed) body() {}
func (*VotersChanged) body()   {}
