package link

import (
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// speaks are the versions of each request that the link can send.
var speaks = [...]struct {
	key      protocol.Key
	min, max int16
}{
	{protocol.KeyFetch, 17, 18},
	{protocol.KeyCreateTopics, 7, 7},
	{protocol.KeyAlterPartition, 3, 3},
	{protocol.KeyEnvelope, 0, 0},
	{protocol.KeyFetchSnapshot, 1, 1},
	{protocol.KeyBrokerRegistration, 4, 4},
	{protocol.KeyBrokerHeartbeat, 1, 2},
	{protocol.KeyAllocateProducerIDs, 0, 0},
	{protocol.KeyQuorumMessages, 0, 0},
	{protocol.KeyDamagedReplicas, 0, 0},
}

// version is the highest version of a request that both nodes speak.
func (l *Link) version(key protocol.Key) (version int16, known bool) {
	theirs := l.versions[key.Place()]
	for _, ours := range speaks {
		if ours.key == key {
			version = min(ours.max, theirs.max)
			return version, theirs.known && version >= max(ours.min, theirs.min)
		}
	}
	return 0, false
}

// sizeOf is about how many bytes a call takes, waiting or sent.
func sizeOf(body effect.CallBody) int {
	const partBytes = 96
	switch body := body.(type) {
	case *effect.ReplicaFetch:
		return partBytes * (1 + len(body.Parts) + len(body.Forget))
	case *effect.AlterPartition:
		n := partBytes
		for i := range body.Parts {
			n += partBytes + 16*len(body.Parts[i].ISR)
		}
		return n
	case *effect.QuorumMessages:
		n := partBytes
		for _, m := range body.Messages {
			n += 8 + len(m)
		}
		return n
	case *effect.ReportDamaged:
		return partBytes * (1 + len(body.Parts))
	case *effect.Forward:
		return partBytes + len(body.Request)
	case *effect.CreateMissing:
		n := partBytes
		for _, name := range body.Names {
			n += partBytes + len(name)
		}
		return n
	case *effect.RegisterBroker, *effect.HeartbeatBroker, *effect.AllocateProducerIDs, *effect.FetchImage:
		return 4 * partBytes
	}
	return partBytes
}

// encode is the request that a call makes.
func (l *Link) encode(body effect.CallBody) protocol.Message {
	switch body := body.(type) {
	case *effect.ReplicaFetch:
		return l.encodeReplicaFetch(body)
	case *effect.AlterPartition:
		return encodeAlterPartition(body)
	case *effect.RegisterBroker:
		return encodeRegisterBroker(body)
	case *effect.HeartbeatBroker:
		m := protocol.NewRequest(protocol.KeyBrokerHeartbeat).(*protocol.BrokerHeartbeatRequest)
		m.BrokerID, m.BrokerEpoch, m.CurrentMetadataOffset = int32(body.Broker), int64(body.BrokerEpoch), int64(body.MetadataOffset)
		m.WantFence, m.WantShutDown = body.WantFence, body.WantShutdown
		for _, id := range body.OfflineDirectories {
			m.OfflineLogDirs = append(m.OfflineLogDirs, id)
		}
		return m
	case *effect.AllocateProducerIDs:
		m := protocol.NewRequest(protocol.KeyAllocateProducerIDs).(*protocol.AllocateProducerIDsRequest)
		m.BrokerID, m.BrokerEpoch = int32(body.Broker), int64(body.BrokerEpoch)
		return m
	case *effect.QuorumMessages:
		m := protocol.NewRequest(protocol.KeyQuorumMessages).(*protocol.QuorumMessagesRequest)
		m.From, m.To = int64(body.From), int64(body.To)
		for _, b := range body.Messages {
			protocol.Add(&m.Messages).Data.Bytes = b
		}
		return m
	case *effect.ReportDamaged:
		return encodeReportDamaged(body)
	case *effect.Forward:
		m := protocol.NewRequest(protocol.KeyEnvelope).(*protocol.EnvelopeRequest)
		m.RequestData, m.RequestPrincipal, m.ClientHostAddress = body.Request, body.Principal, body.ClientAddress
		return m
	case *effect.FetchImage:
		return encodeFetchImage(body)
	case *effect.CreateMissing:
		m := protocol.NewRequest(protocol.KeyCreateTopics).(*protocol.CreateTopicsRequest)
		m.TimeoutMs = milliseconds(body.Timeout)
		for _, name := range body.Names {
			t := protocol.Add(&m.Topics)
			t.Name, t.NumPartitions, t.ReplicationFactor = name, -1, -1
		}
		return m
	}
	invariant.Checkf(false, "a call of unknown kind: %T", body)
	return nil
}

// milliseconds is a time as requests have it.
func milliseconds(t model.Time) int32 { return int32(min(max(0, t/1e6), 1<<31-1)) }

func (l *Link) encodeReplicaFetch(body *effect.ReplicaFetch) protocol.Message {
	const partsKeptMax = 1024
	m := &l.fetch
	if m.Default(); cap(m.Topics) > partsKeptMax {
		*m = protocol.FetchRequest{}
		m.Default()
	}
	if body.ClusterID != "" {
		m.ClusterID = protocol.String(body.ClusterID)
	}
	m.ReplicaState.ReplicaID, m.ReplicaState.ReplicaEpoch = int32(body.Replica), int64(body.BrokerEpoch)
	m.MaxWaitMs, m.MinBytes, m.MaxBytes = milliseconds(body.WaitMax), body.BytesMin, body.BytesMax
	m.SessionID, m.SessionEpoch = body.SessionID, body.SessionEpoch
	for i := range body.Parts {
		p := &body.Parts[i]
		if n := len(m.Topics); n == 0 || m.Topics[n-1].TopicID != [16]byte(p.Partition.Topic) {
			protocol.Add(&m.Topics).TopicID = [16]byte(p.Partition.Topic)
		}
		to := protocol.Add(&m.Topics[len(m.Topics)-1].Partitions)
		to.Partition, to.CurrentLeaderEpoch, to.FetchOffset = int32(p.Partition.Partition), int32(p.CurrentLeaderEpoch), int64(p.Offset)
		to.LastFetchedEpoch, to.LogStartOffset, to.PartitionMaxBytes = int32(p.LastFetchedEpoch), int64(p.LogStartOffset), p.BytesMax
		to.ReplicaDirectoryID, to.HighWatermark = p.Directory, int64(p.HighWatermark)
	}
	for _, p := range body.Forget {
		if n := len(m.ForgottenTopicsData); n == 0 || m.ForgottenTopicsData[n-1].TopicID != [16]byte(p.Topic) {
			protocol.Add(&m.ForgottenTopicsData).TopicID = [16]byte(p.Topic)
		}
		to := &m.ForgottenTopicsData[len(m.ForgottenTopicsData)-1]
		to.Partitions = append(to.Partitions, int32(p.Partition))
	}
	return m
}

func encodeAlterPartition(body *effect.AlterPartition) protocol.Message {
	m := protocol.NewRequest(protocol.KeyAlterPartition).(*protocol.AlterPartitionRequest)
	m.BrokerID, m.BrokerEpoch = int32(body.Broker), int64(body.BrokerEpoch)
	for i := range body.Parts {
		p := &body.Parts[i]
		if n := len(m.Topics); n == 0 || m.Topics[n-1].TopicID != [16]byte(p.Partition.Topic) {
			protocol.Add(&m.Topics).TopicID = [16]byte(p.Partition.Topic)
		}
		to := protocol.Add(&m.Topics[len(m.Topics)-1].Partitions)
		to.PartitionIndex, to.LeaderEpoch, to.PartitionEpoch = int32(p.Partition.Partition), int32(p.LeaderEpoch), int32(p.PartitionEpoch)
		if p.Recovering {
			to.LeaderRecoveryState = recovering
		}
		for _, s := range p.ISR {
			b := protocol.Add(&to.NewIsrWithEpochs)
			b.BrokerID, b.BrokerEpoch = int32(s.Broker), int64(s.BrokerEpoch)
		}
	}
	return m
}

func encodeReportDamaged(body *effect.ReportDamaged) protocol.Message {
	m := protocol.NewRequest(protocol.KeyDamagedReplicas).(*protocol.DamagedReplicasRequest)
	m.BrokerID, m.BrokerEpoch = int32(body.Broker), int64(body.BrokerEpoch)
	for _, p := range body.Parts {
		if n := len(m.Topics); n == 0 || m.Topics[n-1].TopicID != [16]byte(p.Partition.Topic) {
			protocol.Add(&m.Topics).TopicID = [16]byte(p.Partition.Topic)
		}
		to := protocol.Add(&m.Topics[len(m.Topics)-1].Partitions)
		to.PartitionIndex, to.LeaderEpoch = int32(p.Partition.Partition), int32(p.LeaderEpoch)
	}
	return m
}

// recovering is Kafka's number of a leader that was elected uncleanly and has not repaired its log (KIP-704).
const recovering = 1

func encodeRegisterBroker(body *effect.RegisterBroker) protocol.Message {
	m := protocol.NewRequest(protocol.KeyBrokerRegistration).(*protocol.BrokerRegistrationRequest)
	m.BrokerID, m.ClusterID, m.IncarnationID = int32(body.Broker), body.ClusterID, body.Incarnation
	m.PreviousBrokerEpoch = int64(body.PreviousBrokerEpoch)
	if body.Rack != "" {
		m.Rack = protocol.String(body.Rack)
	}
	for _, l := range body.Listeners {
		to := protocol.Add(&m.Listeners)
		to.Name, to.Host, to.Port, to.SecurityProtocol = l.Name, l.Host, uint16(l.Port), l.Security
	}
	for _, f := range body.Features {
		to := protocol.Add(&m.Features)
		to.Name, to.MinSupportedVersion, to.MaxSupportedVersion = f.Name, f.LevelMin, f.LevelMax
	}
	for _, id := range body.Directories {
		m.LogDirs = append(m.LogDirs, id)
	}
	return m
}

// metadataTopic is the name of the metadata log in the one request that has no topic ids.
const metadataTopic = "__cluster_metadata"

func encodeFetchImage(body *effect.FetchImage) protocol.Message {
	m := protocol.NewRequest(protocol.KeyFetchSnapshot).(*protocol.FetchSnapshotRequest)
	m.ReplicaID, m.MaxBytes = int32(body.Replica), body.BytesMax
	if body.ClusterID != "" {
		m.ClusterID = protocol.String(body.ClusterID)
	}
	topic := protocol.Add(&m.Topics)
	topic.Name = metadataTopic
	p := protocol.Add(&topic.Partitions)
	p.Partition, p.CurrentLeaderEpoch, p.Position = int32(body.Partition), int32(body.CurrentLeaderEpoch), body.Position
	p.SnapshotID.EndOffset, p.SnapshotID.Epoch = int64(body.ID.EndOffset), int32(body.ID.Epoch)
	return m
}
