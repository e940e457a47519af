package quic_test

import (
	"context"
	"log"
	"net"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirmq/weir/transport/certificate"
	"github.com/weirmq/weir/transport/quic"
)

// A Go Kafka client speaks QUIC as it is: each of its connections becomes a stream.
func ExampleDialer_kgo() {
	config, err := certificate.ClientConfig("data/dev-certificate.pem")
	if err != nil {
		log.Fatal(err)
	}
	dialer := quic.NewDialer(config, quic.Config{})
	defer dialer.Close()

	client, err := kgo.NewClient(
		kgo.SeedBrokers("localhost:9092"),
		kgo.Dialer(func(ctx context.Context, _, addr string) (net.Conn, error) {
			return dialer.Dial(ctx, addr)
		}),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	client.ProduceSync(context.Background(), kgo.StringRecord("over a stream"))
}
