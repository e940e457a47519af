package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// topicOf is a name that no other client's case has.
func (t *trial) topicOf(what string) string { return what + "-" + t.name }

// made runs a case on a topic that the reference makes.
func (t *trial) made(topic string, partitions int32, f func() error) func() error {
	return func() error {
		if err := t.makeTopic(topic, partitions, nil); err != nil {
			return err
		}
		return f()
	}
}

// topics: make, list, describe, delete.
func (t *trial) topics() {
	const column = "topics"
	topic := t.topicOf("topics")
	t.tryWith(makeTopics, column, "makes a topic with three partitions and a property", func() error {
		err := t.adapter.call("create_topic", args{"topic": topic, "partitions": 3, "configs": map[string]string{"retention.ms": "3600000"}}, nil)
		if err != nil {
			return err
		}
		ctx, cancel := t.context()
		defer cancel()
		found, err := t.admin.ListTopics(ctx, topic)
		if err == nil {
			err = found.Error()
		}
		if err == nil && len(found[topic].Partitions) != 3 {
			err = fmt.Errorf("it has %d partitions", len(found[topic].Partitions))
		}
		return err
	})
	t.tryWith(makeTopics, column, "is told that a topic exists already", func() error {
		return refused(t.adapter.call("create_topic", args{"topic": topic, "partitions": 3, "configs": map[string]string{}}, nil), "exist")
	})
	if t.cannot(makeTopics) {
		t.try(column, "sees a topic that another made", func() error { return t.makeTopic(topic, 3, nil) })
	}
	t.try(column, "lists topics", func() error {
		var got struct{ Topics []string }
		if err := t.adapter.call("list_topics", nil, &got); err != nil {
			return err
		}
		if !slices.Contains(got.Topics, topic) {
			return fmt.Errorf("%s is not among %q", topic, got.Topics)
		}
		return nil
	})
	t.try(column, "describes a topic", func() error { return t.hasPartitions(topic, 3) })
	t.tryWith(createPartitions, column, "adds partitions", func() error {
		if err := t.adapter.call("create_partitions", args{"topic": topic, "count": 5}, nil); err != nil {
			return err
		}
		return eventually(func() error { return t.hasPartitions(topic, 5) })
	})
	t.tryWith(describeCluster, column, "describes the cluster", func() error {
		var got struct{ Brokers, Controller int }
		if err := t.adapter.call("describe_cluster", nil, &got); err != nil {
			return err
		}
		if got.Brokers != 1 || got.Controller != 1 {
			return fmt.Errorf("%d brokers, controller %d", got.Brokers, got.Controller)
		}
		return nil
	})
	t.tryWith(makeTopics, column, "deletes a topic", func() error {
		if err := t.adapter.call("delete_topic", args{"topic": topic}, nil); err != nil {
			return err
		}
		return eventually(func() error {
			ctx, cancel := t.context()
			defer cancel()
			found, err := t.admin.ListTopics(ctx)
			if err == nil && found.Has(topic) {
				err = errors.New("it is still there")
			}
			return err
		})
	})
	t.tryWith(makeTopics, column, "is told that there is no such topic to delete", func() error {
		return refused(t.adapter.call("delete_topic", args{"topic": t.topicOf("never-made")}, nil), "unknown", "exist", "does not host")
	})
}

type args = map[string]any

// refused checks that an operation failed, for a reason with one of the words in it.
func refused(err error, words ...string) error {
	if err == nil {
		return errors.New("it was done")
	}
	text := strings.ToLower(err.Error())
	if !slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) }) {
		return fmt.Errorf("refused for another reason: %w", err)
	}
	return nil
}

// eventually repeats a look at what need not be seen at once.
func eventually(look func() error) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := look()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (t *trial) hasPartitions(topic string, want int) error {
	var got struct{ Partitions int }
	if err := t.adapter.call("describe_topic", args{"topic": topic}, &got); err != nil {
		return err
	}
	if got.Partitions != want {
		return fmt.Errorf("%d partitions instead of %d", got.Partitions, want)
	}
	return nil
}

// has reports whether the client has a codec, by its number.
func (t *trial) has(codec int) bool {
	return codec == 0 || !t.cannot([]feature{"", codecGzip, codecSnappy, codecLz4, codecZstd}[codec])
}

// codecs: every kind of record in every codec, written by the client and by the reference.
func (t *trial) codecs() {
	for number, codec := range codecs {
		needs := []feature{"", codecGzip, codecSnappy, codecLz4, codecZstd}[number]
		topic := t.topicOf("writes-" + codec)
		want := numbered(writable(fixture(), t.cannot))
		written := false
		t.tryWith(needs, "writes "+codec, "writes every kind of record in "+codec+", and the reference reads them", t.made(topic, 1, func() error {
			if err := t.produce(topic, want, args{"codec": codec}); err != nil {
				return err
			}
			written = true
			got, err := t.refRead(topic, len(want))
			if err != nil {
				return err
			}
			if err := mostlyCodec(got, number); err != nil {
				return err
			}
			return sameRecords(fromKgo(got), want, func(f feature) bool { return f == writeTime && t.cannot(f) })
		}))
		t.tryWith(needs, "writes "+codec, "reads its own in "+codec, func() error {
			if !written {
				return errors.New("it wrote nothing")
			}
			got, err := t.consume(topic, 0, args{"offset": 0}, len(want))
			if err != nil {
				return err
			}
			return sameRecords(got, want, t.cannot)
		})
		theirs := t.topicOf("reads-" + codec)
		t.tryWith(needs, "reads "+codec, "reads every kind of record in "+codec+" from the reference", t.made(theirs, 1, func() error {
			want := numbered(fixture())
			if err := t.refWrite(theirs, want, kgo.ProducerBatchCompression(franzCodecs[number])); err != nil {
				return err
			}
			got, err := t.consume(theirs, 0, args{"offset": 0}, len(want))
			if err != nil {
				return err
			}
			return sameRecords(got, want, func(f feature) bool { return f != writeTime && t.cannot(f) })
		}))
	}
}

// mostlyCodec checks that batches came in a codec. A client may leave a batch as it is that would only grow.
func mostlyCodec(records []*kgo.Record, codec int) error {
	found := false
	for _, r := range records {
		got := int(r.Attrs.CompressionType())
		if got != codec && got != 0 {
			return fmt.Errorf("offset %d came in %s, not in %s", r.Offset, codecs[got%len(codecs)], codecs[codec])
		}
		found = found || got == codec
	}
	if !found {
		return fmt.Errorf("no batch came in %s", codecs[codec])
	}
	return nil
}

// produce lets the client write records, and checks the places that it is told if it is told any.
func (t *trial) produce(topic string, records []record, more args) error {
	a := args{"topic": topic, "codec": "none", "idempotent": false, "max_bytes": 1 << 20, "records": asArgs(records)}
	for name, v := range more {
		a[name] = v
	}
	var got struct {
		Placed [][2]int64 // partition, offset
	}
	if err := t.adapter.call("produce", a, &got); err != nil {
		return err
	}
	if got.Placed == nil {
		return nil
	}
	if len(got.Placed) != len(records) {
		return fmt.Errorf("%d of %d records were acknowledged", len(got.Placed), len(records))
	}
	for i, p := range got.Placed {
		if r := records[i]; r.Partition >= 0 && (p[0] != int64(r.Partition) || p[1] != r.Offset) {
			return fmt.Errorf("record %d was acknowledged at offset %d of partition %d", i, p[1], p[0])
		}
	}
	return nil
}

func (t *trial) consume(topic string, partition int32, from args, count int) ([]record, error) {
	var got struct{ Records []record }
	err := t.adapter.call("consume", args{"topic": topic, "partition": partition, "from": from, "count": count, "max_bytes": 16 << 20}, &got)
	return got.Records, err
}

// idempotence: many small batches under sequence numbers.
func (t *trial) idempotence() {
	topic := t.topicOf("idempotent")
	t.tryWith(idempotent, "idempotence", "writes 2000 records as an idempotent producer, once and in order", t.made(topic, 1, func() error {
		var want []record
		for i := range 2000 {
			want = append(want, record{Value: strconv.AppendInt(nil, int64(i), 10), Headers: []header{}, Offset: int64(i), TimeMs: time.Now().UnixMilli()})
		}
		if err := t.produce(topic, want, args{"idempotent": true}); err != nil {
			return err
		}
		got, err := t.refRead(topic, len(want))
		if err != nil {
			return err
		}
		for _, r := range got {
			if r.ProducerID < 0 {
				return fmt.Errorf("offset %d carries no producer id", r.Offset)
			}
			if !bytes.Equal(r.Value, want[r.Offset].Value) {
				return fmt.Errorf("offset %d holds %q", r.Offset, clip(r.Value))
			}
		}
		return nil
	}))
}

// large: a record of three MiB that no codec makes smaller.
func (t *trial) large() {
	topic := t.topicOf("large")
	size := "8388608"
	noise := make([]byte, 3<<20)
	r := rand.New(rand.NewPCG(5, 6))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	want := []record{{Value: noise, Key: []byte("large"), Headers: []header{}, TimeMs: time.Now().UnixMilli()}}
	t.try("large", "writes a record of 3 MiB and reads it back", func() error {
		if err := t.makeTopic(topic, 1, map[string]*string{"max.message.bytes": &size}); err != nil {
			return err
		}
		if err := t.produce(topic, want, args{"max_bytes": 8 << 20}); err != nil {
			return err
		}
		got, err := t.consume(topic, 0, args{"offset": 0}, 1)
		if err != nil {
			return err
		}
		return sameRecords(got, want, t.cannot)
	})
	t.try("large", "is told that a record is too large", func() error {
		if err := t.makeTopic(topic+"-refused", 1, nil); err != nil {
			return err
		}
		return refused(t.produce(topic+"-refused", want, args{"max_bytes": 8 << 20}), "large", "size", "big")
	})
}

// keys: where the client's own partitioner puts keys, and that they are read from there.
func (t *trial) keys() {
	topic := t.topicOf("keys")
	const partitions = 7
	t.try("keys", "spreads 100 keys over seven partitions, and finds them there", t.made(topic, partitions, func() error {
		var want []record
		for i := range 100 {
			want = append(want, record{Partition: -1, Key: fmt.Appendf(nil, "key-%d", i), Value: []byte("v"), Headers: []header{}, TimeMs: time.Now().UnixMilli()})
		}
		if err := t.produce(topic, want, nil); err != nil {
			return err
		}
		ctx, cancel := t.context()
		defer cancel()
		ends, err := t.admin.ListEndOffsets(ctx, topic)
		if err == nil {
			err = ends.Error()
		}
		if err != nil {
			return err
		}
		places := map[string]int32{}
		for p := range int32(partitions) {
			end, _ := ends.Lookup(topic, p)
			if end.Offset == 0 {
				return fmt.Errorf("no key is in partition %d", p)
			}
			got, err := t.consume(topic, p, args{"offset": 0}, int(end.Offset))
			if err != nil {
				return err
			}
			for _, r := range got {
				places[string(r.Key)] = p
			}
		}
		if len(places) != len(want) {
			return fmt.Errorf("%d keys of %d are found", len(places), len(want))
		}
		t.about.Partitioner = partitionerOf(places, partitions)
		return nil
	}))
}

// places: begin, end, offsets by time, reading from an offset and from a time.
func (t *trial) places() {
	const column = "offsets"
	topic := t.topicOf("places")
	zero := time.Now().Add(-time.Minute).Truncate(time.Second)
	var want []record
	for i := range 100 {
		want = append(want, record{Value: strconv.AppendInt(nil, int64(i), 10), Headers: []header{}, Offset: int64(i), TimeMs: zero.UnixMilli() + int64(i)*100})
	}
	prepared := t.makeTopic(topic, 1, nil)
	if prepared == nil {
		prepared = t.refWrite(topic, want[:50], kgo.ProducerBatchCompression(kgo.ZstdCompression(), kgo.GzipCompression()))
	}
	if prepared == nil {
		prepared = t.refWrite(topic, want[50:])
	}
	read := func(from args, at int) func() error {
		return func() error {
			if prepared != nil {
				return prepared
			}
			got, err := t.consume(topic, 0, from, len(want)-at)
			if err != nil {
				return err
			}
			return sameRecords(got, want[at:], func(f feature) bool { return f != writeTime && t.cannot(f) })
		}
	}
	if t.cannot(codecZstd) {
		prepared = errors.Join(prepared, errors.New("this case needs a client that reads zstd"))
	}
	t.try(column, "reads from the beginning", read(args{"begin": true}, 0))
	t.try(column, "reads from an offset in the middle of a batch", read(args{"offset": 63}, 63))
	t.tryWith(seekByTime, column, "reads from a time in the middle of a compressed batch", read(args{"time": zero.UnixMilli() + 4201}, 43))
	t.try(column, "asks for the begin, the end and offsets by time", func() error {
		if prepared != nil {
			return prepared
		}
		return t.offsets(topic, 0, zero.UnixMilli())
	})
	t.tryWith(deleteRecords, column, "deletes records, and finds the new begin", func() error {
		if prepared != nil {
			return prepared
		}
		if err := t.adapter.call("delete_records", args{"topic": topic, "partition": 0, "offset": 30}, nil); err != nil {
			return err
		}
		if err := t.offsets(topic, 30, zero.UnixMilli()); err != nil {
			return err
		}
		return read(args{"begin": true}, 30)()
	})
}

// offsets asks for the places of records that stand 100 ms apart.
func (t *trial) offsets(topic string, begin, zeroMs int64) error {
	var times []int64
	asked := []struct{ afterMs, want int64 }{{4200, 42}, {4201, 43}, {9900, 99}, {3050, 31}}
	for _, q := range asked {
		times = append(times, zeroMs+q.afterMs)
	}
	if t.cannot(seekByTime) {
		times, asked = nil, nil
	}
	var got struct {
		Begin, End int64
		At         []int64
	}
	if err := t.adapter.call("offsets", args{"topic": topic, "partition": 0, "times": times}, &got); err != nil {
		return err
	}
	if got.Begin != begin || got.End != 100 || len(got.At) != len(asked) {
		return fmt.Errorf("from %d to %d, at times %v", got.Begin, got.End, got.At)
	}
	for i, q := range asked {
		if got.At[i] != q.want {
			return fmt.Errorf("the first record %d ms after the beginning is %d instead of %d", q.afterMs, got.At[i], q.want)
		}
	}
	return nil
}

// properties: describe and alter a topic's.
func (t *trial) properties() {
	const column = "properties"
	topic := t.topicOf("properties")
	look := func() (map[string]string, error) {
		var got struct{ Configs map[string]string }
		err := t.adapter.call("describe_configs", args{"topic": topic}, &got)
		return got.Configs, err
	}
	bytesMax := "2000000"
	t.tryWith(describeConfigs, column, "describes a topic's properties", func() error {
		if err := t.makeTopic(topic, 1, map[string]*string{"max.message.bytes": &bytesMax}); err != nil {
			return err
		}
		got, err := look()
		if err == nil && (got["max.message.bytes"] != bytesMax || got["cleanup.policy"] != "delete" || got["retention.ms"] != "604800000") {
			err = fmt.Errorf("it says %v", got)
		}
		return err
	})
	t.tryWith(alterConfigs, column, "alters a topic's property, and the others stay", func() error {
		// Both are given, because the older request sets every property that it does not name back to its default.
		if err := t.adapter.call("alter_configs", args{"topic": topic, "configs": map[string]string{"retention.ms": "7200000", "max.message.bytes": bytesMax}}, nil); err != nil {
			return err
		}
		return eventually(func() error {
			got, err := look()
			if err == nil && (got["retention.ms"] != "7200000" || got["max.message.bytes"] != bytesMax) {
				err = fmt.Errorf("it says %v", got)
			}
			return err
		})
	})
	told := refusedConfig
	if t.cannot(alterConfigs) {
		told = alterConfigs
	}
	t.tryWith(told, column, "is told that a property's value is no good", func() error {
		return refused(t.adapter.call("alter_configs", args{"topic": topic, "configs": map[string]string{"retention.ms": "soon"}}, nil), "invalid", "retention.ms")
	})
}

// crossWrite leaves every kind of record for the other clients.
func (t *trial) crossWrite() {
	topic := t.topicOf("cross")
	number := slices.IndexFunc(clients, func(c client) bool { return c.name == t.name }) % len(codecs)
	if !t.has(number) {
		number = 1
	}
	want := numbered(writable(fixture(), t.cannot))
	t.try("cross", "writes for the others in "+codecs[number], t.made(topic, 1, func() error {
		if err := t.produce(topic, want, args{"codec": codecs[number], "idempotent": !t.cannot(idempotent)}); err != nil {
			return err
		}
		t.wrote = want
		return nil
	}))
}

// crossRead reads what the others wrote.
func (t *trial) crossRead(all []*trial) {
	for _, other := range all {
		if other == t || other.wrote == nil { // the case that wrote failed, and was counted
			continue
		}
		t.try("cross", "reads what "+other.name+" wrote", func() error {
			got, err := t.consume(other.topicOf("cross"), 0, args{"begin": true}, len(other.wrote))
			if err != nil {
				return err
			}
			return sameRecords(got, other.wrote, func(f feature) bool {
				if f == writeTime {
					return other.cannot(f)
				}
				return t.cannot(f)
			})
		})
	}
}
