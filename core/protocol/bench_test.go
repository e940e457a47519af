package protocol_test

import (
	"fmt"
	"testing"

	"github.com/weirmq/weir/core/protocol"
)

// file stands for a run of a segment file.
type file struct{ bytes int }

func (f *file) Len() int { return f.bytes }

// produceRequest has one topic for every ten partitions and batchBytes of records in each partition.
func produceRequest(partitionCount, batchBytes int) *protocol.ProduceRequest {
	var m protocol.ProduceRequest
	m.Default()
	m.Acks, m.TimeoutMs = -1, 30_000
	batch := make([]byte, batchBytes)
	for i := range partitionCount {
		if i%10 == 0 {
			topic := protocol.Add(&m.TopicData)
			topic.Name = fmt.Sprintf("orders-%d", i)
			topic.TopicID[0] = byte(i)
		}
		p := protocol.Add(&m.TopicData[len(m.TopicData)-1].PartitionData)
		p.Index = int32(i)
		p.Records.Bytes = batch
	}
	return &m
}

func fetchRequest(partitionCount int) *protocol.FetchRequest {
	var m protocol.FetchRequest
	m.Default()
	m.MaxWaitMs, m.MinBytes, m.SessionEpoch = 500, 1, 0
	for i := range partitionCount {
		if i%10 == 0 {
			topic := protocol.Add(&m.Topics)
			topic.Topic = fmt.Sprintf("orders-%d", i)
			topic.TopicID[0] = byte(i)
		}
		p := protocol.Add(&m.Topics[len(m.Topics)-1].Partitions)
		p.Partition = int32(i)
		p.FetchOffset = int64(i) * 1000
		p.PartitionMaxBytes = 1 << 20
	}
	return &m
}

// fetchResponse fills m as a broker would: every tenth partition has a region of a file, the others records in memory.
func fetchResponse(m *protocol.FetchResponse, partitionCount int, batch []byte, regions []protocol.Region) {
	m.Default()
	m.SessionID = 7
	var topic *protocol.FetchResponseTopic
	for i := range partitionCount {
		if i%10 == 0 {
			topic = protocol.Add(&m.Responses)
			topic.TopicID[0] = byte(i)
		}
		p := protocol.Add(&topic.Partitions)
		p.PartitionIndex = int32(i)
		p.HighWatermark = int64(i) * 1000
		p.LastStableOffset = int64(i) * 1000
		p.LogStartOffset = 0
		if i%10 == 0 {
			p.Records.Regions = regions
		} else {
			p.Records.Bytes = batch
		}
	}
}

func metadataResponse(m *protocol.MetadataResponse, topicCount, partitionCount int, names []string, replicas []int32) {
	m.Default()
	for i := range 3 {
		b := protocol.Add(&m.Brokers)
		b.NodeID, b.Host, b.Port = int32(i), "broker.example", 9092
	}
	m.ClusterID = protocol.String("4L6g3nShT-eMCtK--X86sw")
	m.ControllerID = 1
	for i := range topicCount {
		topic := protocol.Add(&m.Topics)
		topic.Name = protocol.String(names[i])
		topic.TopicID[0] = byte(i)
		for j := range partitionCount {
			p := protocol.Add(&topic.Partitions)
			p.PartitionIndex = int32(j)
			p.LeaderID = int32(j % 3)
			p.LeaderEpoch = 3
			p.ReplicaNodes = append(p.ReplicaNodes, replicas...)
			p.IsrNodes = append(p.IsrNodes, replicas...)
		}
	}
}

func topicNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("orders-%d", i)
	}
	return names
}

// decoder decodes one body again and again, as a session does.
func decoder(tb testing.TB, m, into protocol.Message, version int16) (decode func(), bodyBytes int) {
	body, err := encode(m, version)
	if err != nil {
		tb.Fatal(err)
	}
	r := new(protocol.Reader)
	return func() {
		r.Reset(body, protocol.BudgetForClients())
		into.Decode(r, version)
		if err := r.Finish(); err != nil {
			tb.Fatal(err)
		}
	}, len(body)
}

func benchmarkDecode(b *testing.B, m, into protocol.Message, version int16) {
	decode, _ := decoder(b, m, into, version)
	b.ReportAllocs()
	for b.Loop() {
		decode()
	}
}

func BenchmarkDecodeProduceRequest(b *testing.B) {
	for _, partitions := range []int{1, 10} {
		for _, version := range []int16{8, 13} {
			b.Run(fmt.Sprintf("partitions=%d/v%d", partitions, version), func(b *testing.B) {
				benchmarkDecode(b, produceRequest(partitions, 16<<10), new(protocol.ProduceRequest), version)
			})
		}
	}
}

func BenchmarkDecodeFetchRequest(b *testing.B) {
	for _, partitions := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("partitions=%d", partitions), func(b *testing.B) {
			benchmarkDecode(b, fetchRequest(partitions), new(protocol.FetchRequest), 13)
		})
	}
}

// responder writes a whole response frame again and again.
func responder(tb testing.TB, m protocol.Message, version int16) func() {
	w := new(protocol.Writer)
	return func() {
		w.Reset()
		w.BeginResponse(42, m.Key(), version)
		m.Encode(w, version)
		w.EndFrame()
		if w.Err() != nil || len(w.Pieces()) == 0 {
			tb.Fatal(w.Err())
		}
	}
}

func BenchmarkEncodeFetchResponse(b *testing.B) {
	batch := make([]byte, 16<<10)
	regions := []protocol.Region{&file{64 << 10}}
	for _, partitions := range []int{10, 1000} {
		b.Run(fmt.Sprintf("partitions=%d", partitions), func(b *testing.B) {
			var m protocol.FetchResponse
			fetchResponse(&m, partitions, batch, regions)
			respond := responder(b, &m, 16)
			b.ReportAllocs()
			for b.Loop() {
				respond()
			}
		})
	}
}

func BenchmarkBuildFetchResponse(b *testing.B) {
	batch := make([]byte, 16<<10)
	regions := []protocol.Region{&file{64 << 10}}
	var m protocol.FetchResponse
	b.ReportAllocs()
	for b.Loop() {
		fetchResponse(&m, 1000, batch, regions)
	}
}

func BenchmarkEncodeMetadataResponse(b *testing.B) {
	var m protocol.MetadataResponse
	metadataResponse(&m, 100, 10, topicNames(100), []int32{0, 1, 2})
	respond := responder(b, &m, 12)
	b.ReportAllocs()
	for b.Loop() {
		respond()
	}
}

func TestDecodingIntoReusedStructsAllocatesNothing(t *testing.T) {
	for _, c := range []struct {
		name    string
		m, into protocol.Message
		version int16
	}{
		{"produce with names", produceRequest(10, 4<<10), new(protocol.ProduceRequest), 8},
		{"produce with names, flexible", produceRequest(10, 4<<10), new(protocol.ProduceRequest), 12},
		{"produce with ids", produceRequest(10, 4<<10), new(protocol.ProduceRequest), 13},
		{"fetch with names", fetchRequest(100), new(protocol.FetchRequest), 11},
		{"fetch with ids", fetchRequest(100), new(protocol.FetchRequest), 17},
	} {
		decode, _ := decoder(t, c.m, c.into, c.version)
		decode() // the first one makes the slices
		if n := testing.AllocsPerRun(100, decode); n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
}

func TestReadingRequestHeadersAllocatesNothing(t *testing.T) {
	var w protocol.Writer
	protocol.AppendRequestHeader(&w, &protocol.RequestHeader{Key: protocol.KeyProduce, Version: 12, CorrelationID: 5, ClientID: protocol.String("producer-1")})
	frame, err := w.AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	var session struct {
		r protocol.Reader
		h protocol.RequestHeader
	}
	read := func() {
		session.r.Reset(frame, protocol.BudgetForStrangers())
		protocol.ReadRequestHeader(&session.r, &session.h)
		if session.r.Finish() != nil || session.h.ClientID.Value != "producer-1" {
			t.Fatal(session.h)
		}
	}
	read()
	if n := testing.AllocsPerRun(100, read); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestEncodingIntoReusedWritersAllocatesNothing(t *testing.T) {
	var fetch protocol.FetchResponse
	batch, regions := make([]byte, 1<<10), []protocol.Region{&file{64 << 10}}
	build := func() { fetchResponse(&fetch, 100, batch, regions) }
	build()
	if n := testing.AllocsPerRun(100, build); n != 0 {
		t.Errorf("building a fetch response anew: %v allocations", n)
	}
	var metadata protocol.MetadataResponse
	metadataResponse(&metadata, 10, 10, topicNames(10), []int32{0, 1, 2})
	for _, c := range []struct {
		name    string
		m       protocol.Message
		version int16
	}{
		{"fetch response, names", &fetch, 11},
		{"fetch response, ids", &fetch, 17},
		{"metadata response", &metadata, 13},
	} {
		respond := responder(t, c.m, c.version)
		respond()
		if n := testing.AllocsPerRun(100, respond); n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
}
