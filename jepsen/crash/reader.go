package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirmq/weir/sim/check"
)

// The processes of the history that are no producers.
const (
	followerProcess = -1 - iota
	endProcess
	againProcess
	adminProcess
)

// follow reads every partition from its start, through all crashes, while it is written.
func (l *load) follow() error {
	next := map[check.Key]int64{}
	at := map[string]map[int32]kgo.Offset{}
	for _, t := range topics {
		at[t.name] = map[int32]kgo.Offset{}
		for p := range t.partitions {
			at[t.name][p] = kgo.NewOffset().At(0)
		}
	}
	// Should an offset that was read be out of range later, that is an error and no reason to start anew.
	cl, err := l.client(kgo.ConsumePartitions(at), kgo.FetchMaxWait(200*time.Millisecond), kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	if err != nil {
		return err
	}
	defer cl.Close()
	for {
		fetches := cl.PollFetches(l.reading)
		if l.reading.Err() != nil {
			return nil
		}
		if err := l.note(followerProcess, 0, fetches, next); err != nil {
			return err
		}
	}
}

// note checks records that were read and writes the reads down, each partition's as one that began at from
// and was called at some time; 0 if nobody knows.
func (l *load) note(process, call int64, fetches kgo.Fetches, next map[check.Key]int64) (bad error) {
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if p.Err != nil && bad == nil {
			bad = fmt.Errorf("%s/%d at offset %d: %w", p.Topic, p.Partition, next[check.Key{Topic: p.Topic, Partition: p.Partition}], p.Err)
		}
		if len(p.Records) == 0 {
			return
		}
		k := check.Key{Topic: p.Topic, Partition: p.Partition}
		op := check.Op{
			Process: process, F: check.Poll, Call: call, Return: l.history.now(), Outcome: check.OK, Topic: p.Topic, Partition: p.Partition,
			From: next[k], Tail: p.HighWatermark, Start: p.LogStartOffset,
		}
		for _, rec := range p.Records {
			number, err := l.contents.check(rec)
			if err != nil {
				l.fail(err)
				number = -1 - rec.Offset // no record of ours
			}
			op.Offsets, op.Values = append(op.Offsets, rec.Offset), append(op.Values, number)
			next[k] = rec.Offset + 1
		}
		l.reads.Add(int64(len(p.Records)))
		l.history.add(op)
	})
	return bad
}

// ends asks for the end of every partition and writes it down: it may not lie before what was acknowledged.
func (l *load) ends(cl *kgo.Client) (map[check.Key]int64, error) {
	ctx, cancel := timeout(20 * time.Second)
	defer cancel()
	var names []string
	var ops []int
	for _, t := range topics {
		names = append(names, t.name)
		for p := range t.partitions {
			ops = append(ops, l.history.call(check.Op{Process: endProcess, F: check.Tail, Topic: t.name, Partition: p}))
		}
	}
	listed, err := kadm.NewClient(cl).ListEndOffsets(ctx, names...)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("ask for the ends: %w", err)
	}
	ends := map[check.Key]int64{}
	for _, t := range topics {
		for p := range t.partitions {
			end, found := listed.Lookup(t.name, p)
			if !found {
				return nil, fmt.Errorf("ask for the ends: no answer for %s/%d", t.name, p)
			}
			ends[check.Key{Topic: t.name, Partition: p}] = end.Offset
			l.history.ok(ops[0], func(op *check.Op) { op.Tail = end.Offset })
			ops = ops[1:]
		}
	}
	return ends, nil
}

// again reads a stretch of some partition once more, with a client that has seen nothing yet.
func (l *load) again(r *rand.Rand, ends map[check.Key]int64) error {
	t := &topics[r.IntN(len(topics))]
	k := check.Key{Topic: t.name, Partition: r.Int32N(t.partitions)}
	if ends[k] == 0 {
		return nil
	}
	const count = 500
	from := r.Int64N(ends[k])
	next := map[check.Key]int64{k: from}
	cl, err := l.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{k.Topic: {k.Partition: kgo.NewOffset().At(from)}}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := timeout(20 * time.Second)
	defer cancel()
	for next[k] < min(ends[k], from+count) {
		call := l.history.now()
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return fmt.Errorf("read %v again from %d, at %d of %d: %w", k, from, next[k], ends[k], err)
		}
		if next[k] > from {
			call = 0 // the client fetched ahead
		}
		if err := l.note(againProcess, call, fetches, next); err != nil {
			return err
		}
	}
	return nil
}

// readAll reads every partition from its start to its end as it is now.
func (l *load) readAll(cl *kgo.Client) ([]check.Final, error) {
	ends, err := l.ends(cl)
	if err != nil {
		return nil, err
	}
	index := map[check.Key]int{}
	var finals []check.Final
	at := map[string]map[int32]kgo.Offset{}
	left := int64(0)
	for _, t := range topics {
		at[t.name] = map[int32]kgo.Offset{}
		for p := range t.partitions {
			k := check.Key{Topic: t.name, Partition: p}
			index[k] = len(finals)
			finals = append(finals, check.Final{Key: k, End: ends[k]})
			at[t.name][p] = kgo.NewOffset().At(0)
			left += ends[k]
		}
	}
	reader, err := l.client(kgo.ConsumePartitions(at), kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	const patience = 20 * time.Second
	for left > 0 {
		ctx, cancel := timeout(patience)
		fetches := reader.PollFetches(ctx)
		cancel()
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("read everything, %d records left: %w", left, err)
		}
		for rec := range fetches.RecordsAll() {
			f := &finals[index[check.Key{Topic: rec.Topic, Partition: rec.Partition}]]
			if rec.Offset >= f.End {
				continue // written since
			}
			number, err := l.contents.check(rec)
			if err != nil {
				l.fail(err)
				number = -1 - rec.Offset
			}
			f.Offsets, f.Values = append(f.Offsets, rec.Offset), append(f.Values, number)
			left--
		}
	}
	return finals, nil
}

func timeout(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}
