package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/weirmq/weir/clients/admin"
	"github.com/weirmq/weir/clients/client"
	"github.com/weirmq/weir/clients/producer"
	"github.com/weirmq/weir/node/explain"
)

// production is one run of produce.
type production struct {
	app      *app
	flags    *recordFlags
	client   *client.Client
	producer *producer.Producer

	counts  map[string]int32 // partitions of topics, for a partitioner of ours
	written written
	report  *bufio.Writer // nil: none
}

// written counts what was produced.
type written struct {
	mu         sync.Mutex // of all fields, and of the report
	records    int64
	bytes      int64
	failed     int64
	misplaced  int64 // written at another offset than expected
	first      error // the first failure
	partitions map[topicPartition]int64
	flushed    time.Time
}

type topicPartition struct {
	topic     string
	partition int32
}

func (w *written) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.first
}

// run writes records until the input ends, something fails or the user stops.
func (x *production) run(ctx context.Context, from recordReader) error {
	begin := time.Now()
	x.written.partitions = map[topicPartition]int64{}
	if x.flags.report {
		x.report = bufio.NewWriter(x.app.stdout)
	}
	read := int64(0)
	stop := func() {}
	if !isTerminal(x.app.stdin) {
		stop = x.app.progress(func() string {
			x.written.mu.Lock()
			defer x.written.mu.Unlock()
			return fmt.Sprintf("%s, %s", amount(x.written.records, "record"), size(x.written.bytes))
		})
	}
	err := func() error {
		for ctx.Err() == nil && (x.flags.keepGoing || x.written.failure() == nil) {
			in, done, err := nextInput(from)
			if done || err != nil {
				return err
			}
			r := x.flags.fill(&in)
			if r.Topic == "" {
				return malformed(read+1, errors.New("it names no topic, and the command does not either"))
			}
			if err := x.place(ctx, &r); err != nil {
				return err
			}
			pace(ctx, begin, read, x.flags.rate)
			read++
			if err := x.producer.ProduceAsync(ctx, r, x.done(&r, in.offset)); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
		}
		return nil
	}()
	// What was taken is written, also when the user has stopped. The producer gives up by itself when the time is over,
	// and is left to say of what.
	const grace = 10 * time.Second
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), x.flags.timeout+grace)
	defer cancel()
	err = errors.Join(err, x.producer.Close(closing))
	stop()
	return x.conclude(err, time.Since(begin))
}

// done is told of a record's outcome. Outcomes come from one goroutine.
func (x *production) done(r *producer.Record, expected int64) func(producer.Result, error) {
	bytes := len(r.Key) + len(r.Value)
	topic, key := r.Topic, ""
	if x.report != nil && r.Key != nil {
		key = string(r.Key)
	}
	return func(res producer.Result, err error) {
		w := &x.written
		w.mu.Lock()
		defer w.mu.Unlock()
		if err == nil && x.flags.checkOffsets && expected >= 0 && res.Offset != expected {
			w.misplaced++
			if w.first == nil {
				w.first = fail(explain.NotDelivered, "produce into a new topic, with --keep-partition, from the first record on",
					fmt.Errorf("the record of offset %d was written to %s/%d at %d", expected, topic, res.Partition, res.Offset))
			}
		}
		if err != nil {
			w.failed++
			if w.first == nil {
				w.first = err
			}
		} else {
			w.records++
			w.bytes += int64(bytes)
			w.partitions[topicPartition{topic, res.Partition}]++
		}
		if x.report != nil {
			x.tell(topic, key, res, err)
		}
	}
}

// reportJSON is a line of --report.
type reportJSON struct {
	Topic     string     `json:"topic"`
	Partition int32      `json:"partition"`
	Offset    int64      `json:"offset"`
	Key       string     `json:"key,omitempty"`
	Error     *errorJSON `json:"error,omitempty"`
}

// tell reports one record. The lock is held.
func (x *production) tell(topic, key string, res producer.Result, err error) {
	if x.app.json() {
		line := reportJSON{Topic: topic, Partition: res.Partition, Offset: res.Offset, Key: key}
		if err != nil {
			f := diagnose(clientError(err))
			line.Partition, line.Offset, line.Error = -1, -1, &errorJSON{f.code, strings.TrimSpace(f.Error()), f.fix}
		}
		_ = newLineEncoder(x.report).Encode(&line) // the writer keeps its first error, which conclude returns
	} else if err != nil {
		_, _ = fmt.Fprintf(x.report, "%s failed %s\n", topic, diagnose(clientError(err)).code)
	} else {
		_, _ = fmt.Fprintf(x.report, "%s %d %d\n", topic, res.Partition, res.Offset)
	}
	// Somebody may be reading along: not each record, but soon.
	if now := time.Now(); now.Sub(x.written.flushed) > 50*time.Millisecond {
		_ = x.report.Flush()
		x.written.flushed = now
	}
}

// conclude sums up.
func (x *production) conclude(err error, took time.Duration) error {
	w := &x.written
	w.mu.Lock()
	defer w.mu.Unlock()
	if x.report != nil {
		if ferr := x.report.Flush(); ferr != nil {
			err = errors.Join(err, fail(explain.OutputFailed, "", ferr))
		}
	}
	if w.first != nil {
		err = errors.Join(clientError(w.first), err)
	}
	if x.app.json() {
		if x.report != nil {
			return err // the lines say all
		}
		out := map[string]any{"records": w.records, "bytes": w.bytes, "failed": w.failed, "seconds": took.Seconds()}
		if x.flags.template.Topic != "" {
			out["topic"] = x.flags.template.Topic
		}
		return errors.Join(err, x.app.printJSON(out))
	}
	x.app.say("produced %s, %s, to %s in %s", amount(w.records, "record"), size(w.bytes), w.where(), elapsed(took))
	if w.failed > 0 {
		x.app.say("failed   %s", amount(w.failed, "record"))
	}
	if w.misplaced > 0 {
		x.app.say("not at the offset that they had: %s", amount(w.misplaced, "record"))
	}
	return err
}

// where names what was written to.
func (w *written) where() string {
	topics := map[string]int{}
	last := topicPartition{}
	for p := range w.partitions {
		topics[p.topic]++
		last = p
	}
	switch {
	case len(w.partitions) == 0:
		return "no partition"
	case len(w.partitions) == 1:
		return fmt.Sprintf("partition %d of %s", last.partition, last.topic)
	case len(topics) == 1:
		return fmt.Sprintf("%d partitions of %s", len(w.partitions), last.topic)
	}
	return fmt.Sprintf("%d partitions of %d topics", len(w.partitions), len(topics))
}

// place chooses the partition by a partitioner of ours, where one is wanted.
func (x *production) place(ctx context.Context, r *producer.Record) error {
	key := r.Key
	if x.flags.keyPartition != "" {
		key = []byte(x.flags.keyPartition)
	}
	if x.flags.choose == nil || r.Partition != producer.Any || key == nil && x.flags.partitioner != "round-robin" {
		return nil
	}
	n, known := x.counts[r.Topic]
	if !known {
		err := withAdmin(ctx, x.client, x.flags.timeout, func(ctx context.Context, ad *admin.Admin) error {
			topics, err := ad.DescribeTopics(ctx, r.Topic)
			if err != nil {
				return err
			}
			if len(topics) == 1 && topics[0].Err == nil {
				n = int32(len(topics[0].Partitions))
				return nil
			}
			return fail(explain.TopicNotFound, "", fmt.Errorf("there is no topic %q, so its partitions cannot be counted for --partitioner", r.Topic))
		})
		if err != nil {
			return err
		}
		x.counts[r.Topic] = n
	}
	r.Partition = producer.On(x.flags.choose(key, n))
	return nil
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
