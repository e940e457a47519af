package link_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/link"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/core/session"
)

// pair is a link of node 1 and the session of node 2 that it is connected to, with a pipe between them.
type pair struct {
	t       *testing.T
	l       *link.Link
	s       *session.Session
	config  session.Config
	lo      link.Out
	so      session.Out
	now     model.Time
	nextID  effect.CallID
	answers []effect.Answer
	// serve answers an event of the session.
	serve func(ev broker.Event)
	// spoil, unless nil, may change a response on its way.
	spoil func(frame []byte) []byte
	// requests are the frames that went over, without their length.
	requests [][]byte
	closed   string
	last     []byte // response, in fetchFrom
}

func newPair(t *testing.T) *pair {
	p := &pair{t: t, now: 1, config: session.DefaultConfig()}
	p.config.ClusterID, p.config.NodeID = "cluster", 2
	c := link.DefaultConfig()
	c.Self, c.To, c.ClusterID = 1, 2, "cluster"
	p.l = link.New(c)
	return p
}

// call makes a call and carries everything to and fro until nothing moves.
func (p *pair) call(body effect.CallBody) effect.CallID {
	p.nextID++
	p.l.Call(p.now, &effect.Call{To: 2, ID: p.nextID, Timeout: 1e9, Body: body, Address: effect.Address{Host: "b"}}, &p.lo)
	p.pump()
	return p.nextID
}

func (p *pair) pump() {
	for {
		lo := p.lo
		p.lo = link.Out{}
		p.answers = append(p.answers, lo.Answers...)
		for _, f := range lo.Free {
			for i := range f {
				f[i] = 0xdb // who still looks at it is to find nonsense
			}
		}
		if lo.Close != "" {
			p.closed, p.s = lo.Close, nil
		}
		if lo.Dial {
			p.s = session.New(&p.config, 9)
			p.s.ForNodes = true
			p.l.Connected(p.now, &p.lo)
		}
		for _, f := range lo.Frames {
			var b []byte
			for _, piece := range f.Pieces {
				b = append(b, piece.Bytes...)
			}
			p.l.Recycle(f)
			p.requests = append(p.requests, bytes.Clone(b[4:]))
			if p.s != nil {
				p.s.Receive(1000, b[4:], &p.so)
			}
		}
		p.drain()
		if len(lo.Frames) == 0 && !lo.Dial {
			return
		}
	}
}

// drain carries what the session wants to the link.
func (p *pair) drain() {
	if p.s == nil {
		return
	}
	for len(p.so.Events)+len(p.so.Frames) > 0 {
		so := p.so
		p.so = session.Out{}
		for _, ev := range so.Events {
			p.serve(ev)
		}
		for _, f := range so.Frames {
			var b []byte
			for _, piece := range f.Pieces {
				b = append(b, piece.Bytes...)
			}
			p.s.Recycle(f)
			b = b[4:]
			if p.spoil != nil {
				b = p.spoil(b)
			}
			p.l.Receive(p.now, b, &p.lo)
		}
	}
	if p.so.Close != "" {
		p.t.Fatalf("the session closes: %s", p.so.Close)
	}
}

var (
	orders   = model.TopicID{1, 2, 3}
	payments = model.TopicID{4, 5, 6}
)

// exchanges are all calls but fetches, with everything in them set, and an answer to each.
func exchanges() []struct {
	ask    effect.CallBody
	answer effect.AnswerBody
} {
	type exchange = struct {
		ask    effect.CallBody
		answer effect.AnswerBody
	}
	at := func(t model.TopicID, p model.Partition) model.TopicPartition {
		return model.TopicPartition{Topic: t, Partition: p}
	}
	return []exchange{
		{
			&effect.AlterPartition{Broker: 1, BrokerEpoch: 77, Parts: []effect.AlterPartitionPart{
				{Partition: at(orders, 0), LeaderEpoch: 3, PartitionEpoch: 9, ISR: []effect.BrokerState{{Broker: 1, BrokerEpoch: 77}, {Broker: 2, BrokerEpoch: -1}}},
				{Partition: at(orders, 4), LeaderEpoch: 5, PartitionEpoch: 1, Recovering: true, ISR: []effect.BrokerState{{Broker: 1, BrokerEpoch: 77}}},
				{Partition: at(payments, 1), LeaderEpoch: 1, PartitionEpoch: 2},
			}},
			&effect.PartitionsAltered{Parts: []effect.PartitionAltered{
				{Partition: at(orders, 0), Leader: 1, LeaderEpoch: 3, ISR: []model.NodeID{1, 2}, PartitionEpoch: 10},
				{Partition: at(orders, 4), Code: 42, Leader: 3, LeaderEpoch: 6, ISR: []model.NodeID{3}, PartitionEpoch: 2, Recovering: true},
				{Partition: at(payments, 1), Code: 3, Leader: -1, LeaderEpoch: -1, PartitionEpoch: -1},
			}},
		},
		{
			&effect.RegisterBroker{
				Broker: 1, ClusterID: "cluster", Incarnation: model.IncarnationID{9}, Rack: "r1",
				Listeners:   []effect.BrokerListener{{Name: "PLAINTEXT", Host: "a", Port: 65535}, {Name: "SSL", Host: "b", Port: 1, Security: effect.SecuritySSL}},
				Features:    []effect.BrokerFeature{{Name: "metadata.version", LevelMin: 1, LevelMax: 7}},
				Directories: []model.DirectoryID{{1}, {2}}, PreviousBrokerEpoch: 5,
			},
			&effect.BrokerRegistered{BrokerEpoch: 1234},
		},
		{
			&effect.HeartbeatBroker{Broker: 1, BrokerEpoch: 8, MetadataOffset: 1 << 40, WantFence: true, WantShutdown: true, OfflineDirectories: []model.DirectoryID{{3}}},
			&effect.BrokerHeartbeatAnswered{IsCaughtUp: true, ShouldShutdown: true},
		},
		{&effect.HeartbeatBroker{Broker: 1, BrokerEpoch: 8, MetadataOffset: -1}, &effect.BrokerHeartbeatAnswered{Code: 77, IsFenced: true}},
		{&effect.AllocateProducerIDs{Broker: 1, BrokerEpoch: 8}, &effect.ProducerIDsAllocated{First: 5000, Count: 1000}},
		{
			&effect.ReportDamaged{Broker: 1, BrokerEpoch: 77, Parts: []effect.DamagedPart{
				{Partition: at(orders, 0), LeaderEpoch: 3}, {Partition: at(orders, 4), LeaderEpoch: -1}, {Partition: at(payments, 1), LeaderEpoch: 1},
			}},
			&effect.DamagedReported{Parts: []effect.DamagedPartReported{
				{Partition: at(orders, 0)}, {Partition: at(orders, 4), Code: 83}, {Partition: at(payments, 1), Code: 100},
			}},
		},
		{&effect.ReportDamaged{Broker: 1, BrokerEpoch: 8}, &effect.DamagedReported{Code: 77}},
		{
			&effect.QuorumMessages{From: 1<<63 + 5, To: 6, Messages: [][]byte{[]byte("one"), bytes.Repeat([]byte("two"), 1000)}},
			&effect.QuorumMessagesTaken{},
		},
		{
			&effect.FetchImage{Replica: 1, ClusterID: "cluster", Partition: 2, CurrentLeaderEpoch: 4, ID: effect.ImageID{EndOffset: 99, Epoch: 3}, Position: 10, BytesMax: 1 << 20},
			&effect.ImageFetched{ID: effect.ImageID{EndOffset: 99, Epoch: 3}, Leader: -1, LeaderEpoch: -1, SizeBytes: 5010, Position: 10, Bytes: bytes.Repeat([]byte("i"), 5000)},
		},
		{
			&effect.FetchImage{Replica: 1, Partition: 0, ID: effect.ImageID{EndOffset: 99, Epoch: 3}, Position: 10, BytesMax: 1},
			&effect.ImageFetched{Code: 98, ID: effect.ImageID{EndOffset: 99, Epoch: 3}, Leader: 3, LeaderEpoch: 9, Position: 10},
		},
		{
			&effect.CreateMissing{Names: []string{"a", "b"}, Timeout: 5e9},
			&effect.TopicsCreated{Topics: []effect.TopicCreated{
				{Name: "a", ID: orders, PartitionCount: 3, ReplicationFactor: 2}, {Name: "b", Code: 36, Message: "is there", PartitionCount: -1, ReplicationFactor: -1},
			}},
		},
	}
}

// askedOf is what a call asked, as the other node sees it.
func askedOf(ev broker.Event) (to effect.RequestID, ask effect.CallBody) {
	switch ev := ev.(type) {
	case *broker.AlterPartition:
		return ev.To, &ev.Ask
	case *broker.RegisterBroker:
		return ev.To, &ev.Ask
	case *broker.BrokerHeartbeat:
		return ev.To, &ev.Ask
	case *broker.AllocateProducerIDs:
		return ev.To, &ev.Ask
	case *broker.ReportDamaged:
		return ev.To, &ev.Ask
	case *broker.QuorumMessages:
		return ev.To, &ev.Ask
	case *broker.FetchImage:
		return ev.To, &ev.Ask
	case *broker.CreateMissing:
		return ev.To, &ev.Ask
	}
	return effect.RequestID{}, nil
}

func TestWhatIsAskedArrivesAndTheAnswerComesBack(t *testing.T) {
	for _, x := range exchanges() {
		p := newPair(t)
		p.serve = func(ev broker.Event) {
			to, ask := askedOf(ev)
			if !reflect.DeepEqual(ask, x.ask) {
				t.Errorf("asked %+v, there came %+v", x.ask, ask)
			}
			p.s.Replied(effect.Reply{To: to, Body: x.answer.(effect.Body)}, &p.so)
		}
		id := p.call(x.ask)
		if len(p.answers) != 1 || p.answers[0].ID != id || p.answers[0].From != 2 || p.answers[0].Failure != effect.CallOK {
			t.Errorf("%T: %+v", x.ask, p.answers)
			continue
		}
		if got := p.answers[0].Body; !reflect.DeepEqual(got, x.answer) {
			t.Errorf("answered %+v, there came %+v", x.answer, got)
		}
	}
}

// TestAnotherImplementationReadsWhatIsAsked holds the requests of Kafka's keys against kmsg.
func TestAnotherImplementationReadsWhatIsAsked(t *testing.T) {
	compared := map[int16]bool{}
	ask := []effect.CallBody{fetchCall(), &effect.Forward{Request: make([]byte, 20), Principal: []byte("p"), ClientAddress: []byte{1, 2, 3, 4}}}
	for _, x := range exchanges() {
		ask = append(ask, x.ask)
	}
	for _, body := range ask {
		p := newPair(t)
		p.serve = func(broker.Event) {}
		p.call(body)
		for _, b := range p.requests {
			var h protocol.RequestHeader
			r := protocol.NewReader(b, protocol.BudgetForClients())
			protocol.ReadRequestHeader(&r, &h)
			theirs := kmsg.RequestForKey(int16(h.Key))
			if theirs == nil {
				continue // our own
			}
			theirs.SetVersion(min(h.Version, theirs.MaxVersion()))
			rest := b[len(b)-r.Remaining():]
			if err := theirs.ReadFrom(rest); err != nil {
				t.Errorf("%v: %v", h.Key, err)
			} else if again := theirs.AppendTo(nil); h.Version == theirs.GetVersion() && !bytes.Equal(again, rest) {
				t.Errorf("%v: we encode\n% x, another\n% x", h.Key, rest, again)
			}
			compared[int16(h.Key)] = true
		}
	}
	for _, key := range []int16{1, 18, 19, 56, 58, 59, 62, 63, 67} {
		if !compared[key] {
			t.Errorf("no request of key %d was compared", key)
		}
	}
}

func TestAForwardedRequestIsAnsweredAsIfTheClientWereThere(t *testing.T) {
	r := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic = "orders"
	r.Topics = append(r.Topics, topic)
	r.SetVersion(5)
	request := kmsg.NewRequestFormatter(kmsg.FormatterClientID("client")).AppendRequest(nil, r, 4711)[4:]

	p := newPair(t)
	p.serve = func(ev broker.Event) {
		p.s.Replied(effect.Reply{To: ev.(*broker.CreateTopics).To, Body: &effect.TopicsCreated{Topics: []effect.TopicCreated{{Name: "orders", Code: 17}}}}, &p.so)
	}
	p.call(&effect.Forward{Request: request})
	f := p.answers[0].Body.(*effect.Forwarded)
	in := kmsg.NewPtrCreateTopicsResponse()
	in.Version = 5
	if err := in.ReadFrom(f.Response[5:]); err != nil || !bytes.Equal(f.Response[:5], []byte{0, 0, 0x12, 0x67, 0}) || in.Topics[0].ErrorCode != 17 {
		t.Errorf("% x: %v", f.Response, err)
	}
	// A request that may not be forwarded comes back with a code.
	p.call(&effect.Forward{Request: []byte{0, 0, 0, 3, 0, 0, 0, 0}})
	if f := p.answers[1].Body.(*effect.Forwarded); f.Code == 0 || f.Response != nil {
		t.Errorf("%+v", f)
	}
}

func TestTheAnswerToAnotherForwardedRequestIsMalformed(t *testing.T) {
	p := newPair(t)
	p.serve = func(ev broker.Event) {
		p.s.Replied(effect.Reply{To: ev.(*broker.CreateTopics).To, Body: &effect.TopicsCreated{}}, &p.so)
	}
	p.spoil = func(b []byte) []byte { return bytes.Replace(b, []byte{0, 0, 0x12, 0x67}, []byte{0, 0, 0x12, 0x68}, 1) }
	r := kmsg.NewPtrCreateTopicsRequest()
	r.SetVersion(5)
	p.call(&effect.Forward{Request: kmsg.NewRequestFormatter().AppendRequest(nil, r, 4711)[4:]})
	if len(p.answers) != 1 || p.answers[0].Failure != effect.CallMalformed {
		t.Errorf("%v", p.answers)
	}
}

func fetchCall() *effect.ReplicaFetch {
	return &effect.ReplicaFetch{
		Replica: 1, BrokerEpoch: 5, ClusterID: "cluster", WaitMax: 500e6, BytesMin: 1, BytesMax: 1 << 20, SessionID: 3, SessionEpoch: 0,
		Parts: []effect.ReplicaFetchPart{
			{Partition: model.TopicPartition{Topic: orders}, CurrentLeaderEpoch: 4, Offset: 10, LastFetchedEpoch: 3, LogStartOffset: 2, Directory: model.DirectoryID{7}, HighWatermark: 9, BytesMax: 1 << 19},
			{Partition: model.TopicPartition{Topic: orders, Partition: 1}, CurrentLeaderEpoch: 4, LastFetchedEpoch: -1, HighWatermark: effect.HighWatermarkUnknown, BytesMax: 1 << 18},
		},
		Forget: []model.TopicPartition{{Topic: payments, Partition: 3}},
	}
}

// batch is one record batch of so many records, as a leader has it.
func batch(base model.Offset, epoch model.LeaderEpoch, count int) []byte {
	var b record.Builder
	b.Begin(record.NewOptions(record.CodecNone))
	for range count {
		b.Append(record.Record{Key: []byte("k"), Value: bytes.Repeat([]byte("v"), 50), Timestamp: 1000})
	}
	out := bytes.Clone(b.Finish())
	record.Stamp(out, base, epoch)
	return out
}

// fetchFrom lets the other node answer fetchCall with records of its first partition.
func fetchFrom(t *testing.T, records []byte) (part *effect.ReplicaFetchedPart, p *pair) {
	p = newPair(t)
	p.spoil = func(b []byte) []byte {
		p.last = b
		return b
	}
	p.serve = func(ev broker.Event) {
		f := ev.(*broker.Fetch)
		if f.Replica != 1 || f.BrokerEpoch != 5 || f.SessionID != 3 || len(f.Parts) != 2 || f.Parts[0].Offset != 10 || f.Parts[0].HighWatermark != 9 ||
			f.Parts[0].LogStartOffset != 2 || f.Parts[1].HighWatermark != effect.HighWatermarkUnknown || len(f.Forget) != 1 || f.Forget[0].Topic.ID != payments {
			t.Errorf("%+v", f)
		}
		p.s.Fetched(f.To, &effect.FetchReply{SessionID: 4, Parts: []effect.FetchPart{
			{Index: 0, HighWatermark: 20, LastStableOffset: 19, LogStartOffset: 1, Records: effect.Records{Bytes: records}},
			{Index: 1, HighWatermark: 5, LastStableOffset: -1, LogStartOffset: 0, Diverging: &effect.EpochEnd{LeaderEpoch: 2, EndOffset: 3}, Image: &effect.ImageID{EndOffset: 8, Epoch: 2}},
		}}, &p.so)
	}
	p.call(fetchCall())
	if len(p.answers) != 1 {
		t.Fatalf("%v", p.answers)
	}
	if p.answers[0].Failure != effect.CallOK {
		return nil, p
	}
	return &p.answers[0].Body.(*effect.ReplicaFetched).Parts[0], p
}

func TestABatchIsAViewOfItsFrame(t *testing.T) {
	one, two := batch(10, 3, 2), batch(12, 4, 3)
	part, p := fetchFrom(t, append(bytes.Clone(one), two...))
	got := p.answers[0].Body.(*effect.ReplicaFetched)
	if got.SessionID != 4 || len(got.Parts) != 2 || part.HighWatermark != 20 || part.LastStableOffset != 19 || part.LogStartOffset != 1 || part.Code != 0 || part.Detail != "" {
		t.Errorf("%+v", got)
	}
	if part.Diverging.Epoch != -1 || part.Leader != model.NoNode || part.Image != effect.NoImage {
		t.Errorf("%+v", part)
	}
	if second := got.Parts[1]; second.Diverging != (effect.DivergingEpoch{Epoch: 2, EndOffset: 3}) || second.Image != (effect.ImageID{EndOffset: 8, Epoch: 2}) || len(second.Batches) != 0 {
		t.Errorf("%+v", second)
	}
	if len(part.Batches) != 2 || !bytes.Equal(part.Batches[0].Batch, one) || !bytes.Equal(part.Batches[1].Batch, two) {
		t.Fatalf("%d batches", len(part.Batches))
	}
	if p.last[bytes.Index(p.last, one)] = 1; part.Batches[0].Batch[0] != 1 {
		t.Error("a batch was copied")
	}
	if h := part.Batches[1].Header; h.BaseOffset != 12 || h.NextOffset() != 15 || h.LeaderEpoch != 4 || cap(part.Batches[0].Batch) != len(one) {
		t.Errorf("%+v", h)
	}
}

func TestOnlySoundBatchesReachTheLoop(t *testing.T) {
	flipped := batch(12, 3, 2)
	flipped[len(flipped)-1] ^= 1
	join := func(bs ...[]byte) []byte { return bytes.Join(bs, nil) }
	for name, c := range map[string]struct {
		records []byte
		count   int
		why     string // empty: all are sound
	}{
		"nothing":                {nil, 0, ""},
		"one":                    {batch(10, 3, 2), 1, ""},
		"one that began before":  {batch(8, 3, 4), 1, ""},
		"one that ended before":  {batch(8, 3, 2), 0, "where one at 10 was to"},
		"one that comes later":   {batch(11, 3, 2), 0, "where one at 10 was to"},
		"a flipped bit":          {join(batch(10, 3, 2), flipped, batch(14, 3, 1)), 1, "fails its crc"},
		"a flipped bit at first": {join(flipped), 0, "fails its crc"},
		"half a batch":           {join(batch(10, 3, 2), batch(12, 3, 2)[:70]), 1, "not sound"},
		"half a header":          {join(batch(10, 3, 2), batch(12, 3, 2)[:30]), 1, "not sound"},
		"a gap":                  {join(batch(10, 3, 2), batch(13, 3, 1)), 1, "where one at 12 was to"},
		"the same again":         {join(batch(10, 3, 2), batch(10, 3, 2)), 1, "where one at 12 was to"},
		"an older epoch":         {join(batch(10, 3, 2), batch(12, 2, 1)), 1, "behind epoch 3"},
		"no epoch":               {batch(10, -1, 1), 0, "behind epoch 0"},
		"another format":         {bytes.Repeat([]byte{1}, 200), 0, "not sound"},
	} {
		part, p := fetchFrom(t, c.records)
		if part == nil {
			t.Errorf("%s: %v", name, p.answers)
			continue
		}
		if len(part.Batches) != c.count || !strings.Contains(strings.ToLower(part.Detail), c.why) || (part.Detail == "") != (c.why == "") {
			t.Errorf("%s: %d batches, %q", name, len(part.Batches), part.Detail)
		}
		if corrupt := part.Code == 2; corrupt != (c.why != "" && c.count == 0) || part.Code != 0 && !corrupt {
			t.Errorf("%s: code %d", name, part.Code)
		}
	}
}

func TestAnAnswerAboutSomethingElseIsMalformed(t *testing.T) {
	serve := func(parts ...int32) effect.Answer {
		p := newPair(t)
		p.serve = func(ev broker.Event) {
			// An incremental answer names its partitions itself.
			f, reply := ev.(*broker.Fetch), &effect.FetchReply{Incremental: true}
			for _, i := range parts {
				reply.Parts = append(reply.Parts, effect.FetchPart{Index: -1, Partition: model.TopicPartition{Topic: orders, Partition: model.Partition(i)}, HighWatermark: 1})
			}
			p.s.Fetched(f.To, reply, &p.so)
		}
		c := fetchCall()
		c.SessionEpoch = 7
		p.call(c)
		return p.answers[0]
	}
	if a := serve(0, 5); a.Failure != effect.CallOK {
		t.Errorf("a session's answer may be about more than its last request: %v", a)
	}
	for _, parts := range [][]int32{{0, 1, 0}, {5, 6, 5}} {
		if a := serve(parts...); a.Failure != effect.CallMalformed {
			t.Errorf("parts %v: %v", parts, a)
		}
	}
	for name, x := range map[string]struct {
		ask    effect.CallBody
		answer effect.Body
	}{
		"another partition":        {&effect.AlterPartition{Broker: 1}, &effect.PartitionsAltered{Parts: []effect.PartitionAltered{{}}}},
		"no epoch":                 {&effect.RegisterBroker{Broker: 1}, &effect.BrokerRegistered{BrokerEpoch: -1}},
		"no producer ids":          {&effect.AllocateProducerIDs{Broker: 1}, &effect.ProducerIDsAllocated{First: 5}},
		"producer ids beyond all":  {&effect.AllocateProducerIDs{Broker: 1}, &effect.ProducerIDsAllocated{First: 1<<63 - 2, Count: 1000}},
		"another image":            {&effect.FetchImage{Replica: 1, ID: effect.ImageID{EndOffset: 5}}, &effect.ImageFetched{ID: effect.ImageID{EndOffset: 6}}},
		"another place":            {&effect.FetchImage{Replica: 1, Position: 1}, &effect.ImageFetched{Position: 2, SizeBytes: 3}},
		"more than there is":       {&effect.FetchImage{Replica: 1}, &effect.ImageFetched{SizeBytes: 2, Bytes: []byte("abc")}},
		"a place beyond the image": {&effect.FetchImage{Replica: 1, Position: 9}, &effect.ImageFetched{Position: 9, SizeBytes: 3}},
	} {
		p := newPair(t)
		p.serve = func(ev broker.Event) {
			to, _ := askedOf(ev)
			p.s.Replied(effect.Reply{To: to, Body: x.answer}, &p.so)
		}
		p.call(x.ask)
		if len(p.answers) != 1 || p.answers[0].Failure != effect.CallMalformed || p.closed == "" {
			t.Errorf("%s: %v, closed %q", name, p.answers, p.closed)
		}
	}
}

func TestAnAnswerInPiecesOfNonsenseNeverReachesTheLoop(t *testing.T) {
	for cut := 1; cut < 40; cut++ {
		p := newPair(t)
		p.serve = func(ev broker.Event) {
			to, _ := askedOf(ev)
			p.s.Replied(effect.Reply{To: to, Body: &effect.PartitionsAltered{Parts: []effect.PartitionAltered{{Partition: model.TopicPartition{Topic: orders}}}}}, &p.so)
		}
		responses := 0
		p.spoil = func(b []byte) []byte {
			if responses++; responses < 3 {
				return b
			}
			return b[:len(b)-min(cut, len(b))]
		}
		p.call(&effect.AlterPartition{Broker: 1, Parts: []effect.AlterPartitionPart{{Partition: model.TopicPartition{Topic: orders}}}})
		if len(p.answers) != 1 || p.answers[0].Failure != effect.CallMalformed {
			t.Errorf("%d bytes short: %v", cut, p.answers)
		}
	}
}
