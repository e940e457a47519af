package node

import (
	"crypto/rand"
	"encoding/binary"
	"net"
	"strconv"
	"time"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/metalog"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/storage"
)

func (n *Node) brokerConfig(identity storage.Identity) broker.Config {
	k := &n.config.Cluster
	c := broker.Config{
		ClusterID:              identity.ClusterID,
		Advertised:             n.advertised(identity),
		RetentionCheckInterval: model.Time(n.config.Topics.RetentionCheck),
		FetchSessionsMax:       int(n.config.Limits.FetchSessionsMax),
		LagTimeMax:             model.Time(k.LagMax),
		Controller: controller.Config{
			NodeID: identity.NodeID, ClusterID: identity.ClusterID,
			PartitionCountMax: n.config.Topics.PartitionsMax,
			Node: metadata.NodeConfig{
				ReplicationRateMax: metadata.NoRate, LeaderRateMax: metadata.NoRate,
				Topic: n.topicDefaults(), AutoCreateTopics: n.config.Topics.AutoCreate,
				PartitionCountDefault: n.config.Topics.Partitions,
				ProducerExpirationMs:  n.config.Topics.ProducerIDExpiration.Milliseconds(),
			},
			SessionTimeout:           model.Time(k.SessionTimeout),
			RebalanceInterval:        model.Time(k.RebalanceInterval),
			ReplicationFactorDefault: int16(k.ReplicationFactor),
			OffsetsPartitionCount:    n.config.Groups.OffsetsPartitions,
			OffsetsReplicationFactor: int16(n.config.Groups.OffsetsReplicationFactor),
			OffsetsSegmentBytes:      n.config.Groups.OffsetsSegmentBytes,
		},
		Groups: n.groupsConfig(),
		Membership: broker.MembershipConfig{
			Incarnation: n.sessions.Incarnation, Directory: model.DirectoryID(identity.DirectoryID), Rack: n.config.Rack,
			Listeners: n.registered(identity), HeartbeatInterval: model.Time(k.HeartbeatInterval),
		},
	}
	var seed [8]byte
	_, _ = rand.Read(seed[:]) // never fails: crypto/rand ends the process instead
	_, _ = rand.Read(c.Groups.IDSeed[:])
	_, _ = rand.Read(c.Controller.IDSeed[:])
	c.Quorum = broker.QuorumConfig{
		Directory: model.DirectoryID(identity.DirectoryID), Log: metalog.DefaultConfig(0, binary.BigEndian.Uint64(seed[:])),
	}
	for _, v := range k.Voters {
		c.Quorum.Voters = append(c.Quorum.Voters, broker.VoterAddress{
			Node: model.NodeID(v.Node), Address: effect.Address{Host: v.Host, Port: v.Port, Transport: n.nodesTransport()},
		})
	}
	if k.Alone() {
		c.Quorum.Voters = []broker.VoterAddress{{Node: identity.NodeID}}
		// Nobody is to be told that it lives, and nobody else could lead.
		c.Quorum.Log.Quorum.TickInterval = model.Time(time.Second)
		c.Membership.HeartbeatInterval, c.Controller.SessionTimeout = model.Time(time.Minute), 1<<60
	}
	return c
}

// registered is what the cluster is told of where this node listens.
func (n *Node) registered(identity storage.Identity) []effect.BrokerListener {
	a := n.advertised(identity)
	out := []effect.BrokerListener{{Name: broker.ClientListener, Host: a.Host, Port: a.Port}}
	if n.addresses.nodes == nil {
		return out
	}
	host, port, err := net.SplitHostPort(n.addresses.nodes.String())
	if err != nil {
		return out
	}
	if configured, _, err := net.SplitHostPort(n.config.Cluster.Listener); err == nil && configured != "" {
		host = configured
	}
	for _, v := range n.config.Cluster.Voters {
		if v.Node == n.config.NodeID {
			host, port = v.Host, strconv.Itoa(int(v.Port)) // as others know it
		}
	}
	number, _ := strconv.ParseUint(port, 10, 16)
	return append(out, effect.BrokerListener{Name: broker.InterNodeListener, Host: host, Port: int32(number), Security: int16(n.nodesTransport())})
}

func (n *Node) nodesTransport() effect.Transport {
	switch n.config.Cluster.Transport {
	case "tcp":
		return effect.TransportTCP
	case "tls":
		return effect.TransportTLS
	case "memory":
		return effect.TransportMemory
	}
	return effect.TransportQUIC
}

// leave has what this node leads led by others, so that no client has to find out that it is gone. It gives up after
// shutdown.grace.ms: who is alone with what it leads must not wait for ever.
func (n *Node) leave() {
	if n.config.Cluster.Alone() {
		return
	}
	n.loop.push(input{event: &broker.Leave{}})
	for deadline := time.Now().Add(n.config.ShutdownGrace); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		left := false
		if !n.loop.look(func(b *broker.Broker) { left = b.Left() }, time.Second) || left {
			return
		}
		select {
		case <-n.failed:
			return
		default:
		}
	}
	n.log.Warn("this node leads something that no other node can lead: it stops all the same")
}
