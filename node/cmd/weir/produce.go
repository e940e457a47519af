package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmq/weir/clients/client"
	"github.com/weirmq/weir/clients/producer"
)

// producing is the flags that produce and bench produce share.
type producing struct {
	acks, codec     string
	linger          time.Duration
	batchBytes      int
	requestBytesMax int
}

func (p *producing) flags(c *cobra.Command, linger time.Duration) {
	f := c.Flags()
	f.StringVar(&p.acks, "acks", "all", "all: on every in-sync replica's disk; 1: the leader's; 0: nobody is asked")
	f.StringVarP(&p.codec, "compression", "z", "none", "none, gzip, snappy, lz4 or zstd")
	f.DurationVar(&p.linger, "linger", linger, "how long a batch waits for more records")
	f.IntVar(&p.batchBytes, "batch-bytes", 256<<10, "how large a partition's batch grows before it is sent")
	f.IntVar(&p.requestBytesMax, "max-request-bytes", 1<<20, "bounds a request, and so a record")
}

var codecs = map[string]producer.Codec{
	"none": producer.NoCompression, "gzip": producer.Gzip, "snappy": producer.Snappy, "lz4": producer.Lz4, "zstd": producer.Zstd,
}

func (p *producing) options() ([]producer.Option, error) {
	acks := map[string]producer.Acks{"all": producer.AcksAll, "-1": producer.AcksAll, "1": producer.AcksLeader, "0": producer.AcksNone}
	a, ok := acks[p.acks]
	if !ok {
		return nil, usage("--acks is all, 1 or 0, not %q", p.acks)
	}
	codec, ok := codecs[p.codec]
	if !ok {
		return nil, usage("--compression is none, gzip, snappy, lz4 or zstd, not %q", p.codec)
	}
	return []producer.Option{
		producer.WithAcks(a), producer.WithCompression(codec, 0), producer.WithLinger(p.linger),
		producer.WithBatchBytes(p.batchBytes), producer.WithMaxRequestBytes(max(p.requestBytesMax, p.batchBytes)),
	}, nil
}

// recordFlags is the flags of produce that are about its records.
type recordFlags struct {
	producing
	inputForm
	files          []string
	key            string
	keySet         bool
	headers        []string
	timestamp      string
	partition      int32
	keepPartition  bool
	checkOffsets   bool
	partitioner    string
	keyPartition   string
	notIdempotent  bool
	rate           float64
	report         bool
	keepGoing      bool
	noAutoCreate   bool
	template       producer.Record // what every record has
	timeout        time.Duration
	choose         func(key []byte, partitions int32) int32 // nil: the producer does
	partitionGiven bool
}

func (a *app) produceCommand() *cobra.Command {
	k := &connection{}
	var p recordFlags
	c := &cobra.Command{
		Use: "produce [TOPIC]", Short: "Write a record for each line of standard input", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeTopics(k),
		Long: `Write a record for each line of standard input. Lines may hold any bytes; the newline at the end is not part of
the record unless --keep-newline is given. A topic that does not exist is created if the broker allows it. What was
written is reported on stderr; --report lists each record with the partition and offset that it got.

--key-delimiter takes keys from the lines, --delimiter ends records by something else than a newline, and --format reads
other forms: the verbs %v %k %t %p %d %o as ` + "`weir consume --help`" + ` explains them, with %v{base64}, %v{hex} and %v{escaped},
divided by text. --format json reads what ` + "`weir consume --output json`" + ` writes; without TOPIC each record goes to the topic
that it names. Timestamps are kept, partitions with --keep-partition, and --check-offsets fails unless records get the
offsets that they had.

To get a file back byte for byte, whether or not it ends with a newline, keep the newlines and print nothing else:

  weir produce copy --keep-newline < FILE
  weir consume copy --offset start --until end --format %v`,
		Example: `  echo hello | weir produce greetings
  printf 'alice:login\nbob:logout\n' | weir produce events --key-delimiter :
  printf 'a\tYQA=\n' | weir produce events --format '%k\t%v{base64}\n' --report
  printf 'alice:\n' | weir produce users --key-delimiter : --tombstones
  seq 1000 | weir produce numbers --compression zstd --header host=web-1 --rate 5000
  weir produce images --file logo.png --key logo
  weir consume orders --offset start --until end --output json | weir produce copy --format json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			topic := ""
			if len(args) == 1 {
				topic = args[0]
			}
			p.keySet = cmd.Flags().Changed("key")
			p.nullSet = cmd.Flags().Changed("null")
			p.partitionGiven = cmd.Flags().Changed("partition")
			p.timeout = k.timeout
			options, err := p.prepare(topic)
			if err != nil {
				return err
			}
			var from recordReader = &fileReader{names: p.files}
			if len(p.files) == 0 {
				if from, err = p.reader(newInterruptible(cmd.Context(), a.stdin)); err != nil {
					return err
				}
			}
			var co []client.Option
			if !p.noAutoCreate {
				co = append(co, client.WithAutoCreate())
			}
			cl, done, err := k.open(cmd.Context(), co...)
			if err != nil {
				return err
			}
			defer done()
			pr, err := producer.New(cl, append(options, producer.WithDeliveryTimeout(max(k.timeout, p.linger+time.Second)))...)
			if err != nil {
				return usage("%v", err)
			}
			if isTerminal(a.stdin) && len(p.files) == 0 {
				a.say("each line is a record; Ctrl-D ends")
			}
			x := &production{app: a, flags: &p, client: cl, producer: pr, counts: map[string]int32{}}
			return x.run(cmd.Context(), from)
		},
	}
	k.flags(c)
	p.producing.flags(c, 5*time.Millisecond)
	f := c.Flags()
	f.StringVarP(&p.format, "format", "f", "", "how records are written, or json; default lines")
	f.StringVarP(&p.delimiter, "delimiter", "d", "", `what ends a record; default \n`)
	f.StringVarP(&p.keyDelimiter, "key-delimiter", "k", "", "what stands before its first occurrence in a line is the record's key")
	f.BoolVar(&p.keepNewline, "keep-newline", false, "a line's newline (or --delimiter) is part of its record")
	f.StringVar(&p.null, "null", "", "keys and values that are this `TEXT` are null")
	f.BoolVarP(&p.tombstones, "tombstones", "Z", false, "empty values are null, which deletes the key in a compacted topic")
	f.StringArrayVar(&p.files, "file", nil, "write this `FILE` as one record instead of standard input; may be repeated")
	f.StringVar(&p.key, "key", "", "the key of every record that has none of its own")
	f.StringArrayVarP(&p.headers, "header", "H", nil, "a header of every record, as `NAME=VALUE`; may be repeated")
	f.StringVar(&p.timestamp, "timestamp", "", "the `TIME` of every record that has none of its own; default now")
	f.Int32VarP(&p.partition, "partition", "p", -1, "write to this partition; otherwise by key, or spread")
	f.BoolVar(&p.keepPartition, "keep-partition", false, "write records to the partitions that they name (--format)")
	f.BoolVar(&p.checkOffsets, "check-offsets", false, "fail unless records get the offsets that they name (--format)")
	f.StringVar(&p.partitioner, "partitioner", "murmur2", "how keys choose partitions: murmur2 (Java), crc32 (librdkafka), fnv1a (sarama); or round-robin")
	f.StringVar(&p.keyPartition, "key-partition", "", "write to the partition of this `KEY`, whatever keys the records have")
	f.BoolVar(&p.notIdempotent, "no-idempotence", false, "let retries write a record twice; for brokers that deny producer ids")
	f.Float64Var(&p.rate, "rate", 0, "write so many `records` a second; 0: as fast as it goes")
	f.BoolVar(&p.report, "report", false, "print topic, partition and offset of each record that was written, or why not; JSON with --output json")
	f.BoolVar(&p.keepGoing, "keep-going", false, "go on after a record could not be written; the exit code is still 1")
	f.BoolVar(&p.noAutoCreate, "no-auto-create", false, "do not have the broker create a topic that does not exist")
	return c
}

// prepare checks the flags and makes the producer's options.
func (p *recordFlags) prepare(topic string) ([]producer.Option, error) {
	options, err := p.options()
	if err != nil {
		return nil, err
	}
	if p.notIdempotent {
		options = append(options, producer.WithoutIdempotence())
	}
	p.template.Topic = topic
	namesTopics := p.format == "json" || strings.Contains(p.format, "%t")
	switch {
	case topic == "" && !namesTopics:
		return nil, usage("TOPIC is missing: only --format json, or one with %%t, lets records name it")
	case p.partitionGiven && p.partition < 0:
		return nil, usage("--partition is a number from 0 on")
	case p.partitionGiven && (p.keepPartition || p.keyPartition != ""), p.keepPartition && p.keyPartition != "":
		return nil, usage("--partition, --keep-partition and --key-partition are ways to choose partitions: give one")
	case p.keepPartition && p.format == "":
		return nil, usage("--keep-partition is for records that name their partitions: --format json, or one with %%p")
	case p.checkOffsets && p.format == "":
		return nil, usage("--check-offsets is for records that name their offsets: --format json, or one with %%o")
	case p.rate < 0:
		return nil, usage("--rate is records a second")
	case len(p.files) > 0 && (p.format != "" || p.keyDelimiter != "" || p.delimiter != "" || p.keepNewline):
		return nil, usage("--file makes a record of each file as it is: leave out what divides records")
	case p.checkOffsets && p.acks == "0":
		return nil, usage("with --acks 0 no broker tells offsets")
	}
	if p.partitionGiven {
		p.template.Partition = producer.On(p.partition)
	}
	if p.choose, err = partitioner(p.partitioner); err != nil {
		return nil, err
	}
	if p.keyPartition != "" && p.choose == nil {
		p.choose = byMurmur2
	}
	for _, h := range p.headers {
		name, value, found := strings.Cut(h, "=")
		if !found {
			return nil, usage("--header takes NAME=VALUE, not %q", h)
		}
		p.template.Headers = append(p.template.Headers, producer.Header{Key: name, Value: []byte(value)})
	}
	if p.keySet {
		p.template.Key = []byte(p.key)
	}
	if p.timestamp != "" {
		if p.template.Timestamp, err = parseTime(strings.TrimPrefix(p.timestamp, "@"), time.Now()); err != nil {
			return nil, usage("--timestamp: %v", err)
		}
	}
	return options, nil
}

// fill gives a record what it has not by itself.
func (p *recordFlags) fill(in *input) producer.Record {
	r := in.record
	t := &p.template
	if t.Topic != "" {
		r.Topic = t.Topic
	}
	if r.Key == nil && p.keySet {
		r.Key = t.Key
	}
	if r.Timestamp.IsZero() {
		r.Timestamp = t.Timestamp
	}
	if len(t.Headers) > 0 {
		r.Headers = append(r.Headers[:len(r.Headers):len(r.Headers)], t.Headers...)
	}
	r.Partition = t.Partition
	if p.keepPartition && in.partition >= 0 {
		r.Partition = producer.On(in.partition)
	}
	return r
}

// nextInput reads a record; done is true at the end of the input.
func nextInput(from recordReader) (in input, done bool, err error) {
	in, err = from.read()
	switch {
	case err == nil:
		return in, false, nil
	case err == io.EOF, errors.Is(err, context.Canceled): // or the user has stopped it
		return in, true, nil
	}
	var f *failure
	var path *os.PathError
	if errors.As(err, &f) || errors.As(err, &path) {
		return in, false, err
	}
	return in, false, fmt.Errorf("standard input: %w", err)
}

// pace waits until the nth record may be written.
func pace(ctx context.Context, begin time.Time, n int64, rate float64) {
	if rate <= 0 {
		return
	}
	due := begin.Add(time.Duration(float64(n) / rate * float64(time.Second)))
	if wait := time.Until(due); wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}
