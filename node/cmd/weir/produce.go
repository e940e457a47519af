package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
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

func (a *app) produceCommand() *cobra.Command {
	k := &connection{}
	var p producing
	var delimiter string
	var headers []string
	var partition int32
	var keepNewline bool
	c := &cobra.Command{
		Use: "produce TOPIC", Short: "Write a record for each line of standard input", Args: cobra.ExactArgs(1),
		Long: `Write a record for each line of standard input. Lines may hold any bytes; the newline at the end is not part of
the record unless --keep-newline is given. A topic that does not exist is created if the broker allows it. What was
written is reported on stderr.

To get a file back byte for byte, whether or not it ends with a newline, keep the newlines and print nothing else:

  weir produce copy --keep-newline < FILE
  weir consume copy --from beginning --stop-at-end --format %v`,
		Example: `  echo hello | weir produce greetings
  printf 'alice:login\nbob:logout\n' | weir produce events --key-delimiter :
  weir produce logs --compression zstd --header host=web-1 < access.log`,
		RunE: func(cmd *cobra.Command, args []string) error {
			options, err := p.options()
			if err != nil {
				return err
			}
			r := producer.Record{Topic: args[0]}
			if cmd.Flags().Changed("partition") {
				if partition < 0 {
					return usage("--partition is a number from 0 on")
				}
				r.Partition = producer.On(partition)
			}
			for _, h := range headers {
				name, value, found := strings.Cut(h, "=")
				if !found {
					return usage("--header takes NAME=VALUE, not %q", h)
				}
				r.Headers = append(r.Headers, producer.Header{Key: name, Value: []byte(value)})
			}
			cl, done, err := k.open(cmd.Context(), client.WithAutoCreate())
			if err != nil {
				return err
			}
			defer done()
			pr, err := producer.New(cl, append(options, producer.WithDeliveryTimeout(max(k.timeout, p.linger+time.Second)))...)
			if err != nil {
				return usage("%v", err)
			}
			return a.produceLines(cmd.Context(), pr, r, lineForm{delimiter, keepNewline}, k.timeout)
		},
	}
	k.flags(c)
	p.flags(c, 5*time.Millisecond)
	f := c.Flags()
	f.StringVarP(&delimiter, "key-delimiter", "k", "", "what stands before its first occurrence in a line is the record's key")
	f.BoolVar(&keepNewline, "keep-newline", false, "a line's newline is part of its record")
	f.StringArrayVarP(&headers, "header", "H", nil, "a header of every record, as NAME=VALUE; may be repeated")
	f.Int32VarP(&partition, "partition", "p", -1, "write to this partition; otherwise by key, or spread")
	return c
}

// written counts what was produced.
type written struct {
	mu         sync.Mutex
	records    int64
	bytes      int64
	failed     int64
	first      error // the first failure
	partitions map[int32]int64
}

func (w *written) done(bytes int) func(producer.Result, error) {
	return func(r producer.Result, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if err != nil {
			w.failed++
			if w.first == nil {
				w.first = err
			}
			return
		}
		w.records++
		w.bytes += int64(bytes)
		w.partitions[r.Partition]++
	}
}

func (w *written) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.first
}

// lineForm says how lines become records.
type lineForm struct {
	keyDelimiter string // empty: lines have no keys
	keepNewline  bool
}

// produceLines writes a record like r for each line until the input ends, something fails or the user stops.
func (a *app) produceLines(ctx context.Context, p *producer.Producer, r producer.Record, form lineForm, timeout time.Duration) error {
	begin := time.Now()
	w := &written{partitions: map[int32]int64{}}
	lines := bufio.NewReaderSize(a.stdin, 1<<20)
	err := func() error {
		for ctx.Err() == nil && w.failure() == nil {
			line, err := readLine(lines, form.keepNewline)
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return fmt.Errorf("standard input: %w", err)
			}
			r.Key, r.Value = nil, line
			if form.keyDelimiter != "" {
				if key, value, found := bytes.Cut(line, []byte(form.keyDelimiter)); found {
					r.Key, r.Value = key, value
				}
			}
			if err := p.ProduceAsync(ctx, r, w.done(len(r.Key)+len(r.Value))); err != nil {
				return err
			}
		}
		return nil
	}()
	// What was taken is written, also when the user has stopped.
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	err = errors.Join(err, p.Close(closing))

	w.mu.Lock()
	defer w.mu.Unlock()
	if w.first != nil {
		err = errors.Join(clientError(w.first), err)
	}
	took := time.Since(begin)
	if a.json() {
		out := map[string]any{"topic": r.Topic, "records": w.records, "bytes": w.bytes, "failed": w.failed, "seconds": took.Seconds()}
		return errors.Join(err, a.printJSON(out))
	}
	where := "no partition"
	if n := len(w.partitions); n == 1 {
		for p := range w.partitions {
			where = fmt.Sprintf("partition %d", p)
		}
	} else if n > 1 {
		where = fmt.Sprintf("%d partitions", n)
	}
	a.say("produced %d records, %s, to %s of %s in %s", w.records, size(w.bytes), where, r.Topic, elapsed(took))
	if w.failed > 0 {
		a.say("failed   %d records", w.failed)
	}
	return err
}

// readLine reads up to a newline, which it takes off unless told to keep it, or to the end of the input, which
// need not have one. The line is the caller's.
func readLine(r *bufio.Reader, keepNewline bool) ([]byte, error) {
	part, err := r.ReadSlice('\n')
	line := slices.Clone(part)
	for err == bufio.ErrBufferFull {
		part, err = r.ReadSlice('\n')
		line = append(line, part...)
	}
	if err == io.EOF && len(line) > 0 {
		return line, nil
	}
	if !keepNewline {
		line = bytes.TrimSuffix(line, []byte{'\n'})
	}
	return line, err
}

// size is a number of bytes for people.
func size(n int64) string {
	const units = "kMGTP"
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v, u := float64(n)/1000, 0
	for v >= 999.5 && u < len(units)-1 {
		v, u = v/1000, u+1
	}
	return fmt.Sprintf("%.3g %cB", v, units[u])
}
