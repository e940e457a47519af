package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	groupPartitions = 6
	groupPatience   = 90 * time.Second
	// lineLag is how late a line of a member's output may be read.
	lineLag = 500 * time.Millisecond
)

// watch is what the members of a group have said: every record that each was given, and what each committed.
type watch struct {
	mu        sync.Mutex
	delivered []delivery // in the order in which they were read
	committed map[place]int64
	members   []*process
	readers   sync.WaitGroup
}

type place struct {
	member    int
	partition int32
}

type delivery struct {
	place
	offset int64
	value  string
}

// join starts a member: it consumes, commits what it was given, and says both, a line each:
//
//	{"event":"record","p":0,"o":17,"v":"text"}
//	{"event":"committed","p":0,"o":18}
func (w *watch) join(t *trial, group, topic string) error {
	number := len(w.members)
	id := fmt.Sprintf("interop-%s-%d", t.name, number)
	program, args := t.adapter.program, []string{t.addr, id, "member", group, topic}
	if t.member != nil {
		program, args = t.member(t.addr, id, group, topic)
	}
	p, err := startProcess(program, args...)
	if err != nil {
		return err
	}
	w.members = append(w.members, p)
	w.readers.Go(func() {
		for line := range p.lines {
			w.read(number, line)
		}
	})
	return nil
}

func (w *watch) read(member int, line []byte) {
	var said struct {
		Event string `json:"event"`
		P     int32  `json:"p"`
		O     int64  `json:"o"`
		V     string `json:"v"`
	}
	if json.Unmarshal(line, &said) != nil {
		return // kcat and others say other things too
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	at := place{member, said.P}
	switch said.Event {
	case "record":
		w.delivered = append(w.delivered, delivery{at, said.O, said.V})
	case "committed":
		w.committed[at] = max(w.committed[at], said.O)
	}
}

// await waits until what the members said satisfies a condition.
func (w *watch) await(what string, patience time.Duration, satisfied func() (bool, string)) error {
	deadline := time.Now().Add(patience)
	for {
		w.mu.Lock()
		ok, state := satisfied()
		w.mu.Unlock()
		if ok {
			return nil
		}
		if time.Now().After(deadline) {
			var logs strings.Builder
			for i, p := range w.members {
				fmt.Fprintf(&logs, "\nmember %d's stderr ends with: %s", i, lastLines(p.stderr.String(), 1200))
			}
			return fmt.Errorf("%s: not after %v: %s%s", what, patience, state, logs.String())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func lastLines(s string, n int) string { return s[max(0, len(s)-n):] }

// group lets three members of this client share a group, and administers it afterwards.
func (t *trial) group() {
	group := t.topicOf("group")
	t.share("group", "", group, []*trial{t, t, t}, func(written int64, step stepper) {
		t.groupAdmin(group, group, written, step)
	})
}

// mixed lets members of three libraries share a group: the assignor "range" is the one that they all know.
func (m *matrix) mixed(trials []*trial) {
	var members []*trial
	for _, name := range []string{"java-4", "confluent-kafka-python", "sarama"} {
		for _, t := range trials {
			if t.name == name {
				members = append(members, t)
			}
		}
	}
	if len(members) == 3 {
		members[0].share("cross", "with Python and Go: ", "mixed-group", members, func(int64, stepper) {})
	}
}

// stepper runs a case that makes sense only when those before it passed.
type stepper func(column, name string, f func() error)

// share lets three members share the six partitions of a topic that is named like the group, and kills the second.
func (t *trial) share(column, prefix, group string, members []*trial, afterwards func(written int64, step stepper)) {
	topic := group
	w := &watch{committed: map[place]int64{}}
	var written int64 // in each partition
	defer func() {
		for _, p := range w.members {
			p.kill()
		}
		w.readers.Wait()
	}()
	broken := false
	stepOf := func(column, name string, f func() error) {
		t.try(column, prefix+name, func() error {
			if broken {
				return errors.New("the group did not come so far")
			}
			err := f()
			broken = err != nil
			return err
		})
	}
	step := func(name string, f func() error) { stepOf(column, name, f) }
	write := func(each int64) error {
		var records []record
		for o := written; o < written+each; o++ {
			for p := range int32(groupPartitions) {
				records = append(records, record{Partition: p, Offset: o, Value: strconv.AppendInt(nil, o*groupPartitions+int64(p), 10), TimeMs: time.Now().UnixMilli()})
			}
		}
		written += each
		return t.refWrite(topic, records, kgo.ProducerLinger(0))
	}

	step("three members of a group share six partitions", func() error {
		if err := t.makeTopic(topic, groupPartitions, nil); err != nil {
			return err
		}
		if err := write(20); err != nil {
			return err
		}
		for _, member := range members {
			if err := w.join(member, group, topic); err != nil {
				return err
			}
		}
		if err := w.awaitAll(members, write); err != nil {
			return fmt.Errorf("%w\nthe coordinator knows it as %s", err, t.groupState(group))
		}
		return nil
	})
	var mark int
	var owed [groupPartitions]int64 // what the victim committed
	step("one is killed, and the others are given its partitions from where it committed", func() error {
		const victim = 1
		_ = w.members[victim].cmd.Process.Kill()
		time.Sleep(lineLag)
		w.mu.Lock()
		mark = len(w.delivered)
		for p := range owed {
			owed[p] = w.committed[place{victim, int32(p)}]
		}
		w.mu.Unlock()
		if err := write(20); err != nil {
			return err
		}
		return w.awaitEverything(written)
	})
	step("what it committed was not given out again", func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, d := range w.delivered[mark:] {
			if d.offset < owed[d.partition] {
				return fmt.Errorf("offset %d of partition %d was given to member %d after another had committed %d", d.offset, d.partition, d.member, owed[d.partition])
			}
		}
		return nil
	})
	step("everything is committed, and read back so", func() error {
		return eventually(func() error {
			ctx, cancel := t.context()
			defer cancel()
			offsets, err := t.admin.FetchOffsets(ctx, group)
			if err == nil {
				err = offsets.Error()
			}
			if err != nil {
				return err
			}
			for p := range int32(groupPartitions) {
				if o, _ := offsets.Lookup(topic, p); o.At != written {
					return fmt.Errorf("partition %d: %d is committed, of %d", p, o.At, written)
				}
			}
			return nil
		})
	})
	step("the others leave when asked to", func() error {
		var errs []error
		for i, p := range w.members {
			if i != 1 {
				errs = append(errs, p.stop(members[i].member != nil, 20*time.Second))
			}
		}
		return errors.Join(errs...)
	})
	afterwards(written, stepOf)
}

// groupState is what the coordinator says of a group, to tell whose fault it is that it came no further.
func (m *matrix) groupState(group string) string {
	ctx, cancel := m.context()
	defer cancel()
	groups, err := m.admin.DescribeGroups(ctx, group)
	if err != nil {
		return err.Error()
	}
	g := groups[group]
	text := fmt.Sprintf("%s, protocol %q, error %v", g.State, g.Protocol, g.Err)
	for _, member := range g.Members {
		text += fmt.Sprintf("\n%s of %s", member.MemberID, member.ClientHost)
	}
	return text
}

// awaitAll waits until each member has been given records since all three are there. It goes on writing, so
// that there is something to be given.
func (w *watch) awaitAll(members []*trial, write func(int64) error) error {
	deadline := time.Now().Add(groupPatience)
	for {
		if err := write(1); err != nil {
			return err
		}
		w.mu.Lock()
		recent := w.delivered[max(0, len(w.delivered)-3*groupPartitions):]
		var given, committed [3]bool
		for _, d := range recent {
			given[d.member] = true
		}
		for at := range w.committed {
			committed[at.member] = true
		}
		count := len(w.delivered)
		w.mu.Unlock()
		all := true
		for i, t := range members {
			all = all && given[i] && (committed[i] || t.cannot(sayCommitted))
		}
		if all {
			return nil
		}
		if time.Now().After(deadline) {
			return w.await(fmt.Sprintf("each of three members is given records (%d given) and commits: %v %v", count, given, committed), 0, func() (bool, string) { return false, "" })
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// awaitEverything waits until every record has been given to somebody.
func (w *watch) awaitEverything(each int64) error {
	return w.await("every record is given to somebody", groupPatience, func() (bool, string) {
		given := map[[2]int64]bool{}
		for _, d := range w.delivered {
			if want := strconv.FormatInt(d.offset*groupPartitions+int64(d.partition), 10); d.value != want {
				return false, fmt.Sprintf("offset %d of partition %d holds %q instead of %q", d.offset, d.partition, d.value, want)
			}
			given[[2]int64{int64(d.partition), d.offset}] = true
		}
		var missing []string
		for p := range int64(groupPartitions) {
			for o := range each {
				if !given[[2]int64{p, o}] {
					missing = append(missing, fmt.Sprintf("%d/%d", p, o))
				}
			}
		}
		return len(missing) == 0, fmt.Sprintf("%d records are missing: %s", len(missing), clip([]byte(strings.Join(missing, " "))))
	})
}

// groupAdmin reads the group's offsets back with the client, lists, describes and deletes the group.
func (t *trial) groupAdmin(group, topic string, written int64, step stepper) {
	const column = "group admin"
	admin := func(needs feature, name string, f func() error) {
		if t.cannot(needs) {
			t.tryWith(needs, column, name, f)
			return
		}
		step(column, name, f)
	}
	admin(committedOffsets, "reads the group's offsets", func() error {
		var got struct{ Offsets []int64 }
		if err := t.adapter.call("committed", args{"group": group, "topic": topic, "partitions": []int{0, 1, 2, 3, 4, 5}}, &got); err != nil {
			return err
		}
		if !slices.Equal(got.Offsets, slices.Repeat([]int64{written}, groupPartitions)) {
			return fmt.Errorf("it says %v instead of %d each", got.Offsets, written)
		}
		return nil
	})
	list := func() (bool, error) {
		var got struct{ Groups []string }
		err := t.adapter.call("list_groups", nil, &got)
		return slices.Contains(got.Groups, group), err
	}
	admin(listGroups, "lists groups", func() error {
		found, err := list()
		if err == nil && !found {
			err = errors.New("the group is not among them")
		}
		return err
	})
	admin(describeGroups, "describes the group, which is empty now", func() error {
		return eventually(func() error {
			var got struct {
				State   string
				Members int
			}
			if err := t.adapter.call("describe_group", args{"group": group}, &got); err != nil {
				return err
			}
			if !strings.EqualFold(got.State, "empty") || got.Members != 0 {
				return fmt.Errorf("its state is %q, with %d members", got.State, got.Members)
			}
			return nil
		})
	})
	admin(deleteGroups, "deletes the group", func() error {
		if err := t.adapter.call("delete_group", args{"group": group}, nil); err != nil {
			return err
		}
		return eventually(func() error {
			found, err := list()
			if err == nil && found {
				err = errors.New("it is still listed")
			}
			return err
		})
	})
}
