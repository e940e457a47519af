package node_test

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What another client's administration sees of a node: each call of it that is served.

func adminOf(t *testing.T, n *testNode) (*kadm.Client, *kgo.Client) {
	t.Helper()
	cl := client(t, n)
	return kadm.NewClient(cl), cl
}

func value(t *testing.T, configs []kadm.Config, name string) kadm.Config {
	t.Helper()
	for _, c := range configs {
		if c.Key == name {
			return c
		}
	}
	t.Fatalf("there is no configuration %s", name)
	return kadm.Config{}
}

func TestConfigurationsAreDescribedAndAltered(t *testing.T) {
	dir := t.TempDir()
	n := start(t, testConfig(dir))
	adm, cl := adminOf(t, n)
	ctx := testContext(t)
	createTopic(t, cl, "t", 1)

	set := func(op kadm.IncrementalOp, name, v string) kadm.AlterConfig {
		return kadm.AlterConfig{Op: op, Name: name, Value: kadm.StringPtr(v)}
	}
	check := func(name, want string, source int8) {
		t.Helper()
		described, err := adm.DescribeTopicConfigs(ctx, "t")
		if err != nil {
			t.Fatal(err)
		}
		if c := value(t, described[0].Configs, name); *c.Value != want || int8(c.Source) != source {
			t.Errorf("%s is %s from %v, want %s from %v", name, *c.Value, c.Source, want, source)
		}
	}
	check("retention.ms", "604800000", 5)
	altered, err := adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{set(kadm.SetConfig, "retention.ms", "1000")}, "t")
	if err != nil || altered[0].Err != nil {
		t.Fatal(err, altered)
	}
	check("retention.ms", "1000", 1)
	altered, err = adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{set(kadm.SetConfig, "no.such", "1")}, "t")
	if err != nil || !errors.Is(altered[0].Err, kerr.InvalidConfig) || altered[0].ErrMessage == "" {
		t.Errorf("%v %+v", err, altered)
	}
	altered, err = adm.ValidateAlterTopicConfigs(ctx, []kadm.AlterConfig{set(kadm.SetConfig, "retention.ms", "2")}, "t")
	if err != nil || altered[0].Err != nil {
		t.Fatal(err, altered)
	}
	check("retention.ms", "1000", 1)
	altered, err = adm.AlterBrokerConfigs(ctx, []kadm.AlterConfig{set(kadm.SetConfig, "message.max.bytes", "70000")})
	if err != nil || altered[0].Err != nil {
		t.Fatal(err, altered)
	}
	check("max.message.bytes", "70000", 3)
	altered, err = adm.AlterTopicConfigsState(ctx, []kadm.AlterConfig{{Name: "segment.ms", Value: kadm.StringPtr("5000")}}, "t")
	if err != nil || altered[0].Err != nil {
		t.Fatal(err, altered)
	}
	check("segment.ms", "5000", 1)
	check("retention.ms", "604800000", 5)

	brokers, err := adm.DescribeBrokerConfigs(ctx, 1)
	if err != nil || brokers[0].Err != nil {
		t.Fatal(err, brokers)
	}
	if c := value(t, brokers[0].Configs, "message.max.bytes"); *c.Value != "70000" || c.Source != 3 || len(c.Synonyms) != 2 {
		t.Errorf("%+v", c)
	}
	if c := value(t, brokers[0].Configs, "log.dirs"); *c.Value != dir || c.Source != 4 {
		t.Errorf("%+v", c)
	}
	if every, err := adm.DescribeBrokerConfigs(ctx); err != nil || len(every) != 1 || len(every[0].Configs) != 1 {
		t.Errorf("%v %+v", err, every)
	}
	if other, err := adm.DescribeBrokerConfigs(ctx, 7); err == nil && other[0].Err == nil {
		t.Error("another broker's configuration is told")
	}

	// What was altered is there after a restart.
	n.stop(t)
	n = start(t, testConfig(dir))
	adm, _ = adminOf(t, n)
	check("max.message.bytes", "70000", 3)
	check("segment.ms", "5000", 1)
}

func TestPartitionsAreAddedAndUsable(t *testing.T) {
	dir := t.TempDir()
	n := start(t, testConfig(dir))
	adm, cl := adminOf(t, n)
	ctx := testContext(t)
	createTopic(t, cl, "t", 1)
	if r, err := adm.ValidateUpdatePartitions(ctx, 3, "t"); err != nil || r.Error() != nil {
		t.Fatal(err, r)
	}
	if r, err := adm.CreatePartitions(ctx, 2, "t"); err != nil || r.Error() != nil {
		t.Fatal(err, r)
	}
	if r, err := adm.UpdatePartitions(ctx, 3, "t"); err == nil && !errors.Is(r.Error(), kerr.InvalidPartitions) {
		t.Errorf("the same number again: %v", r.Error())
	}
	n.stop(t)
	n = start(t, testConfig(dir))
	adm, _ = adminOf(t, n)
	topics, err := adm.ListTopics(ctx, "t")
	if err != nil || len(topics["t"].Partitions) != 3 {
		t.Fatal(err, topics)
	}
	manual := client(t, n, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if r := manual.ProduceSync(ctx, &kgo.Record{Topic: "t", Partition: 2, Value: []byte("v")}); r.FirstErr() != nil {
		t.Error(r.FirstErr())
	}
}

func TestTheClusterIsDescribed(t *testing.T) {
	n := start(t, testConfig(t.TempDir()))
	adm, _ := adminOf(t, n)
	m, err := adm.BrokerMetadata(testContext(t))
	if err != nil || len(m.Brokers) != 1 || m.Controller != 1 || m.Cluster == "" {
		t.Errorf("%v %+v", err, m)
	}
	req := kmsg.NewPtrDescribeClusterRequest()
	req.IncludeClusterAuthorizedOperations = true
	resp, err := req.RequestWith(testContext(t), client(t, n))
	if err != nil || resp.ErrorCode != 0 || resp.ClusterID != m.Cluster || len(resp.Brokers) != 1 || resp.ControllerID != 1 {
		t.Fatalf("%v %+v", err, resp)
	}
	if resp.ClusterAuthorizedOperations != 8096 {
		t.Errorf("operations %b", resp.ClusterAuthorizedOperations)
	}
}

func TestRecordsAreDeletedForGood(t *testing.T) {
	dir := t.TempDir()
	n := start(t, testConfig(dir))
	adm, cl := adminOf(t, n)
	ctx := testContext(t)
	createTopic(t, cl, "t", 1)
	for range 3 {
		produce(t, cl, records("t", 10))
	}
	offsets := func(at int64) kadm.Offsets {
		o := make(kadm.Offsets)
		o.Add(kadm.Offset{Topic: "t", Partition: 0, At: at})
		return o
	}
	deleted, err := adm.DeleteRecords(ctx, offsets(13))
	if err != nil || deleted.Error() != nil || deleted["t"][0].LowWatermark != 13 {
		t.Fatal(err, deleted)
	}
	if r, err := adm.DeleteRecords(ctx, offsets(31)); err != nil || !errors.Is(r["t"][0].Err, kerr.OffsetOutOfRange) {
		t.Errorf("%v %+v", err, r)
	}
	begins := func() {
		t.Helper()
		starts, err := adm.ListStartOffsets(ctx, "t")
		if err != nil || starts["t"][0].Offset != 13 {
			t.Errorf("the log starts at %+v, %v", starts["t"][0], err)
		}
		got := consume(t, n, "t", 17)[0]
		if got[0].Offset != 13 {
			t.Errorf("the first record is at %d", got[0].Offset)
		}
	}
	begins()
	n.Kill()
	n = start(t, testConfig(dir))
	adm, _ = adminOf(t, n)
	begins()
	if r, err := adm.DeleteRecords(ctx, offsets(-1)); err != nil || r["t"][0].LowWatermark != 30 {
		t.Errorf("%v %+v", err, r)
	}
}

func TestEpochsEndAtTheLogsEnd(t *testing.T) {
	n := start(t, testConfig(t.TempDir()))
	adm, cl := adminOf(t, n)
	createTopic(t, cl, "t", 1)
	produce(t, cl, records("t", 10))
	in := kadm.OffsetForLeaderEpochRequest{}
	in.Add("t", 0, 0)
	got, err := adm.OffsetForLeaderEpoch(testContext(t), in)
	if err != nil || got["t"][0].Err != nil || got["t"][0].EndOffset != 10 || got["t"][0].LeaderEpoch != 0 {
		t.Errorf("%v %+v", err, got)
	}
}
