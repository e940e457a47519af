package controller

import (
	"testing"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

func testConfig() Config {
	return Config{NodeID: 1, PartitionCountMax: 1000, Node: metadata.DefaultNodeConfig(), SessionTimeout: 1000, ClusterID: "c"}
}

// life is an active controller, the metadata log that it wrote, and the brokers that it knows.
type life struct {
	c       *Controller
	log     []record.Batch
	view    *metadata.View
	changes []*metadata.Changes
	now     model.Time
	request uint64
	answers map[uint64]effect.Body
	epochs  map[model.NodeID]model.BrokerEpoch
}

type fataler interface {
	Fatal(args ...any)
	Helper()
}

// newLife has some brokers, unfenced.
func newLife(t fataler, brokers int) *life {
	return newLifeOf(t, brokers, metadata.DefaultNodeConfig())
}

func newLifeOf(t fataler, brokers int, static metadata.NodeConfig) *life {
	view := metadata.NewView(metadata.NewImage(), 1, static)
	config := testConfig()
	config.Node = static
	l := &life{c: New(config, view), view: view, now: 1, answers: map[uint64]effect.Body{}, epochs: map[model.NodeID]model.BrokerEpoch{}}
	l.c.Lead(view, model.NoNode, l.now)
	for id := model.NodeID(1); id <= model.NodeID(brokers); id++ {
		l.register(t, id, byte(id), byte(id))
		l.beat(t, id)
	}
	l.changes = nil
	return l
}

// run lets the controller have one thing, and commits what it decides until it rests.
func (l *life) run(t fataler, f func(out *effect.Set)) {
	t.Helper()
	var out effect.Set
	l.c.Now(l.now)
	f(&out)
	for b := l.c.Take(&out); b != nil; b = l.c.Take(&out) {
		record.Stamp(b, l.view.Version(), 1)
		l.log = append(l.log, b)
		image, changes, err := l.view.Apply(b)
		if err != nil {
			t.Fatal(err)
		}
		l.view = l.view.Of(image)
		l.changes = append(l.changes, changes)
		l.c.Applied(l.view, changes)
		l.c.Committed(&out)
	}
	if err := l.c.Check(); err != nil {
		t.Fatal(err)
	}
	if err := l.view.Check(); err != nil {
		t.Fatal(err)
	}
	for _, r := range out.Replies {
		l.answers[r.To.Request] = r.Body
	}
}

// ask makes a request and returns the answer.
func (l *life) ask(t fataler, f func(to effect.RequestID, out *effect.Set)) effect.Body {
	t.Helper()
	l.request++
	l.run(t, func(out *effect.Set) { f(effect.RequestID{Conn: 1, Request: l.request}, out) })
	return l.answers[l.request]
}

func (l *life) register(t fataler, id model.NodeID, incarnation, directory byte) *effect.BrokerRegistered {
	t.Helper()
	answer := l.ask(t, func(to effect.RequestID, out *effect.Set) {
		l.c.Register(to, &effect.RegisterBroker{
			Broker: id, ClusterID: "c", Incarnation: model.IncarnationID{incarnation},
			Listeners:   []effect.BrokerListener{{Name: "CLIENT", Host: "h", Port: 1}},
			Directories: []model.DirectoryID{{directory}},
		}, out)
	}).(*effect.BrokerRegistered)
	if answer.Code == 0 {
		l.epochs[id] = answer.BrokerEpoch
	}
	return answer
}

// beat lets a broker be heard that has caught up.
func (l *life) beat(t fataler, id model.NodeID) *effect.BrokerHeartbeatAnswered {
	t.Helper()
	return l.ask(t, func(to effect.RequestID, out *effect.Set) {
		l.c.Heartbeat(to, &effect.HeartbeatBroker{Broker: id, BrokerEpoch: l.epochs[id], MetadataOffset: l.view.Version() - 1}, true, out)
	}).(*effect.BrokerHeartbeatAnswered)
}

// silence lets time pass in which only some are heard.
func (l *life) silence(t fataler, heard ...model.NodeID) {
	t.Helper()
	for range 10 {
		l.now += 150
		for _, id := range heard {
			l.beat(t, id)
		}
		l.run(t, l.c.Tick)
	}
}

func (l *life) topic(t fataler, name string, partitions int32, factor int16, settings ...metadata.ConfigSetting) {
	t.Helper()
	l.ask(t, func(to effect.RequestID, out *effect.Set) {
		l.c.Create(to, []CreateTopic{{Name: name, PartitionCount: partitions, ReplicationFactor: factor, Settings: settings}}, false, out)
	})
}

func (l *life) partition(name string, index model.Partition) *metadata.Partition {
	return l.view.Named(name).Partition(index)
}

// load makes an image of a log.
func load(t fataler, log []record.Batch) *metadata.Image {
	image := metadata.NewImage()
	for _, b := range log {
		next, _, err := image.Apply(b)
		if err != nil {
			t.Fatal(err)
		}
		image = next
	}
	return image
}

var _ fataler = (*testing.T)(nil)
