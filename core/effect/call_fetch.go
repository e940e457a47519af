package effect

import (
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// ReplicaFetch asks a leader for the records behind what a follower has. It is answered by ReplicaFetched.
type ReplicaFetch struct {
	Replica     model.NodeID // who asks
	BrokerEpoch model.BrokerEpoch
	ClusterID   string     // empty: not to be checked
	WaitMax     model.Time // how long the leader may wait for BytesMin
	BytesMin    int32
	BytesMax    int32
	// SessionID and SessionEpoch are those of KIP-227: epoch 0 would like a session, -1 wants none, any other goes on
	// with one. Parts are then those that changed, and Forget those that are not wanted any more.
	SessionID, SessionEpoch int32
	Parts                   []ReplicaFetchPart // parts of one topic stand together
	Forget                  []model.TopicPartition
}

// ReplicaFetchPart is one partition of a ReplicaFetch.
type ReplicaFetchPart struct {
	Partition          model.TopicPartition
	CurrentLeaderEpoch model.LeaderEpoch
	// Offset is where the follower's durable log ends, and LastFetchedEpoch the epoch of the record before it, for the
	// leader to find out whether the two logs part there (KIP-595).
	Offset           model.Offset
	LastFetchedEpoch model.LeaderEpoch
	LogStartOffset   model.Offset
	// Directory is the follower's data directory; zero if it is not told (KIP-853).
	Directory model.DirectoryID
	// HighWatermark is how far the follower knows the log to be committed, HighWatermarkUnknown if it is not to be
	// told of its progress before there are records (KIP-1166).
	HighWatermark model.Offset
	BytesMax      int32
}

// HighWatermarkUnknown in a ReplicaFetchPart is the protocol's default: the leader answers as if the follower knew.
const HighWatermarkUnknown model.Offset = 1<<63 - 1

// ReplicaFetched answers ReplicaFetch. With a Code there are no parts.
type ReplicaFetched struct {
	Code      int16
	SessionID int32
	// Parts are those of the request or, in a session that goes on, those about which there is something to tell.
	Parts []ReplicaFetchedPart
}

// ReplicaFetchedPart is one partition of a ReplicaFetched.
type ReplicaFetchedPart struct {
	Partition model.TopicPartition
	// Code is the leader's, or CORRUPT_MESSAGE if already the first batch that it sent is not sound. Detail says more
	// in that case, and when sound batches were followed by something else, which was left out.
	Code             int16
	Detail           string
	HighWatermark    model.Offset
	LastStableOffset model.Offset
	LogStartOffset   model.Offset
	// Diverging, unless its epoch is NoLeaderEpoch, is the end of the last epoch that both logs may have in common.
	Diverging DivergingEpoch
	// Leader and LeaderEpoch are who leads, if the leader says so; else NoNode and NoLeaderEpoch.
	Leader      model.NodeID
	LeaderEpoch model.LeaderEpoch
	// Image, unless it is NoImage, is to be fetched instead of records, which are gone.
	Image ImageID
	// Batches follow each other without a gap, the first at the offset that was asked for, if the request named the
	// partition. Their checksums are right and their headers sound; the records in them have not been looked at. They
	// are slices of the frame that they came in.
	Batches []FetchedBatch
}

// DivergingEpoch is where an epoch ends in the leader's log.
type DivergingEpoch struct {
	Epoch     model.LeaderEpoch
	EndOffset model.Offset
}

// FetchedBatch is one record batch.
type FetchedBatch struct {
	Header record.Header
	Batch  []byte
}
