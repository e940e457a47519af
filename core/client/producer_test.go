package client_test

import (
	"fmt"
	"testing"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/client/clienttest"
	"github.com/weirmq/weir/core/model"
)

func producerFor(c *clienttest.Cluster, edit func(*client.ProducerConfig)) *client.Producer {
	cfg := client.NewProducerConfig(c.Addr(c.Brokers[0]))
	cfg.Seed = 7
	if edit != nil {
		edit(&cfg)
	}
	return client.NewProducer(cfg)
}

func TestProducedRecordsAreAcknowledgedInOrder(t *testing.T) {
	c := clienttest.New(2)
	c.Create("t", 2)
	w := newWorld(t, c)
	w.tracing = true
	p := producerFor(c, func(cfg *client.ProducerConfig) { cfg.BatchBytes = 256 })
	for i := range 20 {
		w.produce(p, "t", model.Partition(i%2), "", fmt.Sprintf("value %02d of twenty", i), uint64(i))
	}
	if !w.run(5000*ms, func() bool { return p.UnackedCount() == 0 }, p) {
		t.Fatalf("%d records were not acknowledged\n%s", p.UnackedCount(), w.trace.String())
	}
	t.Log(w.trace.String())
	for _, a := range w.acks {
		part := c.Topic("t").Partitions[a.Partition]
		records := part.Records()
		for i, h := range a.Handles {
			r := records[int(a.BaseOffset)+i]
			if want := fmt.Sprintf("value %02d of twenty", h); string(r.Value) != want {
				t.Errorf("offset %d holds %q, the ack says %q", r.Offset, r.Value, want)
			}
		}
	}
}
