package metadata

import (
	"slices"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// Broker is a node that has registered to hold partitions (KIP-631). It is immutable: lists in it are shared.
type Broker struct {
	ID model.NodeID
	// Epoch tells the registrations of a broker apart: each has a higher one.
	Epoch model.BrokerEpoch
	// Incarnation tells the lives of its process apart.
	Incarnation model.IncarnationID
	Listeners   []effect.BrokerListener
	Features    []effect.BrokerFeature
	Rack        string // empty: none
	// Fenced brokers lead nothing, are in no ISR and are not shown to clients.
	Fenced               bool
	InControlledShutdown bool
	Directories          []model.DirectoryID
	Cordoned             []model.DirectoryID // of these, the ones that get no new partitions
}

// Listener is where a broker listens under a name.
func (b *Broker) Listener(name string) (effect.BrokerListener, bool) {
	for _, l := range b.Listeners {
		if l.Name == name {
			return l, true
		}
	}
	return effect.BrokerListener{}, false
}

// Active reports whether the broker may lead and be in sync.
func (b *Broker) Active() bool { return !b.Fenced && !b.InControlledShutdown }

func (b *Broker) equal(o *Broker) bool {
	return b.ID == o.ID && b.Epoch == o.Epoch && b.Incarnation == o.Incarnation && b.Rack == o.Rack &&
		b.Fenced == o.Fenced && b.InControlledShutdown == o.InControlledShutdown &&
		slices.Equal(b.Listeners, o.Listeners) && slices.Equal(b.Features, o.Features) &&
		slices.Equal(b.Directories, o.Directories) && slices.Equal(b.Cordoned, o.Cordoned)
}

func brokerOf(rec *protocol.RegisterBrokerRecord) *Broker {
	b := &Broker{
		ID: model.NodeID(rec.BrokerID), Epoch: model.BrokerEpoch(rec.BrokerEpoch), Incarnation: model.IncarnationID(rec.IncarnationID),
		Rack: rec.Rack.Value, Fenced: rec.Fenced, InControlledShutdown: rec.InControlledShutdown,
		Directories: directories(rec.LogDirs), Cordoned: directories(rec.CordonedLogDirs),
	}
	for i := range rec.EndPoints {
		e := &rec.EndPoints[i]
		b.Listeners = append(b.Listeners, effect.BrokerListener{Name: e.Name, Host: e.Host, Port: int32(e.Port), Security: e.SecurityProtocol})
	}
	for i := range rec.Features {
		f := &rec.Features[i]
		b.Features = append(b.Features, effect.BrokerFeature{Name: f.Name, LevelMin: f.MinSupportedVersion, LevelMax: f.MaxSupportedVersion})
	}
	return b
}

// Record is what registers the broker as it is, and the lowest version that can say it.
func (b *Broker) Record() (rec *protocol.RegisterBrokerRecord, version int16) {
	rec = new(protocol.RegisterBrokerRecord)
	rec.Default()
	rec.BrokerID, rec.BrokerEpoch, rec.IncarnationID = int32(b.ID), int64(b.Epoch), [16]byte(b.Incarnation)
	rec.Rack = protocol.NullString{Value: b.Rack, Valid: b.Rack != ""}
	rec.Fenced, rec.InControlledShutdown = b.Fenced, b.InControlledShutdown
	for _, l := range b.Listeners {
		to := protocol.Add(&rec.EndPoints)
		to.Name, to.Host, to.Port, to.SecurityProtocol = l.Name, l.Host, uint16(l.Port), l.Security
	}
	for _, f := range b.Features {
		to := protocol.Add(&rec.Features)
		to.Name, to.MinSupportedVersion, to.MaxSupportedVersion = f.Name, f.LevelMin, f.LevelMax
	}
	rec.LogDirs, rec.CordonedLogDirs = uuids(b.Directories), uuids(b.Cordoned)
	if len(b.Cordoned) == 0 {
		rec.CordonedLogDirs = nil
		return rec, 3
	}
	return rec, 4
}

func directories(ids []protocol.UUID) []model.DirectoryID {
	if len(ids) == 0 {
		return nil
	}
	out := make([]model.DirectoryID, len(ids))
	for i, id := range ids {
		out[i] = model.DirectoryID(id)
	}
	return out
}

func uuids(ids []model.DirectoryID) []protocol.UUID {
	out := make([]protocol.UUID, len(ids))
	for i, id := range ids {
		out[i] = protocol.UUID(id)
	}
	return out
}
