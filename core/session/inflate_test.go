package session

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/record"
)

// compressed is a batch of one record of zeros, whose size in the request is a thousandth of that.
func compressed(codec record.Codec, bytes int) []byte {
	var b record.Builder
	b.Begin(record.NewOptions(codec))
	b.Append(record.Record{Value: make([]byte, bytes), Timestamp: 1000})
	return append([]byte(nil), b.Finish()...)
}

// batches is a produce request with a partition for each batch.
func batches(acks int16, all ...[]byte) *kmsg.ProduceRequest {
	r := produceRequest(acks, all[0])
	for i, b := range all[1:] {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = int32(i+1), b
		r.Topics[0].Partitions = append(r.Topics[0].Partitions, p)
	}
	return r
}

func lendingSession(recordBytesMax int) *Session {
	c := DefaultConfig()
	c.LendsInflaters, c.RecordBytesMax = true, recordBytesMax
	s := New(&c, 7)
	s.See(published())
	return s
}

func TestCompressedBatchesWaitForALentInflater(t *testing.T) {
	for _, codec := range []record.Codec{record.CodecGzip, record.CodecSnappy, record.CodecLz4, record.CodecZstd} {
		s, out := lendingSession(64<<20), Out{}
		s.Receive(1000, frame(batches(-1, goodBatch(), compressed(codec, 1000), compressed(codec, SmallInflateBytes+1)), 9, 5), &out)
		var d record.Decompressor
		for _, lane := range []Inflation{InflateTiny, InflateSmall, InflateLarge} {
			if out.Inflate != lane || len(out.Events) != 0 {
				t.Fatalf("%v: asks for %d, want %d; %d events", codec, out.Inflate, lane, len(out.Events))
			}
			s.Inflate(lane, &d, &out)
		}
		if out.Inflate != InflateNothing || len(out.Events) != 1 || len(out.Events[0].(*broker.Produce).Parts) != 3 {
			t.Fatalf("%v: asks for %d, %d events", codec, out.Inflate, len(out.Events))
		}
	}
}

// A request of many batches lets others have a turn between them.
func TestARequestGivesItsInflaterBack(t *testing.T) {
	for _, c := range []struct {
		bytes, count int
		want         []Inflation
	}{
		{1000, 3, []Inflation{InflateTiny}},
		{TinyInflateBytes / 2, 3, []Inflation{InflateTiny, InflateSmall}},
		{SmallInflateBytes - 100, 3, []Inflation{InflateTiny, InflateSmall, InflateSmall}},
		{SmallInflateBytes + 1, 2, []Inflation{InflateTiny, InflateSmall, InflateLarge, InflateSmall, InflateLarge}},
	} {
		s, out := lendingSession(64<<20), Out{}
		b := compressed(record.CodecZstd, c.bytes)
		s.Receive(1000, frame(batches(-1, slices.Repeat([][]byte{b}, c.count)...), 9, 5), &out)
		var d record.Decompressor
		var got []Inflation
		for out.Inflate != InflateNothing {
			got = append(got, out.Inflate)
			s.Inflate(out.Inflate, &d, &out)
		}
		if !slices.Equal(got, c.want) || len(out.Events) != 1 || len(out.Events[0].(*broker.Produce).Parts) != c.count {
			t.Errorf("%d batches of %d bytes ask for %v, want %v; %d events", c.count, c.bytes, got, c.want, len(out.Events))
		}
	}
}

// A batch that is large before it is inflated does not try the tiny lane first.
func TestALargeBatchGoesWhereItFits(t *testing.T) {
	var b record.Builder
	b.Begin(record.NewOptions(record.CodecLz4))
	value := make([]byte, TinyInflateBytes)
	_, _ = rand.NewChaCha8([32]byte{}).Read(value[:len(value)/2])
	b.Append(record.Record{Value: value, Timestamp: 1000})
	s, out := lendingSession(64<<20), Out{}
	s.Receive(1000, frame(produceRequest(-1, b.Finish()), 9, 5), &out)
	if out.Inflate != InflateSmall {
		t.Errorf("asks for %d", out.Inflate)
	}
}

func TestUncompressedBatchesWaitForNobody(t *testing.T) {
	s, out := lendingSession(64<<20), Out{}
	s.Receive(1000, frame(produceRequest(-1, goodBatch()), 9, 5), &out)
	if out.Inflate != InflateNothing || len(out.Events) != 1 {
		t.Errorf("asks for %d, %d events", out.Inflate, len(out.Events))
	}
}

// What a request inflates to is bounded for all of its batches together: a thousand batches below the limit
// are as much work as one above it.
func TestARequestInflatesToSoMuchAndNoMore(t *testing.T) {
	const limit = 10 << 20
	for _, codec := range []record.Codec{record.CodecGzip, record.CodecSnappy, record.CodecLz4, record.CodecZstd} {
		b := compressed(codec, 4<<20-100)
		s, out := lendingSession(limit), Out{}
		s.Receive(1000, frame(batches(-1, b, b, b, b, goodBatch()), 9, 5), &out)
		var d record.Decompressor
		for out.Inflate != InflateNothing {
			s.Inflate(out.Inflate, &d, &out)
		}
		if n := len(out.Events[0].(*broker.Produce).Parts); n != 3 {
			t.Errorf("%v: %d batches are taken, want 2 compressed ones and 1 other", codec, n)
		}
		if inflated := d.InflatedBytes(); inflated > 2*limit {
			t.Errorf("%v: %d bytes were inflated", codec, inflated)
		}
		answers := s.slots[0].produced.response.Responses[0].PartitionResponses
		for i, want := range []int16{0, 0, kerr.MessageTooLarge.Code, kerr.MessageTooLarge.Code, 0} {
			if answers[i].ErrorCode != want {
				t.Errorf("%v: partition %d: code %d, want %d", codec, i, answers[i].ErrorCode, want)
			}
		}
	}
}

func TestUnansweredRequestsSaySo(t *testing.T) {
	s, out := lendingSession(64<<20), Out{}
	s.Receive(1000, frame(batches(0, compressed(record.CodecZstd, 1000)), 9, 5), &out)
	if out.Unanswered {
		t.Error("said before it is known")
	}
	out.Reset()
	s.Inflate(InflateSmall, new(record.Decompressor), &out)
	if !out.Unanswered || len(out.Events) != 1 || s.Parked() != 0 {
		t.Errorf("unanswered: %v, %d events, %d parked", out.Unanswered, len(out.Events), s.Parked())
	}
	out.Reset()
	s.Receive(1000, frame(produceRequest(0, goodBatch()), 9, 6), &out)
	if !out.Unanswered {
		t.Error("an uncompressed one does not")
	}
	out.Reset()
	s.Receive(1000, frame(produceRequest(1, goodBatch()), 9, 7), &out)
	if out.Unanswered {
		t.Error("a request that is answered says that it is not")
	}
}

// The connection may end while a request waits to be inflated.
func TestInflationOfAClosedSessionDoesNothing(t *testing.T) {
	s, out := lendingSession(64<<20), Out{}
	s.Receive(1000, frame(batches(-1, compressed(record.CodecZstd, 1000)), 9, 5), &out)
	s.HangUp("enough", &out)
	out.Reset()
	s.Inflate(InflateSmall, new(record.Decompressor), &out)
	if len(out.Events)+len(out.Frames) != 0 || out.Inflate != InflateNothing {
		t.Errorf("%d events, %d responses, asks for %d", len(out.Events), len(out.Frames), out.Inflate)
	}
}

// A session keeps little for its next requests, and nothing once it is idle.
func TestIdleSessionsKeepNothing(t *testing.T) {
	s, out := newSession(), Out{}
	request := batches(-1, goodBatch())
	for i := range 3000 {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = int32(i+1), goodBatch()
		request.Topics[0].Partitions = append(request.Topics[0].Partitions, p)
	}
	for i := range int32(20) {
		out.Reset()
		s.Receive(1000, frame(request, 9, i), &out)
		answerAll(s, &out)
		for _, f := range out.Frames {
			s.Recycle(f)
		}
	}
	if s.freeParts > partsKeptMax || s.writerBytes > writerBytesKeptMax || cap(s.produce.TopicData) > 0 {
		t.Errorf("kept: %d parts, %d bytes of writers, %d topics", s.freeParts, s.writerBytes, cap(s.produce.TopicData))
	}
	for i := range int32(20) { // these are worth keeping
		out.Reset()
		s.Receive(1000, frame(produceRequest(-1, goodBatch()), 9, i), &out)
		answerAll(s, &out)
		for _, f := range out.Frames {
			s.Recycle(f)
		}
	}
	if s.freeParts == 0 || s.writerBytes == 0 {
		t.Error("nothing is kept for the next request")
	}
	s.Idle()
	if s.free != nil || s.writers != nil || s.freeParts != 0 || s.writerBytes != 0 || s.decompressor != nil || s.produce.TopicData != nil {
		t.Errorf("kept: %+v", s)
	}
	out.Reset()
	s.Receive(1000, frame(produceRequest(-1, goodBatch()), 9, 99), &out)
	answerAll(s, &out)
	if len(out.Frames) != 1 {
		t.Error("it does not wake up")
	}
}

// answerAll answers the produce requests among the events.
func answerAll(s *Session, out *Out) {
	for _, ev := range out.Events {
		p := ev.(*broker.Produce)
		for i := range p.Parts {
			s.Produced(effect.Produced{To: p.To, Index: p.Parts[i].Index}, out)
		}
	}
}

// What a response keeps in memory is told, without what is in files.
func TestFramesTellWhatTheyHold(t *testing.T) {
	s, out := newSession(), Out{}
	in := kmsg.NewPtrFetchRequest()
	topic, partition := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	topic.Topic, topic.Partitions = "t", []kmsg.FetchRequestTopicPartition{partition}
	in.Topics, in.MaxBytes, in.SessionEpoch = append(in.Topics, topic), 1<<20, -1
	s.Receive(1000, frame(in, 11, 3), &out)
	region := &countedRegion{data: bytes.Repeat([]byte{1}, 5000)}
	s.Fetched(out.Events[0].(*broker.Fetch).To, &effect.FetchReply{Parts: []effect.FetchPart{{Records: effect.Records{Regions: []effect.Region{region}}}}}, &out)
	f := out.Frames[0]
	if f.LenBytes-f.HeldBytes != 5000 || f.HeldBytes < 20 {
		t.Errorf("%d bytes, of which %d are held", f.LenBytes, f.HeldBytes)
	}
}

func TestClosingSaysWhatKindOfReasonItHas(t *testing.T) {
	for _, c := range []struct {
		name string
		sent []byte
		kind CloseKind
		says string
	}{
		{"key", []byte{0x70, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff}, CloseUnserved, "not served"},
		{"version", frame(kmsg.NewPtrMetadataRequest(), 12, 1), CloseUnserved, "not served"},
		{"body", frame(kmsg.NewPtrMetadataRequest(), 12, 1), CloseMalformed, "cannot be read"},
		{"acks=0", frame(produceRequest(0, []byte("no batch")), 9, 1), CloseRefused, "acks=0"},
	} {
		switch c.name {
		case "version":
			c.sent[3] = 99
		case "body":
			c.sent = c.sent[:len(c.sent)-1]
		}
		s, out := newSession(), Out{}
		s.Receive(1000, c.sent, &out)
		if out.CloseKind != c.kind || !strings.Contains(out.Close, c.says) {
			t.Errorf("%s: %d %q", c.name, out.CloseKind, out.Close)
		}
	}
}

func TestALongClientIDIsNotKept(t *testing.T) {
	s, out := newSession(), Out{}
	r := kmsg.NewPtrMetadataRequest()
	r.SetVersion(8)
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID(strings.Repeat("x", 30000))).AppendRequest(nil, r, 1)[4:]
	s.Receive(1000, f, &out)
	if len(out.Frames) != 1 || len(s.ClientID) != nameBytesMax || len(s.header.ClientID.Value) != 0 {
		t.Errorf("%d responses; a client id of %d bytes is kept, and one of %d in the header", len(out.Frames), len(s.ClientID), len(s.header.ClientID.Value))
	}
}
