package workload

import (
	"encoding/binary"
	"fmt"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/sim/check"
	"github.com/weirmq/weir/sim/draw"
)

// hostile sends what no client should: noise, lies about lengths, requests cut short or with bits turned,
// batches whose checksum is wrong. Each goes out on a connection of its own. Nothing of it may harm
// anybody else, and no record with a wrong checksum may ever be read.
type hostile struct {
	g       *group
	process int64
	rand    *draw.Stream
	line    Line
	at      model.Time
	settled bool
	sent    int64

	conn   client.ConnID
	next   client.ConnID
	hangUp model.Time // when to close the connection; 0: none is open
	writer protocol.Writer
	bombs  [5][]byte // by codec: batches that decompress to far more than may be
}

func newHostile(g *group) *hostile {
	h := &hostile{g: g, process: g.process()}
	h.rand = g.Root.Stream("hostile", uint64(h.process))
	h.line.Machine = (*hostileMachine)(h)
	h.at = 40 * millisecond
	return h
}

func (h *hostile) Name() string            { return fmt.Sprintf("hostile%d", h.process) }
func (h *hostile) Lines() []*Line          { return []*Line{&h.line} }
func (h *hostile) After(model.Time, *Line) {}
func (h *hostile) Settle(model.Time)       { h.settled = true }
func (h *hostile) Waiting() string         { return "" }
func (h *hostile) WakeAt() model.Time      { return h.at }

func (h *hostile) Wake(now model.Time) {
	out := &h.line.Out
	if h.hangUp != 0 {
		out.Closes = append(out.Closes, h.conn)
		h.hangUp = 0
	}
	h.at = 0
	if h.settled {
		return
	}
	h.next++
	h.conn = h.next
	addr := h.g.spec.Addrs[0]
	if n := len(h.g.spec.Addrs); n > 1 {
		addr = h.g.spec.Addrs[h.rand.Intn(n)]
	}
	out.Dials = append(out.Dials, client.Dial{Conn: h.conn, Addr: addr})
	h.at = now + 300*millisecond // if it is never answered
	h.hangUp = h.at
}

// hostileMachine is the hostile program as its driver sees it.
type hostileMachine hostile

func (m *hostileMachine) Connected(now model.Time, id client.ConnID, out *client.Out) {
	h := (*hostile)(m)
	if id != h.conn {
		return
	}
	h.g.Hostile()
	for range 1 + h.rand.Intn(3) {
		out.Sends = append(out.Sends, client.Send{Conn: id, Pieces: [][]byte{h.attack(now)}})
	}
	h.at = now + 1 + model.Time(h.rand.Exp(int64(h.g.spec.Gap)))
	h.hangUp = h.at
}

func (m *hostileMachine) Received(model.Time, client.ConnID, []byte, *client.Out)     {}
func (m *hostileMachine) Disconnected(model.Time, client.ConnID, string, *client.Out) {}
func (m *hostileMachine) Written(model.Time, client.ConnID, *client.Out)              {}
func (m *hostileMachine) Tick(model.Time, *client.Out)                                {}
func (m *hostileMachine) Close(model.Time, *client.Out)                               {}
func (m *hostileMachine) Deadline() model.Time                                        { return 0 }
func (m *hostileMachine) Check() error                                                { return nil }

// attack makes one frame, or what passes for one.
func (h *hostile) attack(now model.Time) []byte {
	r := h.rand
	switch r.Intn(16) {
	case 0: // noise
		b := make([]byte, r.LogUniform(1, 2000))
		r.Fill(b)
		return b
	case 1: // noise in a frame of the right length
		b := make([]byte, 4+r.LogUniform(1, 2000))
		r.Fill(b[4:])
		return whole(b)
	case 2: // a frame that promises more than ever comes
		b := h.request(now, false)
		binary.BigEndian.PutUint32(b, uint32(r.LogUniform(int64(len(b)), 1<<31)))
		return b
	case 3: // half a request, of the right length
		b := h.request(now, false)
		return whole(b[:4+r.Intn(len(b)-3)])
	case 4: // half a frame
		b := h.request(now, false)
		return b[:r.Intn(len(b))+1]
	case 5: // a few bits turned
		b := h.request(now, false)
		for range r.LogUniform(1, 16) {
			b[4+r.Intn(len(b)-4)] ^= 1 << r.Intn(8)
		}
		return b
	case 6: // a batch whose checksum is wrong
		return h.request(now, true)
	case 7: // a count, a length or a number that is far too large, or negative
		b := h.request(now, false)
		lies := [...][]byte{{0x7f, 0xff, 0xff, 0xff}, {0x80, 0, 0, 0}, {0xff, 0xff, 0xff, 0xff, 0x0f}, {0x7f, 0xff}, {0xff, 0xfe}, {0, 0x0f, 0x42, 0x40}}
		lie := lies[r.Intn(len(lies))]
		copy(b[min(len(b)-1, 12+r.Intn(max(1, len(b)-12))):], lie)
		return b
	case 8: // names of every length and alphabet
		return h.encode(h.named(r.LogUniform(1, 33_000)))
	case 9: // one partition many times over
		return h.encode(h.repeated(int(r.LogUniform(2, 3000))))
	case 10: // a key or a version that nobody serves
		b := make([]byte, 4+10+r.Intn(50))
		r.Fill(b[4:])
		binary.BigEndian.PutUint16(b[4:], uint16(r.Between(-1, 200)))
		binary.BigEndian.PutUint16(b[6:], uint16(r.Between(-1, 30)))
		return whole(b)
	case 11: // a batch that decompresses to far more than may be
		return h.encode(h.produce(h.bomb(now)))
	case 12: // another protocol
		greetings := [...]string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "SSH-2.0-OpenSSH_9.6\r\n", "\x00\x00\x00\x00"}
		return []byte(greetings[r.Intn(len(greetings))])
	default: // nothing wrong with it, but odd
		return h.request(now, false)
	}
}

// whole makes a frame's length right.
func whole(b []byte) []byte {
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// named asks for, or asks to create, a topic of so long a name.
func (h *hostile) named(length int64) protocol.Message {
	b := make([]byte, length)
	h.rand.Fill(b)
	switch h.rand.Intn(4) {
	case 0: // any bytes
	case 1: // control characters, which are long to print
		for i := range b {
			b[i] %= 32
		}
	default:
		for i := range b {
			b[i] = 'a' + b[i]%26
		}
	}
	if h.rand.Percent(50) {
		m := protocol.NewRequest(protocol.KeyMetadata).(*protocol.MetadataRequest)
		m.AllowAutoTopicCreation = false
		protocol.Add(&m.Topics).Name = protocol.String(string(b))
		return m
	}
	m := protocol.NewRequest(protocol.KeyCreateTopics).(*protocol.CreateTopicsRequest)
	m.ValidateOnly = true // it may be a name that is allowed
	t := protocol.Add(&m.Topics)
	t.Name, t.NumPartitions, t.ReplicationFactor = string(b), int32(h.rand.Between(-2, 1<<31-1)), int16(h.rand.Between(-2, 3))
	return m
}

// repeated names one partition again and again.
func (h *hostile) repeated(times int) protocol.Message {
	topic := h.g.topics[0]
	switch h.rand.Intn(3) {
	case 0:
		m := protocol.NewRequest(protocol.KeyFetch).(*protocol.FetchRequest)
		m.MaxWaitMs, m.MinBytes, m.MaxBytes = 100, 1, 1<<20
		t := protocol.Add(&m.Topics)
		t.Topic = topic
		for range times {
			protocol.Add(&t.Partitions).PartitionMaxBytes = 1000
		}
		return m
	case 1:
		m := protocol.NewRequest(protocol.KeyListOffsets).(*protocol.ListOffsetsRequest)
		m.ReplicaID = -1
		t := protocol.Add(&m.Topics)
		t.Name = topic
		for range times {
			protocol.Add(&t.Partitions).Timestamp = h.rand.Between(-5, 5)
		}
		return m
	default:
		m := protocol.NewRequest(protocol.KeyMetadata).(*protocol.MetadataRequest)
		m.AllowAutoTopicCreation = false
		for range times {
			protocol.Add(&m.Topics).Name = protocol.String(topic)
		}
		return m
	}
}

func (h *hostile) produce(batch []byte) protocol.Message {
	m := protocol.NewRequest(protocol.KeyProduce).(*protocol.ProduceRequest)
	m.TransactionalID, m.Acks, m.TimeoutMs = protocol.NullString{}, -1, 1000
	t := protocol.Add(&m.TopicData)
	t.Name = h.g.topics[0]
	protocol.Add(&t.PartitionData).Records = protocol.Records{Bytes: batch}
	return m
}

// BombBytes is what a bomb decompresses to: more than simulated brokers allow.
const BombBytes = 1 << 20

// bomb is a batch whose value is nothing but zeros, and compresses very well. It must never be taken.
func (h *hostile) bomb(now model.Time) []byte {
	codec := 1 + h.rand.Intn(4)
	if h.bombs[codec] == nil {
		var b record.Builder
		b.Begin(record.NewOptions(record.Codec(codec)))
		b.Append(record.Record{Value: make([]byte, BombBytes), Timestamp: h.g.Wall(now)})
		h.bombs[codec] = append([]byte(nil), b.Finish()...)
	}
	return append([]byte(nil), h.bombs[codec]...)
}

// request makes one whole request frame. With spoil it is a produce request with a damaged batch.
func (h *hostile) request(now model.Time, spoil bool) []byte {
	r := h.rand
	topic := h.g.topics[0]
	var m protocol.Message
	kind := r.Intn(7)
	if spoil {
		kind = 0
	}
	switch kind {
	case 0:
		p := &protocol.ProduceRequest{Acks: int16(r.Between(-2, 2)), TimeoutMs: int32(r.Between(-1, 1000))}
		if spoil {
			p.Acks = -1
		}
		p.TopicData = []protocol.ProduceRequestTopicData{{Name: topic, PartitionData: []protocol.ProduceRequestPartitionData{{
			Index: int32(r.Intn(max(1, h.g.spec.Partitions))), Records: protocol.Records{Bytes: h.batch(now, spoil)},
		}}}}
		m = p
	case 1:
		f := new(protocol.FetchRequest)
		f.Default()
		f.MaxWaitMs, f.MinBytes, f.MaxBytes = int32(r.Between(-1, 300)), int32(r.Between(-1, 10)), int32(r.LogUniform(1, 1<<20))
		f.Topics = []protocol.FetchRequestTopic{{Topic: topic, Partitions: []protocol.FetchRequestPartition{{
			Partition: int32(r.Between(-1, 3)), FetchOffset: r.Between(-5, 1000), PartitionMaxBytes: int32(r.Between(-1, 1<<16)),
			CurrentLeaderEpoch: int32(r.Between(-1, 3)),
		}}}}
		m = f
	case 2:
		m = &protocol.ListOffsetsRequest{ReplicaID: -1, Topics: []protocol.ListOffsetsRequestTopic{{Name: topic, Partitions: []protocol.ListOffsetsRequestPartition{{
			PartitionIndex: int32(r.Between(-1, 3)), Timestamp: r.Between(-6, 1000), CurrentLeaderEpoch: -1,
		}}}}}
	case 3:
		m = &protocol.MetadataRequest{Topics: []protocol.MetadataRequestTopic{{Name: protocol.String(topic)}}}
	case 4:
		m = &protocol.APIVersionsRequest{ClientSoftwareName: "hostile", ClientSoftwareVersion: "0"}
	case 5:
		m = &protocol.InitProducerIDRequest{ProducerID: r.Between(-2, 2000), ProducerEpoch: int16(r.Between(-2, 5)), TransactionTimeoutMs: 1000}
	default:
		m = &protocol.DeleteTopicsRequest{TopicNames: []string{"hostile-nothing"}, TimeoutMs: 100}
	}
	return h.encode(m)
}

// batch is one batch with one value that the history knows of.
func (h *hostile) batch(now model.Time, spoil bool) []byte {
	h.sent++
	number := h.process<<40 | h.sent
	at := h.g.begin(check.Op{
		Process: h.process, F: check.Send, Call: int64(now), Topic: h.g.topics[0], Values: []int64{number}, Offset: -1,
	})
	var b record.Builder
	b.Begin(record.NewOptions(record.Codec(h.rand.Intn(5))))
	b.Append(record.Record{Value: fillValue(number, 200), Timestamp: h.g.Wall(now)})
	batch := append([]byte(nil), b.Finish()...)
	if spoil {
		// Behind the checksum, so that it is wrong.
		const covered = 21
		i := covered + h.rand.Intn(len(batch)-covered)
		batch[i] ^= 1 << h.rand.Intn(8)
		h.g.History.Ops[at].Outcome, h.g.History.Ops[at].Return = check.Fail, int64(now)
	}
	return batch
}

// encode frames a request in some version of its key.
func (h *hostile) encode(m protocol.Message) []byte {
	key := m.Key()
	version := int16(h.rand.Between(int64(protocol.MinVersion(key)), int64(protocol.MaxVersion(key))))
	if key == protocol.KeyProduce {
		version = min(version, 12) // the last that names topics
	}
	w := &h.writer
	w.Reset()
	header := protocol.RequestHeader{Key: key, Version: version, CorrelationID: int32(h.sent), ClientID: protocol.String("hostile")}
	w.BeginRequest(&header)
	m.Encode(w, version)
	w.EndFrame()
	if w.Err() != nil {
		// Not every version can say everything: noise will do.
		w.Reset()
		return []byte{0, 0, 0, 3, 1, 2, 3}
	}
	var b []byte
	for _, p := range w.Pieces() {
		b = append(b, p.Bytes...)
	}
	return b
}
