package consumer_test

import (
	"context"
	"log"
	"time"

	"github.com/weirmq/weir/clients/client"
	"github.com/weirmq/weir/clients/consumer"
)

func Example() {
	ctx := context.Background()
	cl, err := client.New([]string{"localhost:9092"})
	if err != nil {
		log.Fatal(err)
	}
	c, err := consumer.New(cl, consumer.WithTopics("orders"), consumer.WithStart(consumer.Since(time.Now().Add(-time.Hour))))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	for rec, err := range c.Records(ctx) {
		if err != nil {
			log.Print(err) // about one partition, unless the loop ends with it
			continue
		}
		log.Printf("%s/%d at %d: %s", rec.Topic, rec.Partition, rec.Offset, rec.Value)
	}
}

// Everything that is there now, in batches whose memory is used again.
func Example_batches() {
	ctx := context.Background()
	cl, err := client.New([]string{"localhost:9092"})
	if err != nil {
		log.Fatal(err)
	}
	c, err := consumer.New(cl, consumer.WithPartition("orders", 0, consumer.Earliest), consumer.WithStopAtEnd())
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	var batch []consumer.Record
	for {
		if batch, err = c.PollInto(ctx, batch[:0]); err != nil {
			break // io.EOF at the end
		}
		log.Printf("%d records", len(batch))
	}
}
