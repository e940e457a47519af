package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/clients/admin"
	"github.com/weirmq/weir/clients/client"
	"github.com/weirmq/weir/clients/consumer"
	machine "github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/node/explain"
)

// consumption is one run of consume.
type consumption struct {
	app     *app
	flags   *consuming
	write   recordWriter
	client  *client.Client
	timeout time.Duration // for what is asked of the cluster

	filter filter
	begin  place
	end    place
	hasEnd bool
	// The time to begin or end at had not come when the command started.
	beginsLater, endsLater bool
	written                atomic.Int64
	quiet                  *time.Timer // ends the run when nothing has come for --idle; nil without it
}

// span is what to read of one partition.
type span struct {
	topic     string
	partition int32
	begin     consumer.Start
	until     int64 // -1: no end
}

// prepare reads the flags that are texts with a meaning.
func (r *consumption) prepare() error {
	var err error
	now := time.Now()
	if r.filter, err = parseFilters(r.flags.filters, r.flags.grep); err != nil {
		return err
	}
	if r.begin, err = parsePlace("--offset", r.flags.offset, now); err != nil {
		return err
	}
	r.beginsLater = r.begin.kind == atTime && r.begin.time.After(now)
	if r.flags.until != "" {
		r.hasEnd = true
		if r.end, err = parsePlace("--until", r.flags.until, now); err != nil {
			return err
		}
		r.endsLater = r.end.kind == atTime && r.end.time.After(now)
	}
	return nil
}

func (r *consumption) run(ctx context.Context, names []string) error {
	var err error
	if r.flags.group.name != "" {
		return r.runGroup(ctx, names)
	}
	var options []consumer.Option
	var spans []span
	var told bool
	err = withAdmin(ctx, r.client, r.timeout, func(ctx context.Context, ad *admin.Admin) error {
		topics, err := chosenTopics(ctx, ad, names, r.flags.regex, r.flags.partitions)
		if err != nil {
			return err
		}
		told = r.app.sayLeaderless(topics, r.flags.partitions)
		options, spans, err = r.plan(ctx, ad, topics)
		return err
	})
	if err != nil {
		return err
	}
	if r.flags.readCommitted {
		options = append(options, consumer.WithReadCommitted())
	}
	co, err := consumer.New(r.client, options...)
	if err != nil {
		return err
	}
	if r.endsLater {
		go r.endAt(ctx, co, spans)
	}
	err = r.pump(ctx, co)
	if f, ok := errors.AsType[*failure](err); ok && f.code == explain.TimedOut && !told {
		r.sayWhatIsInTheWay(ctx, names)
	}
	return errors.Join(err, co.Close())
}

// sayWhatIsInTheWay looks whether partitions have lost their leaders since the command began: one that is read may turn
// out to be damaged then. Why nothing can be learnt is of no interest beside the error that is to be told.
func (r *consumption) sayWhatIsInTheWay(ctx context.Context, names []string) {
	const patience = 2 * time.Second
	_ = withAdmin(context.WithoutCancel(ctx), r.client, patience, func(ctx context.Context, ad *admin.Admin) error {
		topics, err := chosenTopics(ctx, ad, names, r.flags.regex, r.flags.partitions)
		if err == nil {
			r.app.sayLeaderless(topics, r.flags.partitions)
		}
		return err
	})
}

// chosenTopics finds the topics that are meant, and tells at once of one that is not there: a consumer would wait
// for it.
func chosenTopics(ctx context.Context, ad *admin.Admin, names []string, regex bool, partitions []int32) ([]admin.TopicDescription, error) {
	var topics []admin.TopicDescription
	var err error
	if regex {
		all, err := ad.DescribeTopics(ctx)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			re, err := regexp.Compile(`^(?:` + name + `)$`)
			if err != nil {
				return nil, usage("TOPIC: %v", err)
			}
			for _, t := range all {
				if re.MatchString(t.Name) && !t.Internal && !slices.ContainsFunc(topics, func(x admin.TopicDescription) bool { return x.Name == t.Name }) {
					topics = append(topics, t)
				}
			}
		}
		if len(topics) == 0 {
			return nil, fail(explain.TopicNotFound, "`weir topic ls` lists what there is", fmt.Errorf("no topic's name matches %q", names))
		}
	} else if topics, err = ad.DescribeTopics(ctx, slices.Compact(slices.Sorted(slices.Values(names)))...); err != nil {
		return nil, err
	}
	for i := range topics {
		t := &topics[i]
		switch {
		case t.Err != nil && !errors.Is(t.Err, kerr.UnknownTopicOrPartition):
			return nil, t.Err
		case t.Err != nil:
			return nil, fail(explain.TopicNotFound, topicHint(ctx, ad, t.Name), fmt.Errorf("there is no topic %q", t.Name))
		}
		if err := hasPartitions(t, partitions); err != nil {
			return nil, err
		}
	}
	return topics, nil
}

// hasPartitions is the failure that a topic lacks one of the partitions that were named.
func hasPartitions(t *admin.TopicDescription, partitions []int32) error {
	for _, p := range partitions {
		if p < 0 || int(p) >= len(t.Partitions) {
			return fail(explain.PartitionNotFound, "leave out --partition to mean all",
				fmt.Errorf("%s has partitions 0 to %d, not %d", t.Name, len(t.Partitions)-1, p))
		}
	}
	return nil
}

// sayLeaderless names the partitions that nobody serves at the moment, if there are any: reading them waits until
// somebody does.
func (a *app) sayLeaderless(topics []admin.TopicDescription, partitions []int32) (said bool) {
	for i := range topics {
		for _, p := range topics[i].Partitions {
			if p.Leader < 0 && (len(partitions) == 0 || slices.Contains(partitions, p.Partition)) {
				a.say("%s/%d has no leader and cannot be read now; `weir errors no-leader` says what that means", topics[i].Name, p.Partition)
				said = true
			}
		}
	}
	return said
}

// topicHint suggests the topic that was perhaps meant.
func topicHint(ctx context.Context, ad *admin.Admin, name string) string {
	all, err := ad.DescribeTopics(ctx)
	if err != nil {
		return ""
	}
	var names []string
	for _, t := range all {
		names = append(names, t.Name)
	}
	if near := explain.Nearest(name, names); near != "" {
		return fmt.Sprintf("did you mean %s? `weir topic ls` lists what there is", near)
	}
	return ""
}

// plan says what to read. Partitions that come later are read too when the place is the same for all and
// there is no end.
func (r *consumption) plan(ctx context.Context, ad *admin.Admin, topics []admin.TopicDescription) ([]consumer.Option, []span, error) {
	var options []consumer.Option
	simple := (r.begin.kind == atStart || r.begin.kind == atEnd || r.begin.kind == atTime) && (!r.hasEnd || r.end.kind == atEnd)
	if simple && len(r.flags.partitions) == 0 {
		for _, t := range topics {
			options = append(options, consumer.WithTopics(t.Name))
		}
		if r.hasEnd {
			options = append(options, consumer.WithStopAtEnd())
		}
		return append(options, consumer.WithStart(r.begin.start())), nil, nil
	}
	var spans []span
	for _, t := range topics {
		some, err := r.spans(ctx, ad, t)
		if err != nil {
			return nil, nil, err
		}
		spans = append(spans, some...)
	}
	if r.hasEnd && r.end.kind == atEnd {
		options = append(options, consumer.WithStopAtEnd())
	}
	for _, s := range spans {
		options = append(options, consumer.WithPartition(s.topic, s.partition, s.begin))
		if s.until >= 0 {
			options = append(options, consumer.WithUntil(s.topic, s.partition, s.until))
		}
	}
	return options, spans, nil
}

// start is the place as the consumer knows it.
func (p place) start() consumer.Start {
	switch p.kind {
	case atEnd:
		return consumer.Latest
	case atOffset:
		return consumer.At(p.offset)
	case atTime:
		return consumer.Since(p.time)
	case atStart, fromStart, fromEnd:
	}
	return consumer.Earliest
}

// spans works out what to read of a topic.
func (r *consumption) spans(ctx context.Context, ad *admin.Admin, t admin.TopicDescription) ([]span, error) {
	begins, err := offsetsAt(ctx, ad, t.Name, r.begin, r.flags.partitions)
	if err != nil {
		return nil, err
	}
	var ends map[int32]int64
	if r.hasEnd && r.end.kind != atEnd && !r.endsLater {
		if ends, err = offsetsAt(ctx, ad, t.Name, r.end, r.flags.partitions); err != nil {
			return nil, err
		}
		if r.end.kind == atOffset { // which may be one that is still to come
			for partition := range ends {
				ends[partition] = r.end.offset
			}
		}
	}
	var spans []span
	for _, p := range t.Partitions {
		if len(r.flags.partitions) > 0 && !slices.Contains(r.flags.partitions, p.Partition) {
			continue
		}
		s := span{topic: t.Name, partition: p.Partition, begin: consumer.At(begins[p.Partition]), until: -1}
		if end, ok := ends[p.Partition]; ok {
			s.until = end
		}
		spans = append(spans, s)
	}
	return spans, nil
}

// offsetsAt are a place's offsets in every partition, or in some only.
func offsetsAt(ctx context.Context, ad *admin.Admin, topic string, p place, only []int32) (map[int32]int64, error) {
	at := map[int32]int64{}
	ask := func(f func() ([]admin.Offset, error)) (map[int32]int64, error) {
		offsets, err := f()
		if err != nil {
			return nil, err
		}
		found := map[int32]int64{}
		for _, o := range offsets {
			if len(only) > 0 && !slices.Contains(only, o.Partition) {
				continue
			}
			if o.Err != nil {
				return nil, o.Err
			}
			found[o.Partition] = o.Offset
		}
		return found, nil
	}
	starts, err := ask(func() ([]admin.Offset, error) { return ad.StartOffsets(ctx, topic) })
	if err != nil || p.kind == atStart {
		return starts, err
	}
	ends, err := ask(func() ([]admin.Offset, error) { return ad.EndOffsets(ctx, topic) })
	if err != nil || p.kind == atEnd {
		return ends, err
	}
	if p.kind == atTime {
		after, err := ask(func() ([]admin.Offset, error) { return ad.OffsetsAfter(ctx, p.time, topic) })
		if err != nil {
			return nil, err
		}
		for partition, offset := range after {
			if offset < 0 { // nothing is as young
				offset = ends[partition]
			}
			at[partition] = offset
		}
		return at, nil
	}
	for partition := range ends {
		switch p.kind {
		case atOffset:
			// An offset that does not exist yet stands for the end: outside leaves out what comes before it.
			at[partition] = min(max(p.offset, starts[partition]), ends[partition])
		case fromStart:
			at[partition] = min(starts[partition]+p.offset, ends[partition])
		default:
			at[partition] = max(ends[partition]-p.offset, starts[partition])
		}
	}
	return at, nil
}

// endAt ends the consumer when the time has come that --until names.
func (r *consumption) endAt(ctx context.Context, co *consumer.Consumer, spans []span) {
	select {
	case <-time.After(time.Until(r.end.time)):
	case <-ctx.Done():
		return
	}
	err := withAdmin(ctx, r.client, r.timeout, func(ctx context.Context, ad *admin.Admin) error {
		ends := map[string]map[int32]int64{}
		for _, s := range spans {
			if ends[s.topic] == nil {
				at, err := offsetsAt(ctx, ad, s.topic, r.end, r.flags.partitions)
				if err != nil {
					return err
				}
				ends[s.topic] = at
			}
			if err := co.Until(s.topic, s.partition, ends[s.topic][s.partition]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && ctx.Err() == nil && !errors.Is(err, client.ErrClosed) {
		r.app.say("the end (--until) could not be found, so reading goes on: %v", err)
	}
}

// errEnough is the cause of a context that ended as the user wished.
var errEnough = errors.New("enough")

// pump prints records until one of the ends is reached. What was polled and not written is given back, so that a
// member of a group does not commit it.
func (r *consumption) pump(parent context.Context, from source) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	if r.flags.limit > 0 {
		t := time.AfterFunc(r.flags.limit, func() { cancel(errLimit) })
		defer t.Stop()
	}
	if r.flags.runFor > 0 {
		t := time.AfterFunc(r.flags.runFor, func() { cancel(errEnough) })
		defer t.Stop()
	}
	if r.flags.idle > 0 {
		r.quiet = time.AfterFunc(r.flags.idle, func() { cancel(errEnough) })
		defer r.quiet.Stop()
		if r.flags.group.name != "" {
			r.quiet.Stop() // until the group has given us something to read
		}
	}
	if !isTerminal(r.app.stdout) {
		stop := r.app.progress(func() string { return amount(r.written.Load(), "record") })
		defer stop()
	}
	out := bufio.NewWriterSize(r.app.stdout, 256<<10)
	var batch []consumer.Record
	for {
		var err error
		clear(batch)
		batch, err = from.PollInto(ctx, batch[:0])
		for i := range batch {
			if r.outside(&batch[i]) || r.filter != nil && !r.filter(&batch[i]) {
				continue
			}
			n := r.written.Add(1)
			werr := r.write(out, &batch[i], n)
			if werr == nil && n == r.flags.count {
				from.Unread(batch[i+1:])
				return r.flush(out, from, batch[:i+1])
			}
			if werr != nil {
				from.Unread(batch)
				return fail(explain.OutputFailed, "", werr)
			}
		}
		if ferr := r.flush(out, from, batch); ferr != nil {
			return ferr
		}
		if r.quiet != nil && len(batch) > 0 {
			r.quiet.Reset(r.flags.idle)
		}
		if err != nil {
			return r.ended(parent, ctx, err)
		}
	}
}

// outside reports whether a record is before a place, or after a time, that did not exist when the command
// started.
func (r *consumption) outside(x *consumer.Record) bool {
	return r.begin.kind == atOffset && x.Offset < r.begin.offset ||
		r.beginsLater && x.Timestamp.Before(r.begin.time) ||
		r.endsLater && !x.Timestamp.Before(r.end.time)
}

// flush writes what was printed of a batch.
func (r *consumption) flush(out *bufio.Writer, from source, batch []consumer.Record) error {
	if err := out.Flush(); err != nil {
		from.Unread(batch)
		return fail(explain.OutputFailed, "", err)
	}
	return nil
}

// ended says whether the end is one that the user wished for.
func (r *consumption) ended(parent, ctx context.Context, err error) error {
	n := r.written.Load()
	var why string
	switch cause := context.Cause(ctx); {
	case errors.Is(err, io.EOF):
		why = "the end was reached"
	case parent.Err() != nil:
		why = "the command was interrupted" // Ctrl-C is an orderly end otherwise
	case errors.Is(cause, errEnough):
		why = "the time was over"
	case errors.Is(cause, errLimit):
		if r.flags.count > 0 {
			return tooFew(n, r.flags.count, "--timeout is over")
		}
		return fail(explain.TimedOut, "allow more with --timeout, or use --for if the end of the time is a good end",
			fmt.Errorf("--timeout was over before the end had come; %s came", amount(n, "record")))
	default:
		if _, ok := errors.AsType[*machine.DecodeError](err); ok {
			return fail(explain.RecordDamaged, "", err)
		}
		return clientError(err)
	}
	if n < r.flags.atLeast {
		return tooFew(n, r.flags.atLeast, why)
	}
	return nil
}

// topicExists tells at once of a topic that is not there.
func topicExists(ctx context.Context, cl *client.Client, timeout time.Duration, topic string, partitions []int32) error {
	return withAdmin(ctx, cl, timeout, func(ctx context.Context, ad *admin.Admin) error {
		_, err := chosenTopics(ctx, ad, []string{topic}, false, partitions)
		return err
	})
}
