package group

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
)

// uuids are member ids that no name of a script stands for any more.
var uuids = regexp.MustCompile(`[A-Za-z0-9]*-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)

var testPartition = model.TopicPartition{Topic: model.TopicID{15: 9}, Partition: 3}

// testLog plays the replica and its storage: appends stay in flight until they are made durable or refused.
type testLog struct {
	start, end, highWatermark model.Offset
	batches                   []record.Batch // from start to end
	refuses                   int16          // the code that appends get at once
	appended                  []string       // what was appended since the last command
	forgets                   bool           // batches are only counted
}

func (l *testLog) Append(h record.Header, batch []byte, _ *effect.Set) (model.Offset, int16) {
	if l.refuses != 0 {
		return model.NoOffset, l.refuses
	}
	base := l.end
	record.Stamp(batch, base, 0)
	if l.forgets {
		l.end += model.Offset(h.RecordCount)
		return base, 0
	}
	l.batches = append(l.batches, batch)
	l.end += model.Offset(h.RecordCount)
	for _, r := range recordsOf(batch) {
		l.appended = append(l.appended, fmt.Sprintf("append at %d: %s\n", r.Offset, recordString(r)))
	}
	return base, 0
}

func recordsOf(b record.Batch) []record.Record {
	var out []record.Record
	for r := record.NewReader(b, nil); r.Next(); {
		rec := *r.Record()
		out = append(out, rec)
	}
	return out
}

// recordString shows a record as the log holds it.
func recordString(r record.Record) string {
	k, err := protocol.ReadCoordinatorKey(r.Key, protocol.NewGroupKey)
	if err != nil {
		return err.Error()
	}
	switch k := k.(type) {
	case *protocol.OffsetCommitKey:
		name := fmt.Sprintf("offset %s %s/%d", k.Group, k.Topic, k.Partition)
		if r.Value == nil {
			return name + " gone"
		}
		var v protocol.OffsetCommitValue
		version, err := protocol.ReadVersioned(r.Value, &v)
		if err != nil {
			return err.Error()
		}
		s := fmt.Sprintf("%s = %d v%d epoch %d at %d", name, v.Offset, version, v.LeaderEpoch, v.CommitTimestamp)
		if v.Metadata != "" {
			s += fmt.Sprintf(" %q", v.Metadata)
		}
		if v.ExpireTimestamp >= 0 {
			s += fmt.Sprintf(" expires %d", v.ExpireTimestamp)
		}
		return s
	case *protocol.GroupMetadataKey:
		if r.Value == nil {
			return "group " + k.Group + " gone"
		}
		var v protocol.GroupMetadataValue
		if _, err := protocol.ReadVersioned(r.Value, &v); err != nil {
			return err.Error()
		}
		s := fmt.Sprintf("group %s generation %d type %q protocol %q leader %q at %d", k.Group, v.Generation, v.ProtocolType, v.Protocol.Value, v.Leader.Value, v.CurrentStateTimestamp)
		for i := range v.Members {
			m := &v.Members[i]
			s += fmt.Sprintf("\n  member %q%s assignment %q", m.MemberID, m.GroupInstanceID.Value, m.Assignment)
		}
		return s
	}
	return fmt.Sprintf("%T", k)
}

// durableEnd is where the durable part of the log ends.
func (l *testLog) upTo(end model.Offset) []record.Batch {
	var out []record.Batch
	for _, b := range l.batches {
		if b.NextOffset() <= end {
			out = append(out, b)
		}
	}
	return out
}

// tester is what a scenario and a random life have in common.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// world drives one coordinator by script.
type world struct {
	t        tester
	config   Config
	c        *Coordinator
	log      *testLog
	topics   map[string]model.TopicID
	topicSeq byte
	now      int // milliseconds
	requests uint64
	ids      map[string]string // member ids by the script's names
	asked    map[effect.RequestID]string
	open     map[effect.RequestID]string // requests without an answer, and what they were
	life     byte
}

// TopicID is the id of a topic.
func (w *world) TopicID(name string) (model.TopicID, bool) {
	id, ok := w.topics[name]
	return id, ok
}

func newWorld(t tester) *world {
	w := &world{
		t: t, config: DefaultConfig(), log: &testLog{}, topics: map[string]model.TopicID{}, ids: map[string]string{},
		asked: map[effect.RequestID]string{}, open: map[effect.RequestID]string{},
	}
	w.config.ExpiryInterval = second
	for _, topic := range []string{"t", "u"} {
		w.createTopic(topic)
	}
	return w
}

func (w *world) createTopic(name string) {
	w.topicSeq++
	w.topics[name] = model.TopicID{0: w.topicSeq}
}

func (w *world) time() model.Time      { return model.Time(w.now)*millisecond + 1 }
func (w *world) wall() model.Timestamp { return model.Timestamp(w.now) }

// start makes a coordinator and loads the log into it.
func (w *world) start(out *effect.Set) {
	w.life++
	w.config.IDSeed[0] = w.life
	w.c = New(&w.config, testPartition, w.log, w, &Memory{BytesMax: w.config.MemoryBytesMax})
	w.c.Load(w.time(), w.wall(), w.log.start, w.log.end, out)
}

// scan carries out the scans of a set, a batch at a time.
func scan(c *Coordinator, l *testLog, now model.Time, out *effect.Set) {
	for len(out.Scans) > 0 {
		s := out.Scans[0]
		out.Scans = out.Scans[1:]
		in := &effect.Scanned{Partition: s.Partition, From: s.From, Next: s.From}
		for _, b := range l.batches {
			if b.NextOffset() > s.From {
				in.Batches, in.Next = slices.Clone(b), b.NextOffset()
				break
			}
		}
		c.Scanned(now, in, out)
	}
}

// TestScenarios runs testdata: each file is one coordinator's life. Time stands still but for "tick". Members are called
// by names of the script's; each keeps the id that it was given.
//
//	join NAME group=G [new] [instance=I] [version=V] [session=MS] [rebalance=MS] [protocols=(P,...)] [type=T] [topics=(T,...)] [meta=M]
//	sync NAME group=G generation=N [assign=(NAME:BYTES,...)] | heartbeat NAME group=G generation=N | leave group=G NAME... [instances=(I,...)]
//	commit TOPIC/P=OFFSET... group=G [as=NAME generation=N] [instance=I] [meta=M] [retention=MS]
//	fetch TOPIC/P... group=G | fetch-all group=G | describe G | list [states=(S,...)] [types=(T,...)]
//	delete G | delete-offsets TOPIC/P... group=G | create-topic T | delete-topic T | lose-topic T
//	durable [count=N] | refuse | offline | online | resign | loading | log | tick to=MS [by=MS] | reload | config [size=N] [delay=MS] [retention=MS] [log=BYTES] [memory=BYTES]
//
// After every command the invariants are checked, and a second coordinator loads the durable log: it must come to
// the same.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/scenarios", func(t *testing.T, path string) {
		w := newWorld(t)
		var out effect.Set
		w.start(&out)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			w.t = t
			var out effect.Set
			w.log.appended = nil
			extra := w.do(d, &out)
			scan(w.c, w.log, w.time(), &out)
			w.retain(&out)
			w.learn(&out)
			w.verify(d.Pos)
			return w.readable(extra + strings.Join(w.log.appended, "") + out.String())
		})
	})
}

// retain drops what the coordinator does not need any more.
func (w *world) retain(out *effect.Set) {
	for _, r := range out.Retains {
		w.log.start = r.Below
		w.log.batches = slices.DeleteFunc(w.log.batches, func(b record.Batch) bool { return b.NextOffset() <= r.Below })
	}
}

// verify checks the invariants, and that loading gives what living gave.
func (w *world) verify(pos string) {
	w.t.Helper()
	if err := w.c.Check(w.log.highWatermark, w.log.end); err != nil {
		w.t.Fatalf("%s: %v", pos, err)
	}
	if w.c.Loading() || w.c.isResigned {
		return
	}
	config := w.config
	other := &testLog{start: w.log.start, end: w.log.highWatermark, highWatermark: w.log.highWatermark, batches: w.log.upTo(w.log.highWatermark)}
	c := New(&config, testPartition, other, w, &Memory{BytesMax: 1 << 40})
	var out effect.Set
	c.Load(w.time(), w.wall(), other.start, other.end, &out)
	scan(c, other, w.time(), &out)
	for i := 0; c.Loading() && i < 1000; i++ {
		c.Tick(w.time()+model.Time(i), w.wall(), &out)
	}
	if living, loaded := imageOf(w.c), imageOf(c); living != loaded {
		w.t.Fatalf("%s: living through it gave\n%s\nloading gives\n%s", pos, living, loaded)
	}
	if err := c.Check(other.highWatermark, other.end); err != nil {
		w.t.Fatalf("%s: after loading: %v", pos, err)
	}
}

// imageOf is what the log says of every group, as a coordinator holds it.
func imageOf(c *Coordinator) string {
	var lines []string
	for _, g := range c.order {
		if g.saved != nil {
			lines = append(lines, fmt.Sprintf("%q: %x", g.id, appendGroupValue(nil, g.saved)))
		}
		for _, e := range g.offsets.ordered {
			if e.at != model.NoOffset {
				lines = append(lines, fmt.Sprintf("%q %v: %+v", g.id, e.key, e.committed))
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (w *world) do(d *datadriven.TestData, out *effect.Set) string {
	w.requests++
	to := effect.RequestID{Conn: 1, Request: w.requests}
	group := value(d, "group", "g")
	generation := int32(number(w.t, d, "generation", -1))
	if slices.Contains([]string{"join", "sync", "heartbeat", "leave", "commit", "fetch", "fetch-all", "describe", "list", "delete", "delete-offsets"}, d.Cmd) {
		w.open[to] = d.Cmd
	}
	switch d.Cmd {
	case "join":
		w.c.Join(w.time(), w.joinOf(d, to, group), out)
	case "sync":
		in := &Sync{To: to, Wall: w.wall(), Group: group, Generation: generation, Member: w.id(name(d)), Instance: value(d, "instance", ""), Protocol: value(d, "protocol", ""), ProtocolType: value(d, "type", "")}
		for _, a := range list(d, "assign") {
			who, what, _ := strings.Cut(a, ":")
			in.Assignments = append(in.Assignments, Assignment{Member: w.id(who), Assignment: []byte(what)})
		}
		w.c.Sync(w.time(), in, out)
	case "heartbeat":
		w.c.Heartbeat(w.time(), &Heartbeat{To: to, Group: group, Generation: generation, Member: w.id(name(d)), Instance: value(d, "instance", "")}, out)
	case "leave":
		in := &Leave{To: to, Wall: w.wall(), Group: group}
		for _, n := range names(d) {
			in.Members = append(in.Members, LeavingMember{Member: w.id(n), Reason: value(d, "reason", "")})
		}
		for _, i := range list(d, "instances") {
			in.Members = append(in.Members, LeavingMember{Instance: i})
		}
		w.c.Leave(w.time(), in, out)
	case "commit":
		w.c.Commit(w.time(), w.commitOf(d, to, group, generation), out)
	case "fetch", "fetch-all":
		in := &Fetch{Group: group, All: d.Cmd == "fetch-all"}
		for _, n := range names(d) {
			topic, partition := w.target(n)
			ft := FetchTopic{Name: topic, Partitions: []model.Partition{partition}}
			ft.ID = w.topics[topic]
			ft.Missing = ft.ID.IsZero()
			in.Topics = append(in.Topics, ft)
		}
		reply(to, &effect.OffsetsFetched{Groups: []effect.GroupOffsets{w.c.FetchOffsets(in)}}, out)
	case "describe":
		reply(to, &effect.GroupsDescribed{Groups: []effect.GroupDescribed{w.c.Describe(name(d))}}, out)
	case "list":
		answer := &effect.GroupsListed{}
		w.c.List(list(d, "states"), list(d, "types"), answer)
		reply(to, answer, out)
	case "delete":
		del := &Deletions{To: to, Answer: &effect.GroupsDeleted{Results: []effect.GroupDeleted{{Group: name(d)}}}, Missing: 1}
		w.c.Delete(w.time(), w.wall(), name(d), del, 0, out)
	case "delete-offsets":
		in := &DeleteOffsets{To: to, Wall: w.wall(), Group: group}
		for _, n := range names(d) {
			topic, partition := w.target(n)
			p := DeleteOffsetsPart{Topic: topic, Partition: partition}
			if w.topics[topic].IsZero() {
				p.Code = kerr.UnknownTopicOrPartition.Code
			}
			in.Parts = append(in.Parts, p)
		}
		w.c.DeleteOffsets(w.time(), in, out)
	case "create-topic":
		w.createTopic(name(d))
	case "lose-topic":
		delete(w.topics, name(d))
	case "delete-topic":
		delete(w.topics, name(d))
		w.c.TopicsDeleted(w.time(), out)
	default:
		return w.doWorld(d, out)
	}
	return ""
}

func (w *world) doWorld(d *datadriven.TestData, out *effect.Set) string {
	switch d.Cmd {
	case "durable":
		end := w.log.end
		if count := number(w.t, d, "count", 0); count > 0 {
			i := slices.IndexFunc(w.log.batches, func(b record.Batch) bool { return b.NextOffset() > w.log.highWatermark })
			end = w.log.batches[i+count-1].NextOffset()
		}
		w.log.highWatermark = end
		w.c.Durable(w.time(), end, out)
	case "refuse":
		w.log.end = w.log.highWatermark
		w.log.batches = w.log.upTo(w.log.end)
		w.c.Refused(w.time(), w.log.end, kerr.KafkaStorageError.Code, out)
	case "resign":
		w.c.Resign(w.time(), out)
		if used := w.c.memory.UsedBytes(); used != 0 {
			w.t.Fatalf("%s: %d bytes are counted for nothing", d.Pos, used)
		}
	case "offline":
		w.log.refuses = kerr.KafkaStorageError.Code
	case "online":
		w.log.refuses = 0
	case "tick":
		w.tick(d, out)
		return fmt.Sprintf("now %d, deadline %d\n", w.now, (w.c.Deadline()-1)/millisecond)
	case "reload":
		clear(w.open)
		w.log.end = w.log.highWatermark
		w.log.batches = w.log.upTo(w.log.end)
		w.start(out)
		scan(w.c, w.log, w.time(), out)
		for range number(w.t, d, "ticks", 3) {
			w.c.Tick(w.c.now+1, w.wall(), out)
		}
		w.now++
	case "loading":
		clear(w.open)
		w.start(out)
		out.Scans = nil
	case "config":
		w.config.MembersMax = number(w.t, d, "size", w.config.MembersMax)
		w.config.InitialRebalanceDelay = model.Time(number(w.t, d, "delay", int(w.config.InitialRebalanceDelay/millisecond))) * millisecond
		w.config.OffsetsRetentionMs = int64(number(w.t, d, "retention", int(w.config.OffsetsRetentionMs)))
		w.c.log.markBytes = 1
		w.config.LogBytesMin = int64(number(w.t, d, "log", int(w.config.LogBytesMin)))
		w.c.memory.BytesMax = int64(number(w.t, d, "memory", int(w.c.memory.BytesMax)))
	case "log":
		var b strings.Builder
		for _, batch := range w.log.batches {
			for _, r := range recordsOf(batch) {
				fmt.Fprintf(&b, "%d: %s\n", r.Offset, recordString(r))
			}
		}
		return b.String()
	default:
		w.t.Fatalf("%s: unknown verb %q", d.Pos, d.Cmd)
	}
	return ""
}

// tick lets time pass, stopping at every deadline on the way.
func (w *world) tick(d *datadriven.TestData, out *effect.Set) {
	to := number(w.t, d, "to", w.now+number(w.t, d, "by", 0))
	for {
		due := w.c.Deadline()
		if due == 0 || due > model.Time(to)*millisecond+1 {
			break
		}
		at := max(due, w.time())
		w.now = max(w.now, int((at-1)/millisecond))
		w.c.Tick(at, w.wall(), out)
		if d.HasArg("durable") {
			w.log.highWatermark = w.log.end
			w.c.Durable(at, w.log.end, out)
		}
	}
	w.now = to
	w.c.Tick(max(w.time(), w.c.now), w.wall(), out)
}

func (w *world) joinOf(d *datadriven.TestData, to effect.RequestID, group string) *Join {
	n := name(d)
	version := number(w.t, d, "version", 9)
	in := &Join{
		To: to, Wall: w.wall(), Group: group, Instance: value(d, "instance", ""), ClientID: value(d, "client", n), ClientHost: "/host",
		SessionTimeoutMs: int32(number(w.t, d, "session", 10_000)), RebalanceTimeoutMs: int32(number(w.t, d, "rebalance", 60_000)),
		ProtocolType: value(d, "type", "consumer"), MemberIDRequired: version >= 4, CanSkipAssignment: version >= 9, Reason: value(d, "reason", ""),
	}
	if !d.HasArg("new") {
		in.Member = w.ids[n]
	}
	protocols := list(d, "protocols")
	if !d.HasArg("protocols") {
		protocols = []string{"range"}
	}
	for _, p := range protocols {
		in.Protocols = append(in.Protocols, Protocol{Name: p, Metadata: w.subscription(d)})
	}
	w.asked[to] = n
	return in
}

func (w *world) subscription(d *datadriven.TestData) []byte {
	if m := value(d, "meta", ""); m != "" {
		return []byte(m)
	}
	topics := list(d, "topics")
	if !d.HasArg("topics") {
		topics = []string{"t"}
	}
	s := protocol.ConsumerProtocolSubscription{Topics: topics}
	return protocol.AppendVersioned(nil, &s, 0)
}

func (w *world) commitOf(d *datadriven.TestData, to effect.RequestID, group string, generation int32) *Commit {
	in := &Commit{
		To: to, Wall: w.wall(), Group: group, Generation: generation, Instance: value(d, "instance", ""),
		RetentionMs: int64(number(w.t, d, "retention", -1)),
	}
	if as := value(d, "as", ""); as != "" {
		in.Member = w.id(as)
	}
	for _, a := range d.CmdArgs {
		if !strings.Contains(a.Key, "/") {
			continue
		}
		topic, partition := w.target(a.Key)
		offset, err := strconv.Atoi(a.Vals[0])
		if err != nil {
			w.t.Fatal(err)
		}
		p := CommitPart{
			Topic: topic, TopicID: w.topics[topic], Partition: partition, Offset: model.Offset(offset), LeaderEpoch: 0, Metadata: value(d, "meta", ""),
		}
		if p.TopicID.IsZero() {
			p.Code = kerr.UnknownTopicOrPartition.Code
		}
		in.Parts = append(in.Parts, p)
	}
	return in
}

func (w *world) target(s string) (string, model.Partition) {
	topic, index, _ := strings.Cut(s, "/")
	n, err := strconv.Atoi(index)
	if err != nil {
		w.t.Fatal(err)
	}
	return topic, model.Partition(n)
}

// id is the member id of a name; a name that nobody has stands for itself.
func (w *world) id(n string) string {
	if id := w.ids[n]; id != "" {
		return id
	}
	return n
}

// learn takes in answers: each request has one, and joins are answered with member ids.
func (w *world) learn(out *effect.Set) {
	for _, r := range out.Replies {
		if w.open[r.To] == "" {
			w.t.Fatalf("request %v is answered twice, or was never asked", r.To)
		}
		delete(w.open, r.To)
		if j, ok := r.Body.(*effect.GroupJoined); ok && j.Member != "" && (j.Code == 0 || j.Code == kerr.MemberIDRequired.Code) {
			w.ids[w.asked[r.To]] = j.Member
		}
	}
}

// readable puts the script's names in the place of member ids.
func (w *world) readable(s string) string {
	known := make([]string, 0, len(w.ids))
	for n := range w.ids {
		known = append(known, n)
	}
	slices.Sort(known)
	for _, n := range known {
		s = strings.ReplaceAll(s, w.ids[n], "<"+n+">")
	}
	return uuids.ReplaceAllString(s, "<old>")
}

func name(d *datadriven.TestData) string { return d.CmdArgs[0].Key }

func names(d *datadriven.TestData) []string {
	var out []string
	for _, a := range d.CmdArgs {
		if len(a.Vals) == 0 {
			out = append(out, a.Key)
		}
	}
	return out
}

func value(d *datadriven.TestData, key, otherwise string) string {
	if l := list(d, key); len(l) > 0 {
		return strings.Trim(l[0], `"`)
	}
	return otherwise
}

func number(t tester, d *datadriven.TestData, key string, otherwise int) int {
	for _, a := range d.CmdArgs {
		if a.Key == key {
			n, err := strconv.Atoi(a.Vals[0])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	return otherwise
}

func list(d *datadriven.TestData, key string) []string {
	for _, a := range d.CmdArgs {
		if a.Key == key {
			return a.Vals
		}
	}
	return nil
}
