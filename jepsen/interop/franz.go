package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
)

// samples are records with everything that a record can have, and leave out.
func samples(topic string) []*kgo.Record {
	zero := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	large := []byte(strings.Repeat("a line that compresses, ", 8000))
	rs := []*kgo.Record{
		{Value: []byte("no key")},
		{Key: []byte("tombstone")},
		{Key: []byte{}, Value: []byte{}},
		{},
		{Key: every, Value: bytes.Repeat(every, 4)},
		{Key: []byte("schlüssel"), Value: []byte("wert: ≤ 5 €\r\n\n")},
		{Key: []byte("large"), Value: large},
		{Key: []byte("one header"), Value: []byte("v"), Headers: []kgo.RecordHeader{{Key: "name", Value: []byte("value")}}},
		{Key: []byte("headers"), Value: []byte("v"), Headers: []kgo.RecordHeader{
			{Key: "twice", Value: []byte("1")},
			{Key: "twice", Value: []byte("2")},
			{Key: "null"},
			{Key: "empty", Value: []byte{}},
			{Key: "", Value: []byte("no name")},
			{Key: "bytes", Value: every},
		}},
	}
	for i := range 60 {
		rs = append(rs, &kgo.Record{Key: strconv.AppendInt(nil, int64(i), 10), Value: []byte(strings.Repeat("and so on ", i))})
	}
	for i, r := range rs {
		r.Topic = topic
		// Times go up and down.
		r.Timestamp = zero.Add(time.Duration(i*i%37) * time.Second).Add(time.Duration(i) * time.Millisecond)
	}
	return rs
}

// alike says how a record differs from the one that was sent, which has the given offset.
func alike(got, want *kgo.Record, offset int64) error {
	switch {
	case got.Offset != offset:
		return fmt.Errorf("offset %d instead of %d", got.Offset, offset)
	case !same(got.Key, want.Key):
		return fmt.Errorf("offset %d: key %q instead of %q", offset, got.Key, want.Key)
	case !same(got.Value, want.Value):
		return fmt.Errorf("offset %d: value %q instead of %q", offset, clip(got.Value), clip(want.Value))
	case !got.Timestamp.Equal(want.Timestamp):
		return fmt.Errorf("offset %d: time %v instead of %v", offset, got.Timestamp, want.Timestamp)
	case len(got.Headers) != len(want.Headers):
		return fmt.Errorf("offset %d: headers %q instead of %q", offset, got.Headers, want.Headers)
	}
	for i, h := range got.Headers {
		if h.Key != want.Headers[i].Key || !same(h.Value, want.Headers[i].Value) {
			return fmt.Errorf("offset %d: header %q instead of %q", offset, h, want.Headers[i])
		}
	}
	return nil
}

// same tells null from empty.
func same(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

func allAlike(got, want []*kgo.Record) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d records instead of %d", len(got), len(want))
	}
	for i := range got {
		if err := alike(got[i], want[i], int64(i)); err != nil {
			return err
		}
	}
	return nil
}

// usedCodec checks that every record came in a batch of one codec, by the number in the batch's attributes.
func usedCodec(records []*kgo.Record, codec int) error {
	for _, rec := range records {
		if got := int(rec.Attrs.CompressionType()); got != codec {
			return fmt.Errorf("offset %d came in a batch of codec %d (%s), not %s", rec.Offset, got, codecs[got%len(codecs)], codecs[codec])
		}
	}
	return nil
}

var franzCodecs = []kgo.CompressionCodec{
	kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
}

// write produces records with a franz-go client, and checks the offsets that it is told.
func (s *suite) write(transport string, records []*kgo.Record, opts ...kgo.Opt) error {
	cl, closeIt, err := s.franz(transport, append([]kgo.Opt{kgo.ProducerLinger(20 * time.Millisecond)}, opts...)...)
	if err != nil {
		return err
	}
	defer closeIt()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var errs []error
	for i, r := range cl.ProduceSync(ctx, records...) {
		if r.Err == nil && r.Record.Offset != int64(i) {
			r.Err = fmt.Errorf("record %d was acknowledged at offset %d", i, r.Record.Offset)
		}
		if r.Err != nil && len(errs) < 3 {
			errs = append(errs, r.Err)
		}
	}
	return errors.Join(errs...)
}

// read reads a topic's partition 0 from its start with a franz-go client: so many records, and no more.
func (s *suite) read(transport, topic string, count int, opts ...kgo.Opt) ([]*kgo.Record, error) {
	return s.readFrom(transport, topic, 0, count, opts...)
}

func (s *suite) readFrom(transport, topic string, offset int64, count int, opts ...kgo.Opt) ([]*kgo.Record, error) {
	at := map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(offset)}}
	cl, closeIt, err := s.franz(transport, append([]kgo.Opt{
		kgo.ConsumePartitions(at), kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.FetchMaxWait(100 * time.Millisecond),
	}, opts...)...)
	if err != nil {
		return nil, err
	}
	defer closeIt()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var got []*kgo.Record
	for len(got) < count {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return got, fmt.Errorf("after %d of %d records: %w", len(got), count, err)
		}
		got = append(got, fetches.Records()...)
	}
	if len(got) > count {
		return got, fmt.Errorf("%d records instead of %d", len(got), count)
	}
	end, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	if err == nil {
		err = end.Error()
	}
	if err != nil {
		return got, err
	}
	if o, _ := end.Lookup(topic, 0); o.Offset != offset+int64(count) {
		return got, fmt.Errorf("the partition ends at %d instead of %d", o.Offset, offset+int64(count))
	}
	return got, nil
}

// franzToFranz sends the samples in each codec over each transport, and reads them over each.
func (s *suite) franzToFranz() {
	for number, codec := range codecs {
		for _, out := range transports {
			topic := fmt.Sprintf("franz-%s-%s", codec, out)
			want := samples(topic)
			err := s.createOver(out, topic)
			if err == nil {
				err = s.write(out, want, kgo.ProducerBatchCompression(franzCodecs[number]))
			}
			for _, in := range transports {
				s.try(fmt.Sprintf("franz-go writes every kind of record in %s over %s and reads them over %s", codec, out, in), func() error {
					if err != nil {
						return err
					}
					got, err := s.read(in, topic, len(want))
					if err == nil {
						err = usedCodec(got, number)
					}
					if err != nil {
						return err
					}
					return allAlike(got, want)
				})
			}
		}
	}
	s.franzPlaces()
}

// createOver makes a topic with a franz-go client.
func (s *suite) createOver(transport, topic string) error {
	cl, closeIt, err := s.franz(transport)
	if err != nil {
		return err
	}
	defer closeIt()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err = kadm.NewClient(cl).CreateTopic(ctx, 1, 1, nil, topic)
	return err
}

// franzPlaces asks for offsets by time, and reads from the middle of a batch.
func (s *suite) franzPlaces() {
	for _, transport := range transports {
		topic := "franz-places-" + transport
		zero := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
		var records []*kgo.Record
		for i := range 100 {
			records = append(records, &kgo.Record{Topic: topic, Value: fmt.Append(nil, i), Timestamp: zero.Add(time.Duration(i) * time.Second / 10)})
		}
		err := s.createOver(transport, topic)
		if err == nil {
			err = s.write(transport, records, kgo.ProducerBatchCompression(kgo.ZstdCompression()))
		}
		s.try("franz-go asks for offsets by time over "+transport, func() error {
			if err != nil {
				return err
			}
			return s.byTime(transport, topic, zero)
		})
		s.try("franz-go reads from the middle of a batch over "+transport, func() error {
			if err != nil {
				return err
			}
			got, err := s.readFrom(transport, topic, 63, 37)
			if err != nil {
				return err
			}
			return alike(got[0], records[63], 63)
		})
	}
}

// byTime asks for the first record at or after times around a record, before all and after all.
func (s *suite) byTime(transport, topic string, zero time.Time) error {
	cl, closeIt, err := s.franz(transport)
	if err != nil {
		return err
	}
	defer closeIt()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, q := range []struct{ afterMs, want int64 }{{-1000, 0}, {0, 0}, {1, 1}, {4200, 42}, {4201, 43}, {9900, 99}, {9901, 100}} {
		got, err := kadm.NewClient(cl).ListOffsetsAfterMilli(ctx, zero.UnixMilli()+q.afterMs, topic)
		if err == nil {
			err = got.Error()
		}
		if err != nil {
			return err
		}
		if o, _ := got.Lookup(topic, 0); o.Offset != q.want {
			return fmt.Errorf("the first record %d ms after the beginning is %d instead of %d", q.afterMs, o.Offset, q.want)
		}
	}
	return nil
}

// franzToOthers lets kcat and weir read what franz-go wrote, in their words.
func (s *suite) franzToOthers() {
	for number, codec := range codecs {
		for _, transport := range transports {
			topic := fmt.Sprintf("out-%s-%s", codec, transport)
			in, want := franzText(topic)
			err := s.createOver("tcp", topic)
			if err == nil {
				err = s.write(transport, in, kgo.ProducerBatchCompression(franzCodecs[number]))
			}
			s.try(fmt.Sprintf("franz-go writes in %s over %s, kcat reads", codec, transport), func() error {
				if err != nil {
					return err
				}
				got, err := s.kcat(nil, "-C", "-t", topic, "-e", "-o", "beginning", "-f", `%o %T %K:%k %S:%s %h\n`)
				if err != nil {
					return err
				}
				return equal(got, want)
			})
			s.try(fmt.Sprintf("franz-go writes in %s over %s, weir reads over %s", codec, transport, transport), func() error {
				if err != nil {
					return err
				}
				args := append([]string{topic, "--stop-at-end", "--format", `%o %d %k %v %h\n`}, s.over(transport)...)
				got, err := s.cli(nil, "consume", args...)
				if err != nil {
					return err
				}
				var want bytes.Buffer
				for i, r := range in {
					fmt.Fprintf(&want, "%d %d %s %s %s\n", i, r.Timestamp.UnixMilli(), r.Key, r.Value, headerText(r, ""))
				}
				return equal(got, want.Bytes())
			})
		}
	}
}

// franzText is records without line ends, and what kcat says of them: a length of -1 is null's.
func franzText(topic string) (in []*kgo.Record, want []byte) {
	for i, r := range samples(topic) {
		if i >= 10 && i < 20 || i == 1 || i == 2 || i == 3 {
			in = append(in, r)
		}
	}
	length := func(b []byte) int {
		if b == nil {
			return -1
		}
		return len(b)
	}
	for i, r := range in {
		r.Headers = []kgo.RecordHeader{{Key: "a", Value: []byte("b")}, {Key: "null"}, {Key: "empty", Value: []byte{}}}
		want = fmt.Appendf(want, "%d %d %d:%s %d:%s %s\n", i, r.Timestamp.UnixMilli(), length(r.Key), r.Key, length(r.Value), r.Value, headerText(r, "NULL"))
	}
	return in, want
}

// headerText is headers as kcat and weir write them, but for how they write null.
func headerText(r *kgo.Record, null string) string {
	var parts []string
	for _, h := range r.Headers {
		v := string(h.Value)
		if h.Value == nil {
			v = null
		}
		parts = append(parts, h.Key+"="+v)
	}
	return strings.Join(parts, ",")
}

// othersToFranz lets franz-go read what kcat and weir wrote, over each transport.
func (s *suite) othersToFranz() {
	in, _ := textRecords()
	for _, writer := range []string{"kcat", "weir"} {
		for number, codec := range codecs {
			topic, err := s.topic("in-"+writer+"-"+codec, 1)
			if err == nil {
				err = s.writeText(writer, topic, codec, in)
			}
			for _, transport := range transports {
				s.try(fmt.Sprintf("%s writes in %s, franz-go reads over %s", writer, codec, transport), func() error {
					if err != nil {
						return err
					}
					got, err := s.read(transport, topic, textCount)
					if err == nil {
						err = usedCodec(got, number)
					}
					if err != nil {
						return err
					}
					var back bytes.Buffer
					for _, r := range got {
						fmt.Fprintf(&back, "%s:%s\n", r.Key, r.Value)
						if h := headerText(r, "null"); h != "from=here,empty=" {
							return fmt.Errorf("offset %d has the headers %s", r.Offset, h)
						}
					}
					return equal(back.Bytes(), in)
				})
			}
		}
	}
	s.nulls()
}

// nulls lets kcat write null keys and values.
func (s *suite) nulls() {
	s.try("kcat writes null keys, null values and null headers, franz-go reads them", func() error {
		topic, err := s.topic("nulls", 1)
		if err != nil {
			return err
		}
		if _, err := s.kcat([]byte("key:\n:value\nkey:value\n"), "-P", "-t", topic, "-K", ":", "-Z", "-H", "a=b", "-H", "empty=", "-H", "null"); err != nil {
			return err
		}
		got, err := s.read("tcp", topic, 3)
		if err != nil {
			return err
		}
		headers := []kgo.RecordHeader{{Key: "a", Value: []byte("b")}, {Key: "empty", Value: []byte{}}, {Key: "null"}}
		want := []*kgo.Record{
			{Key: []byte("key"), Headers: headers},
			{Value: []byte("value"), Headers: headers},
			{Key: []byte("key"), Value: []byte("value"), Headers: headers},
		}
		for i := range want {
			want[i].Timestamp = got[i].Timestamp // kcat's own
			if age := time.Since(got[i].Timestamp); age < -time.Second || age > patience {
				return fmt.Errorf("offset %d is %v old", i, age)
			}
		}
		return allAlike(got, want)
	})
}

// versions lets franz-go behave like clients of the past: each knows the requests of one version of Kafka.
func (s *suite) versions() {
	for _, v := range []struct {
		name string
		max  *kversion.Versions
	}{
		{"0.11", kversion.V0_11_0()},
		{"1.0", kversion.V1_0_0()},
		{"1.1", kversion.V1_1_0()},
		{"2.0", kversion.V2_0_0()},
		{"2.1", kversion.V2_1_0()},
		{"2.4", kversion.V2_4_0()},
		{"2.8", kversion.V2_8_0()},
		{"3.0", kversion.V3_0_0()},
		{"3.5", kversion.V3_5_0()},
		{"3.9", kversion.V3_9_0()},
		{"4.0", kversion.V4_0_0()},
	} {
		s.try("a client of Kafka "+v.name+" writes and reads", func() error {
			topic, err := s.topic("version-"+v.name, 1)
			if err != nil {
				return err
			}
			want := samples(topic)
			if err := s.write("tcp", want, kgo.MaxVersions(v.max), kgo.ProducerBatchCompression(kgo.GzipCompression())); err != nil {
				return err
			}
			got, err := s.read("tcp", topic, len(want), kgo.MaxVersions(v.max))
			if err != nil {
				return err
			}
			return allAlike(got, want)
		})
	}
	for _, acks := range []struct {
		name string
		acks kgo.Acks
	}{{"one", kgo.LeaderAck()}, {"all", kgo.AllISRAcks()}} {
		s.try("a producer without idempotence writes with acks="+acks.name, func() error {
			topic, err := s.topic("plain", 1)
			if err != nil {
				return err
			}
			want := samples(topic)
			if err := s.write("tcp", want, kgo.RequiredAcks(acks.acks), kgo.DisableIdempotentWrite()); err != nil {
				return err
			}
			got, err := s.read("quic", topic, len(want))
			if err != nil {
				return err
			}
			return allAlike(got, want)
		})
	}
	s.try("a producer that wants no answer writes", func() error {
		topic, err := s.topic("silent", 1)
		if err != nil {
			return err
		}
		cl, closeIt, err := s.franz("tcp", kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
		if err != nil {
			return err
		}
		defer closeIt()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		want := samples(topic)
		if err := cl.ProduceSync(ctx, want...).FirstErr(); err != nil {
			return err
		}
		got, err := s.read("tcp", topic, len(want))
		if err != nil {
			return err
		}
		return allAlike(got, want)
	})
}
