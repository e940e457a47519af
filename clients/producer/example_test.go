package producer_test

import (
	"context"
	"errors"
	"log"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/clients/client"
	"github.com/weirmq/weir/clients/producer"
)

func Example() {
	ctx := context.Background()
	c, err := client.New([]string{"localhost:9092"}, client.WithID("billing"))
	if err != nil {
		log.Fatal(err)
	}
	p, err := producer.New(c, producer.WithCompression(producer.Zstd, 0), producer.WithLinger(10*time.Millisecond))
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close(ctx)

	// One record, and its offset:
	res, err := p.Produce(ctx, producer.Record{Topic: "orders", Key: []byte("customer 7"), Value: []byte(`{"item": 12}`)})
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("written to %s/%d at %d", res.Topic, res.Partition, res.Offset)

	// Many, without waiting for each:
	for i := range 1_000_000 {
		err := p.ProduceAsync(ctx, producer.Record{Topic: "ticks", Value: []byte{byte(i)}}, func(_ producer.Result, err error) {
			if err != nil {
				log.Print(err)
			}
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	if err := p.Flush(ctx); err != nil {
		log.Fatal(err)
	}
}

// What an error means for the record.
func Example_errors() {
	var p *producer.Producer
	_, err := p.Produce(context.Background(), producer.Record{Topic: "orders"})
	switch {
	case err == nil:
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		log.Print("we may not write there")
	case client.Definite(err):
		log.Print("it was not written: it can be tried again without writing it twice")
	default:
		log.Print("it may have been written")
	}
}
