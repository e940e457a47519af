package admin_test

import (
	"context"
	"errors"
	"log"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/clients/admin"
	"github.com/weirmq/weir/clients/client"
)

func Example() {
	ctx := context.Background()
	c, err := client.New([]string{"localhost:9092"})
	if err != nil {
		log.Fatal(err)
	}
	a, err := admin.New(c)
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	err = a.CreateTopic(ctx, admin.Topic{Name: "orders", Partitions: 12, Configs: map[string]string{"retention.ms": "604800000"}})
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		log.Fatal(err)
	}
	ends, err := a.EndOffsets(ctx, "orders")
	if err != nil {
		log.Fatal(err)
	}
	for _, o := range ends {
		log.Printf("%s/%d ends at %d", o.Topic, o.Partition, o.Offset)
	}
}
