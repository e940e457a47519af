package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/clients/admin"
	"github.com/weirmq/weir/clients/client"
	"github.com/weirmq/weir/node/explain"
)

// partitionLine is one partition in the output of topic describe.
type partitionLine struct {
	Partition   int32   `json:"partition"`
	Leader      int32   `json:"leader"`
	LeaderEpoch int32   `json:"leader_epoch"`
	Replicas    []int32 `json:"replicas"`
	ISR         []int32 `json:"isr"`
	// ELR are replicas out of sync that have everything that was acknowledged (KIP-966).
	ELR   []int32 `json:"elr,omitempty"`
	Start int64   `json:"start_offset"`
	End   int64   `json:"end_offset"`
	// Lag is how many records each follower lacks; those that do not answer are left out.
	Lag   map[string]int64 `json:"lag,omitempty"`
	Why   []string         `json:"why,omitempty"` // it is not as it should be
	Error string           `json:"error,omitempty"`
}

// topicDescription is the output of topic describe.
type topicDescription struct {
	Name       string          `json:"name"`
	ID         string          `json:"id"`
	Internal   bool            `json:"internal,omitempty"`
	Partitions []partitionLine `json:"partitions"`
	// Configs are the settings that are not the broker's.
	Configs map[string]string `json:"configs,omitempty"`
}

func (a *app) topicDescribeCommand(k *connection) *cobra.Command {
	return &cobra.Command{
		Use: "describe NAME...", Short: "Show partitions, their leaders, replicas and offsets, and settings", Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeTopics(k),
		Long: `Show partitions, their leaders, replicas and offsets, and the settings that are not the broker's.

  REPLICAS  the nodes that hold the partition, the preferred leader first
  ISR       those of them that are in sync: they have everything that is acknowledged, and may lead
  ELR       those that are not in sync and have everything that was acknowledged all the same: they may lead if nobody
            in sync is left (KIP-966)
  LAG       how many records each follower lacks, as NODE:RECORDS

Below the table stands why a partition is not as it should be, and what is being moved.`,
		Example: "  weir topic describe orders\n  weir topic describe orders --output json | jq '.partitions[].end_offset'",
		RunE: func(cmd *cobra.Command, names []string) error {
			return k.withAdmin(cmd.Context(), func(ctx context.Context, ad *admin.Admin) error {
				topics, err := describePartitions(ctx, ad, names...)
				if err != nil {
					return err
				}
				replicas, err := lookAtReplicas(ctx, ad, topics)
				if err != nil {
					return err
				}
				if replicas != nil && replicas.survey.isLost {
					a.say("no controller answers (`weir cluster health`): what follows is what brokers knew last")
				}
				var errs []error
				for i := range topics {
					if topics[i].Err != nil {
						errs = append(errs, missing(ctx, ad, topics[i].Name, topics[i].Err))
						continue
					}
					errs = append(errs, a.describe(ctx, ad, &topics[i], replicas))
				}
				return errors.Join(errs...)
			})
		},
	}
}

// missing is the error for a topic that cannot be described; it suggests the one that was perhaps meant.
func missing(ctx context.Context, ad *admin.Admin, name string, err error) error {
	if !errors.Is(err, kerr.UnknownTopicOrPartition) {
		return err
	}
	return fail(explain.TopicNotFound, topicHint(ctx, ad, name), fmt.Errorf("there is no topic %q", name))
}

func (a *app) describe(ctx context.Context, ad *admin.Admin, t *admin.TopicDescription, replicas *replicaView) error {
	starts, err := replicas.offsets(ctx, func(ctx context.Context) ([]admin.Offset, error) { return ad.StartOffsets(ctx, t.Name) })
	if err != nil {
		return err
	}
	ends, err := replicas.offsets(ctx, func(ctx context.Context) ([]admin.Offset, error) { return ad.EndOffsets(ctx, t.Name) })
	if err != nil {
		return err
	}
	d := topicDescription{Name: t.Name, ID: t.ID, Internal: t.Internal, Partitions: make([]partitionLine, len(t.Partitions))}
	// Brokers that cannot tell settings are described without.
	if settings, err := ad.DescribeConfigs(ctx, admin.OfTopic(t.Name)); err == nil {
		for _, s := range settings {
			if s.Source == "topic" {
				if d.Configs == nil {
					d.Configs = map[string]string{}
				}
				d.Configs[s.Name] = s.Value
			}
		}
	} else if !errors.Is(err, client.ErrUnsupported) && !errors.Is(err, kerr.TopicAuthorizationFailed) {
		return err
	}
	rows := make([][]string, len(t.Partitions))
	for i, p := range t.Partitions {
		l := partitionLine{
			Partition: p.Partition, Leader: p.Leader, LeaderEpoch: p.LeaderEpoch, Replicas: p.Replicas, ISR: p.ISR,
			Start: offsetOf(starts, p.Partition), End: offsetOf(ends, p.Partition), ELR: p.ELR,
			Lag: replicas.lag(t.Name, &p), Why: replicas.why(t.Name, &p),
		}
		if p.Err != nil {
			l.Error = p.Err.Error()
		}
		d.Partitions[i] = l
		leader, records := fmt.Sprint(l.Leader), ""
		if l.Start >= 0 && l.End >= 0 {
			records = fmt.Sprint(max(0, l.End-l.Start))
		}
		switch {
		case l.Leader < 0 && len(p.Offline) > 0:
			leader = "offline"
		case l.Leader < 0:
			leader = "none"
		}
		rows[i] = []string{
			fmt.Sprint(l.Partition), leader, fmt.Sprint(l.LeaderEpoch), numbers(l.Replicas), numbers(l.ISR), known(l.Start), known(l.End), records,
		}
		if replicas != nil {
			rows[i] = append(rows[i], numbers(l.ELR), lagText(&l))
		}
	}
	if a.json() {
		return a.printJSON(&d)
	}
	if _, err := fmt.Fprintf(a.stdout, "topic %s, id %s, %s\n", d.Name, d.ID, amount(len(d.Partitions), "partition")); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(d.Configs)) {
		if _, err := fmt.Fprintf(a.stdout, "  %s=%s\n", name, d.Configs[name]); err != nil {
			return err
		}
	}
	heading := "PARTITION LEADER EPOCH REPLICAS ISR START END RECORDS"
	if replicas != nil {
		heading += " ELR LAG"
	}
	if err := a.table(heading, rows); err != nil {
		return err
	}
	for _, l := range d.Partitions {
		for _, why := range l.Why {
			if _, err := fmt.Fprintf(a.stdout, "partition %d: %s\n", l.Partition, why); err != nil {
				return err
			}
		}
	}
	return nil
}

// lagText is the lag of each follower, in the order of the replicas.
func lagText(l *partitionLine) string {
	var all []string
	for _, r := range l.Replicas {
		if n, told := l.Lag[strconv.Itoa(int(r))]; told {
			all = append(all, fmt.Sprintf("%d:%d", r, n))
		}
	}
	return strings.Join(all, ",")
}

// replicaView is what is known of the replicas of some topics; nil if none has more than one.
type replicaView struct {
	survey survey
	ends   map[int32]map[admin.Partition]int64 // by node
	// damaged are replicas that their nodes cannot read.
	damaged map[int32]map[admin.Partition]bool
	until   time.Time // when replicas and, without a controller, leaders are waited for no more
}

// replicaPatience is how long a node may take to tell where its replicas end: one that hangs is left out.
const replicaPatience = 3 * time.Second

// lookAtReplicas asks every node where its replicas end, if any partition has several.
func lookAtReplicas(ctx context.Context, ad *admin.Admin, topics []admin.TopicDescription) (*replicaView, error) {
	of := map[int32][]admin.Partition{}
	several := false
	for i := range topics {
		for _, p := range topics[i].Partitions {
			several = several || len(p.Replicas) > 1
			for _, r := range p.Replicas {
				of[r] = append(of[r], admin.Partition{Topic: topics[i].Name, Partition: p.Partition})
			}
		}
	}
	if !several {
		return nil, nil
	}
	v := &replicaView{survey: survey{topics: topics}, ends: map[int32]map[admin.Partition]int64{}, damaged: map[int32]map[admin.Partition]bool{}}
	var err error
	if v.survey.cluster, err = describeBrokers(ctx, ad); err != nil {
		return nil, err
	}
	err = ofController(ctx, controllerPatience, func(ctx context.Context) (err error) {
		v.survey.moves, err = ad.ListReassignments(ctx)
		return err
	})
	switch v.survey.isLost = errors.Is(err, errNoController); {
	case err == nil, v.survey.isLost, untold(err), errors.Is(err, kerr.NotController):
	default:
		return nil, err
	}
	v.until = time.Now().Add(replicaPatience)
	ctx, cancel := context.WithDeadline(ctx, v.until)
	defer cancel()
	var mu sync.Mutex
	var group sync.WaitGroup
	for node, parts := range of {
		if !v.survey.runs(node) {
			continue
		}
		group.Go(func() {
			offsets, err := ad.ReplicaOffsets(ctx, node, parts...)
			if err != nil {
				return // it is left out
			}
			ends, damaged := map[admin.Partition]int64{}, map[admin.Partition]bool{}
			for _, o := range offsets {
				if errors.Is(o.Err, kerr.KafkaStorageError) {
					damaged[admin.Partition{Topic: o.Topic, Partition: o.Partition}] = true
				}
				if o.Err == nil && o.Offset >= 0 {
					ends[admin.Partition{Topic: o.Topic, Partition: o.Partition}] = o.Offset
				}
			}
			mu.Lock()
			defer mu.Unlock()
			v.ends[node], v.damaged[node] = ends, damaged
		})
	}
	group.Wait()
	return v, nil
}

// offsets asks leaders for offsets. Without a controller a leader that is gone is not replaced, and is not waited for.
func (v *replicaView) offsets(ctx context.Context, ask func(context.Context) ([]admin.Offset, error)) ([]admin.Offset, error) {
	if v == nil || !v.survey.isLost {
		return ask(ctx)
	}
	patient, cancel := context.WithDeadline(ctx, v.until)
	defer cancel()
	offsets, err := ask(patient)
	if err != nil && patient.Err() != nil && ctx.Err() == nil {
		return nil, nil // they are not known
	}
	return offsets, err
}

// lag is how many records each follower of a partition lacks.
func (v *replicaView) lag(topic string, p *admin.PartitionDescription) map[string]int64 {
	if v == nil || p.Leader < 0 {
		return nil
	}
	tp := admin.Partition{Topic: topic, Partition: p.Partition}
	end, told := v.ends[p.Leader][tp]
	if !told {
		return nil
	}
	all := map[string]int64{}
	for _, r := range p.Replicas {
		if at, told := v.ends[r][tp]; told && r != p.Leader {
			all[strconv.Itoa(int(r))] = max(0, end-at)
		}
	}
	return all
}

// why says why a partition is not as it should be, and what is being moved.
func (v *replicaView) why(topic string, p *admin.PartitionDescription) (why []string) {
	if v == nil {
		return nil
	}
	lag, tp := v.lag(topic, p), admin.Partition{Topic: topic, Partition: p.Partition}
	behind := func(r int32) string {
		switch n, told := lag[strconv.Itoa(int(r))]; {
		case v.damaged[r][tp]:
			return fmt.Sprintf("node %d found its data damaged and fetches it anew", r)
		case !v.survey.runs(r):
			return fmt.Sprintf("node %d is down", r)
		case told && n > 0:
			return fmt.Sprintf("node %d lacks %s", r, amount(n, "record"))
		case told:
			return fmt.Sprintf("node %d has everything and is about to join", r)
		}
		return fmt.Sprintf("node %d does not say how far it is", r)
	}
	m := v.survey.move(topic, p.Partition)
	var missing []string
	for _, r := range p.Replicas {
		if !slices.Contains(p.ISR, r) && (m == nil || !slices.Contains(m.Adding, r)) {
			missing = append(missing, behind(r))
		}
	}
	if p.Leader < 0 {
		what := "nobody leads"
		if len(p.ELR) > 0 {
			what += fmt.Sprintf(": it waits for one of the nodes %s, which have everything", numbers(p.ELR))
		} else if len(p.LastKnownELR) > 0 {
			what += fmt.Sprintf(": node %s was the last to have everything, and its disk was replaced", numbers(p.LastKnownELR))
		}
		why = append(why, what)
	}
	if v.damaged[p.Leader][tp] {
		what := fmt.Sprintf("offline: the data of node %d, which leads, is damaged (see data-damaged in its log)", p.Leader)
		if waits := without(slices.Concat(p.ISR, p.ELR), p.Leader); len(waits) > 0 {
			what += fmt.Sprintf("; node %s takes over when it runs", numbers(waits))
		} else {
			what += ", and no other replica has everything"
		}
		why = append(why, what)
	}
	if len(missing) > 0 {
		why = append(why, "under-replicated: "+strings.Join(missing, ", "))
	}
	if m != nil {
		what := "being moved"
		if len(m.Adding) > 0 {
			var adding []string
			for _, r := range m.Adding {
				if !slices.Contains(p.ISR, r) {
					adding = append(adding, behind(r))
				}
			}
			what += " to " + numbers(without(m.Replicas, m.Removing...))
			if len(adding) > 0 {
				what += ": " + strings.Join(adding, ", ")
			}
		}
		if len(m.Removing) > 0 {
			what += fmt.Sprintf("; node %s leaves", numbers(m.Removing))
		}
		why = append(why, what)
	}
	return why
}

// known is an offset, or nothing if it is not known.
func known(offset int64) string {
	if offset < 0 {
		return ""
	}
	return strconv.FormatInt(offset, 10)
}

// offsetOf finds a partition's offset; -1 if it is not known.
func offsetOf(offsets []admin.Offset, partition int32) int64 {
	for i := range offsets {
		if offsets[i].Partition == partition && offsets[i].Err == nil {
			return offsets[i].Offset
		}
	}
	return -1
}

func numbers(ns []int32) string {
	var s []string
	for _, n := range ns {
		s = append(s, strconv.Itoa(int(n)))
	}
	return strings.Join(s, ",")
}
