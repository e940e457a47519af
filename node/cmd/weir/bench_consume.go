package main

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/spf13/cobra"

	"github.com/weirmq/weir/clients/consumer"
)

func (a *app) benchConsumeCommand(k *connection) *cobra.Command {
	var topic string
	var records int64
	var consumers int
	var m measuring
	c := &cobra.Command{
		Use: "consume", Short: "Read what is there as fast as can be", Args: cobra.NoArgs,
		Long: `Read records from the beginning and report throughput. It stops at --records, or at the end of what is there:
` + "`weir bench produce`" + ` puts something there.`,
		Example: `  weir bench consume --records 1000000
  weir bench consume --topic orders --consumers 4 --transport quic --ca weir-data/tls/dev-certificate.pem`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if records < 1 || consumers < 1 {
				return usage("--records and --consumers are 1 or more")
			}
			return a.runBenchConsume(cmd.Context(), k, &m, topic, records, consumers)
		},
	}
	f := c.Flags()
	f.StringVar(&topic, "topic", benchTopic, "topic to read")
	f.Int64Var(&records, "records", 1_000_000, "how many, of all consumers together")
	f.IntVar(&consumers, "consumers", 1, "consumers, each reading everything with connections of its own")
	m.flags(c)
	return c
}

func (a *app) runBenchConsume(ctx context.Context, k *connection, settings *measuring, topic string, records int64, consumers int) error {
	cl, done, err := k.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := topicExists(ctx, cl, k.timeout, topic, nil); err != nil {
		return err
	}
	m := a.newMeter(settings.quiet)
	errs := make([]error, consumers)
	var all sync.WaitGroup
	for i := range consumers {
		co, err := consumer.New(cl, consumer.WithTopics(topic), consumer.WithStopAtEnd())
		if err != nil {
			return err
		}
		all.Go(func() {
			errs[i] = errors.Join(benchRead(ctx, co, records, m), co.Close())
		})
	}
	all.Wait()
	f := m.stop("consumed", map[string]any{"transport": k.transport, "consumers": consumers, "topic": topic})
	if f.Records < records && ctx.Err() == nil {
		a.say("the topic held only %s for these consumers", amount(f.Records, "record"))
	}
	return errors.Join(a.show(f, settings.html), clientError(errors.Join(errs...)))
}

// benchRead reads until the consumers together have enough, or the end.
func benchRead(ctx context.Context, co *consumer.Consumer, enough int64, m *meter) error {
	var batch []consumer.Record
	for m.records.Load() < enough {
		var err error
		clear(batch)
		batch, err = co.PollInto(ctx, batch[:0])
		n := int64(0)
		for i := range batch {
			n += int64(len(batch[i].Key) + len(batch[i].Value))
		}
		m.bytes.Add(n)
		m.records.Add(int64(len(batch)))
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), ctx.Err() != nil:
			return nil
		default:
			return err
		}
	}
	return nil
}
