package node_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirmq/weir/core/record"
)

// fetchBatch is what a fetch of some version is given of the partition t/0 at an offset.
func fetchBatch(t *testing.T, w *wire, topic string, version int16, offset int64) (record.Batch, int16) {
	t.Helper()
	r := kmsg.NewPtrFetchRequest()
	r.SetVersion(version)
	r.MaxBytes, r.MinBytes, r.SessionEpoch = 1<<20, 1, -1
	partition := kmsg.NewFetchRequestTopicPartition()
	partition.FetchOffset, partition.PartitionMaxBytes = offset, 1<<20
	r.Topics = []kmsg.FetchRequestTopic{{Topic: topic, Partitions: []kmsg.FetchRequestTopicPartition{partition}}}
	if _, err := w.Write(w.frame(r)); err != nil {
		t.Fatal(err)
	}
	_, body := w.receive()
	if r.IsFlexible() {
		body = body[1:]
	}
	in := kmsg.NewPtrFetchResponse()
	in.Version = version
	if err := in.ReadFrom(body); err != nil {
		t.Fatal(err)
	}
	p := in.Topics[0].Partitions[0]
	return p.RecordBatches, p.ErrorCode
}

func TestTopicsKeepRecordsInTheirOwnCodec(t *testing.T) {
	dir := t.TempDir()
	n := start(t, testConfig(dir))
	ctx := testContext(t)
	setCodec := func(topic, codec string) {
		t.Helper()
		adm, _ := adminOf(t, n)
		altered, err := adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: "compression.type", Value: kadm.StringPtr(codec)}}, topic)
		if err != nil || altered[0].Err != nil {
			t.Fatal(err, altered)
		}
	}
	sent := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "zstd": kgo.ZstdCompression()}
	kept := map[string]record.Codec{
		"uncompressed": record.CodecNone, "gzip": record.CodecGzip, "snappy": record.CodecSnappy, "lz4": record.CodecLz4, "zstd": record.CodecZstd,
	}
	value := bytes.Repeat([]byte("compressible "), 300)
	w := dial(t, n)
	for name, codec := range kept {
		for from, compression := range sent {
			topic := name + "-" + from
			cl := client(t, n, kgo.ProducerBatchCompression(compression), kgo.RecordPartitioner(kgo.ManualPartitioner()))
			createTopic(t, cl, topic, 1)
			setCodec(topic, name)
			for i := range 3 {
				r := &kgo.Record{Topic: topic, Key: fmt.Append(nil, i), Value: value, Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("v")}}}
				if err := cl.ProduceSync(ctx, r).FirstErr(); err != nil {
					t.Fatalf("%s: %v", topic, err)
				}
			}
			b, code := fetchBatch(t, w, topic, 12, 0)
			if code != 0 || len(b) == 0 || b.Codec() != codec {
				t.Errorf("%s: code %d, %d bytes in %v", topic, code, len(b), b.Codec())
			}
			for i, r := range consume(t, n, topic, 3)[0] {
				if !bytes.Equal(r.Value, value) || string(r.Key) != fmt.Sprint(i) || len(r.Headers) != 1 {
					t.Errorf("%s: offset %d read back as %q with %d headers", topic, i, r.Key, len(r.Headers))
				}
			}
		}
	}
	// Who does not know zstd gets none of a topic that is kept in it (KIP-110), and of others what is there.
	if _, code := fetchBatch(t, w, "zstd-none", 9, 0); code != kerr.UnsupportedCompressionType.Code {
		t.Errorf("Fetch 9 of a topic kept in zstd: %v", kerr.ErrorForCode(code))
	}
	if b, code := fetchBatch(t, w, "gzip-zstd", 9, 0); code != 0 || len(b) == 0 {
		t.Errorf("Fetch 9 of a topic kept in gzip: %v", kerr.ErrorForCode(code))
	}
	// It holds after a restart, and ends with the setting.
	n.stop(t)
	n = start(t, testConfig(dir))
	w = dial(t, n)
	cl := client(t, n, kgo.ProducerBatchCompression(kgo.NoCompression()))
	produce(t, cl, records("lz4-none", 1))
	if b, _ := fetchBatch(t, w, "lz4-none", 12, 3); b.Codec() != record.CodecLz4 {
		t.Errorf("after a restart records are kept in %v", b.Codec())
	}
	setCodec("lz4-none", "producer")
	produce(t, cl, records("lz4-none", 1))
	if b, _ := fetchBatch(t, w, "lz4-none", 12, 4); b.Codec() != record.CodecNone {
		t.Errorf("after the setting is gone records are kept in %v", b.Codec())
	}
}

func TestABatchThatIsTooLargeUncompressedIsRefusedWhereItWouldBeKeptSo(t *testing.T) {
	n := start(t, testConfig(t.TempDir()))
	ctx := testContext(t)
	adm, cl := adminOf(t, n)
	createTopic(t, cl, "t", 1)
	for name, v := range map[string]string{"compression.type": "uncompressed", "max.message.bytes": "5000"} {
		if a, err := adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: name, Value: kadm.StringPtr(v)}}, "t"); err != nil || a[0].Err != nil {
			t.Fatal(err, a)
		}
	}
	packed := client(t, n, kgo.ProducerBatchCompression(kgo.GzipCompression()))
	err := packed.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: make([]byte, 100_000)}).FirstErr()
	if err == nil || !bytes.Contains([]byte(err.Error()), []byte("MESSAGE_TOO_LARGE")) {
		t.Errorf("%v", err)
	}
	if err := packed.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: make([]byte, 1000)}).FirstErr(); err != nil {
		t.Error(err)
	}
}
