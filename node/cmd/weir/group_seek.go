package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/clients/admin"
	"github.com/weirmq/weir/node/explain"
)

// topicPartitions are topics with some of their partitions; nil is all of them.
type topicPartitions map[string][]int32

func (t topicPartitions) has(topic string, partition int32) bool {
	partitions, ok := t[topic]
	return ok && (partitions == nil || slices.Contains(partitions, partition))
}

// parseTopicPartitions reads TOPIC and TOPIC:PARTITION,PARTITION.
func parseTopicPartitions(texts []string) (topicPartitions, error) {
	chosen := topicPartitions{}
	for _, s := range texts {
		topic, list, some := strings.Cut(s, ":")
		if topic == "" {
			return nil, usage("--topic takes TOPIC or TOPIC:PARTITION,PARTITION, not %q", s)
		}
		if !some {
			chosen[topic] = nil
			continue
		}
		for text := range strings.SplitSeq(list, ",") {
			n, err := strconv.ParseInt(text, 10, 32)
			if err != nil || n < 0 {
				return nil, usage("--topic: %q is no partition", text)
			}
			chosen[topic] = append(chosen[topic], int32(n))
		}
	}
	return chosen, nil
}

// seeking is the flags of group seek.
type seeking struct {
	to        string
	shift     int64
	fromFile  string
	fromGroup string
	topics    []string
	execute   bool
}

// seekLine is one partition in the output of group seek.
type seekLine struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	From      int64  `json:"from"` // -1: nothing was committed
	Offset    int64  `json:"offset"`
	Changed   bool   `json:"changed"`
	Note      string `json:"note,omitempty"`
}

func (a *app) groupSeekCommand(k *connection) *cobra.Command {
	var s seeking
	c := &cobra.Command{
		Use: "seek GROUP", Short: "Move a group to other offsets", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeGroups(k),
		Long: `Move a group: to a place, by so many records, to the offsets in a file, or to those of another group. Without --execute it
only shows what it would do. The group must have no members; one that does not exist is made.

It concerns the topics that the group has committed for, or those of --topic.

` + placesHelp + `

Files have a line of topic, partition and offset each, divided by blanks or commas, or the JSON lines of
` + "`weir group offsets --output json`" + `.`,
		Example: `  weir group seek billing --to start
  weir group seek billing --to @-2h --execute
  weir group seek billing --to 1000 --topic orders:3 --execute
  weir group seek billing --shift -100 --execute
  weir group seek copy --from-group billing --execute`,
		RunE: func(cmd *cobra.Command, names []string) error {
			ways := 0
			for _, flag := range []string{"to", "shift", "from-file", "from-group"} {
				if cmd.Flags().Changed(flag) {
					ways++
				}
			}
			if ways != 1 {
				return usage("where to? Give one of --to, --shift, --from-file, --from-group")
			}
			chosen, err := parseTopicPartitions(s.topics)
			if err != nil {
				return err
			}
			return k.withAdmin(cmd.Context(), func(ctx context.Context, ad *admin.Admin) error {
				lines, err := s.plan(ctx, ad, names[0], chosen)
				if err != nil {
					return err
				}
				if s.execute {
					if err := commitPlan(ctx, ad, names[0], lines); err != nil {
						return err
					}
				}
				return a.printSeek(names[0], lines, s.execute)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&s.to, "to", "", "the `PLACE` where reading is to go on")
	f.Int64Var(&s.shift, "shift", 0, "so many `records` further, or back if negative")
	f.StringVar(&s.fromFile, "from-file", "", "to the offsets in this `FILE`; - is standard input")
	f.StringVar(&s.fromGroup, "from-group", "", "to the offsets that this `GROUP` has committed")
	f.StringArrayVar(&s.topics, "topic", nil, "a `TOPIC`, or TOPIC:PARTITION,PARTITION; may be repeated")
	f.BoolVar(&s.execute, "execute", false, "do it, and do not only show it")
	return c
}

// plan works out the offsets.
func (s *seeking) plan(ctx context.Context, ad *admin.Admin, group string, chosen topicPartitions) ([]seekLine, error) {
	committed := map[topicPartition]int64{}
	offsets, err := ad.GroupOffsets(ctx, group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return nil, err
	}
	for _, o := range offsets {
		committed[topicPartition{o.Topic, o.Partition.Partition}] = o.Offset
	}
	targets, err := s.targets(ctx, ad, committed, chosen)
	if err != nil {
		return nil, err
	}
	if len(targets) == 0 {
		// Of a group that runs, its members are what is in the way: it may have committed the next moment.
		if g, err := ad.DescribeGroup(ctx, group); err == nil && len(g.Members) > 0 {
			return nil, fail(explain.GroupNotEmpty, "", fmt.Errorf("group %q has %s, and has committed nothing yet", group, amount(len(g.Members), "member")))
		}
		return nil, fail(explain.GroupNotFound, "name the topics with --topic, or look for the group with `weir group ls`",
			fmt.Errorf("group %q has committed nothing, so there is nothing to move", group))
	}
	var lines []seekLine
	ranges := map[string][2]map[int32]int64{}
	for _, p := range slices.SortedFunc(maps.Keys(targets), topicPartition.compare) {
		if _, known := ranges[p.topic]; !known {
			starts, err := offsetsAt(ctx, ad, p.topic, place{kind: atStart}, nil)
			if err != nil {
				return nil, err
			}
			ends, err := offsetsAt(ctx, ad, p.topic, place{kind: atEnd}, nil)
			if err != nil {
				return nil, err
			}
			ranges[p.topic] = [2]map[int32]int64{starts, ends}
		}
		start, exists := ranges[p.topic][0][p.partition]
		if !exists {
			return nil, fail(explain.PartitionNotFound, "", fmt.Errorf("%s has no partition %d", p.topic, p.partition))
		}
		end := ranges[p.topic][1][p.partition]
		l := seekLine{Topic: p.topic, Partition: p.partition, From: -1, Offset: min(max(targets[p], start), end)}
		switch {
		case targets[p] < start:
			l.Note = fmt.Sprintf("%d is gone: the oldest", targets[p])
		case targets[p] > end:
			l.Note = fmt.Sprintf("%d is not there yet: the end", targets[p])
		}
		if from, ok := committed[p]; ok {
			l.From = from
		}
		l.Changed = l.From != l.Offset
		lines = append(lines, l)
	}
	return lines, nil
}

func (p topicPartition) compare(o topicPartition) int {
	if c := strings.Compare(p.topic, o.topic); c != 0 {
		return c
	}
	return int(p.partition) - int(o.partition)
}

// targets are where to go, before they are fitted to the log.
func (s *seeking) targets(ctx context.Context, ad *admin.Admin, committed map[topicPartition]int64, chosen topicPartitions) (map[topicPartition]int64, error) {
	wanted := func(p topicPartition) bool { return len(chosen) == 0 || chosen.has(p.topic, p.partition) }
	targets := map[topicPartition]int64{}
	switch {
	case s.fromFile != "":
		lines, err := readOffsets(s.fromFile)
		if err != nil {
			return nil, err
		}
		for _, l := range lines {
			if p := (topicPartition{l.Topic, l.Partition}); wanted(p) {
				targets[p] = l.Offset
			}
		}
		return targets, nil
	case s.fromGroup != "":
		offsets, err := ad.GroupOffsets(ctx, s.fromGroup)
		if err != nil {
			return nil, err
		}
		for _, o := range offsets {
			if p := (topicPartition{o.Topic, o.Partition.Partition}); wanted(p) && o.Offset >= 0 {
				targets[p] = o.Offset
			}
		}
		return targets, nil
	case s.to == "":
		for p, from := range committed {
			if wanted(p) && from >= 0 {
				targets[p] = from + s.shift
			}
		}
		return targets, nil
	}
	at, err := parsePlace("--to", s.to, time.Now())
	if err != nil {
		return nil, err
	}
	topics := maps.Clone(chosen)
	if len(topics) == 0 {
		for p := range committed {
			topics[p.topic] = append(topics[p.topic], p.partition)
		}
	}
	for topic := range topics {
		offsets, err := offsetsAt(ctx, ad, topic, at, nil)
		if err != nil {
			return nil, err
		}
		for partition, offset := range offsets {
			if at.kind == atOffset {
				offset = at.offset // plan says when it does not exist
			}
			if topics.has(topic, partition) {
				targets[topicPartition{topic, partition}] = offset
			}
		}
	}
	return targets, nil
}

// readOffsets reads a file of offsets.
func readOffsets(name string) ([]offsetJSON, error) {
	in := os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }() // it was only read
		in = f
	}
	var lines []offsetJSON
	scan := bufio.NewScanner(in)
	for n := int64(1); scan.Scan(); n++ {
		text := strings.TrimSpace(scan.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		var l offsetJSON
		if strings.HasPrefix(text, "{") {
			if err := json.Unmarshal([]byte(text), &l); err != nil {
				return nil, malformed(n, err)
			}
		} else {
			words := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' })
			if len(words) < 3 {
				return nil, malformed(n, fmt.Errorf("%q is not topic, partition, offset", text))
			}
			partition, err := strconv.ParseInt(words[1], 10, 32)
			if err != nil {
				return nil, malformed(n, fmt.Errorf("%q is no partition", words[1]))
			}
			offset, err := strconv.ParseInt(words[2], 10, 64)
			if err != nil {
				return nil, malformed(n, fmt.Errorf("%q is no offset", words[2]))
			}
			l = offsetJSON{Topic: words[0], Partition: int32(partition), Offset: offset}
		}
		if l.Topic == "" || l.Partition < 0 || l.Offset < 0 {
			return nil, malformed(n, fmt.Errorf("%q is not topic, partition, offset", text))
		}
		lines = append(lines, l)
	}
	return lines, scan.Err()
}

func commitPlan(ctx context.Context, ad *admin.Admin, group string, lines []seekLine) error {
	var offsets []admin.GroupOffset
	for _, l := range lines {
		if l.Changed {
			offsets = append(offsets, admin.GroupOffset{Partition: admin.Partition{Topic: l.Topic, Partition: l.Partition}, Offset: l.Offset, LeaderEpoch: -1})
		}
	}
	if len(offsets) == 0 {
		return nil
	}
	err := ad.CommitGroupOffsets(ctx, group, offsets)
	// A commit in nobody's name is refused like this when there are members.
	if errors.Is(err, kerr.UnknownMemberID) || errors.Is(err, kerr.NonEmptyGroup) {
		return fail(explain.GroupNotEmpty, "", err)
	}
	return err
}

func (a *app) printSeek(group string, lines []seekLine, executed bool) error {
	if a.json() {
		return a.printLines(len(lines), func(i int) any { return &lines[i] })
	}
	changed := 0
	rows := make([][]string, len(lines))
	for i, l := range lines {
		change := ""
		if l.Changed {
			changed++
		}
		if l.From >= 0 {
			change = fmt.Sprintf("%+d", l.Offset-l.From)
		}
		rows[i] = []string{l.Topic, fmt.Sprint(l.Partition), known(l.From), fmt.Sprint(l.Offset), change, strings.ReplaceAll(l.Note, " ", "-")}
	}
	if err := a.table("TOPIC PARTITION FROM TO CHANGE NOTE", rows); err != nil {
		return err
	}
	if executed {
		a.say("%s moved in %s", group, amount(changed, "partition"))
	} else {
		a.say("nothing was changed; --execute moves %s in %s", group, amount(changed, "partition"))
	}
	return nil
}
