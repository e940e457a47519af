package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirmq/weir/node/weirtest"
)

// member joins a group with a client that others wrote, and reads until it has n records, which it commits.
func member(t *testing.T, addr, group, topic string, n int) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ClientID("other"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for n > 0 {
		fetches := c.PollRecords(ctx, n)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		n -= fetches.NumRecords()
		if err := c.CommitRecords(ctx, fetches.Records()...); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func TestGroupsAreDescribedMovedAndDeleted(t *testing.T) {
	b := weirtest.Start(t, weirtest.Property("group.initial.rebalance.delay.ms", "0"))
	do := on(t, b)
	fails := func(says string, args ...string) {
		t.Helper()
		if code, _, errs := weir(t, "", append(args, "-b", b.Addr())...); code == 0 || !strings.Contains(errs, says) {
			t.Errorf("weir %s: exit code %d, wants %q: %s", strings.Join(args, " "), code, says, errs)
		}
	}
	do("", "topic", "create", "t", "--partitions", "2")
	do("a\nb\nc\n", "produce", "t", "-p", "0")
	do("d\ne\n", "produce", "t", "-p", "1")
	if code, _, errs := weir(t, "", "group", "lag", "billing", "-b", b.Addr()); code != 1 || !strings.HasPrefix(errs, "error group-not-found:") {
		t.Errorf("the lag of nobody: exit code %d: %s", code, errs)
	}
	c := member(t, b.Addr(), "billing", "t", 5)
	do("f\n", "produce", "t", "-p", "1")

	var d groupDescription
	if err := json.Unmarshal([]byte(do("", "group", "describe", "billing", "--output", "json")), &d); err != nil {
		t.Fatal(err)
	}
	if d.State != "Stable" || len(d.Members) != 1 || d.Members[0].ClientID != "other" || len(d.Members[0].Topics) != 1 || d.Members[0].Partitions != 2 || d.Lag != 1 {
		t.Errorf("described as %+v", d)
	}
	if len(d.Partitions) != 2 || d.Partitions[0].Committed != 3 || d.Partitions[1].Committed != 2 || d.Partitions[1].End != 3 || d.Partitions[1].Member == "" {
		t.Errorf("its partitions are %+v", d.Partitions)
	}
	if out := do("", "group", "lag"); !strings.Contains(out, "billing  t      2           1    1        0\n") {
		t.Errorf("lag says\n%s", out)
	}
	if out := do("", "group", "ls"); !strings.Contains(out, "billing  Stable") {
		t.Errorf("ls says\n%s", out)
	}
	fails("error group-not-empty:", "group", "seek", "billing", "--to", "start", "--execute")
	fails("error group-not-empty:", "group", "delete", "billing")
	// Reads what is there and says nothing of it.
	busy, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.ConsumerGroup("busy"), kgo.ConsumeTopics("t"), kgo.DisableAutoCommit())
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	eventually(t, "the group is stable", func() bool { return strings.Contains(do("", "group", "ls", "busy"), "Stable") })
	fails("error group-not-empty: group \"busy\" has 1 member,", "group", "seek", "busy", "--to", "start", "--execute")
	busy.Close()
	fails("did you mean billing?", "group", "describe", "biling")
	if out := do("", "group", "describe", "billing"); !strings.Contains(out, ", 1 member, lag 1\n") {
		t.Errorf("described as\n%s", out)
	}
	fails("where to?", "group", "seek", "billing")
	c.Close()
	eventually(t, "the group is empty", func() bool { return strings.Contains(do("", "group", "ls", "billing"), "Empty") })

	saved := do("", "group", "offsets", "billing")
	if saved != "t 0 3\nt 1 2\n" {
		t.Errorf("offsets are %q", saved)
	}
	file := filepath.Join(t.TempDir(), "offsets")
	if err := os.WriteFile(file, []byte("# kept\n"+saved), 0o600); err != nil {
		t.Fatal(err)
	}
	want := "TOPIC  PARTITION  FROM  TO  CHANGE  NOTE\nt      0          3     0   -3      -\nt      1          2     0   -2      -\n"
	if out := do("", "group", "seek", "billing", "--to", "start"); out != want {
		t.Errorf("a dry run says\n%s", out)
	}
	if out := do("", "group", "offsets", "billing"); out != saved {
		t.Errorf("a dry run made it %q", out)
	}
	for _, step := range []struct{ args, want string }{
		{"--to start", "t 0 0\nt 1 0\n"},
		{"--to end", "t 0 3\nt 1 3\n"},
		{"--shift -2", "t 0 1\nt 1 1\n"},
		{"--to 2 --topic t:1", "t 0 1\nt 1 2\n"},
		{"--to 1000", "t 0 3\nt 1 3\n"},
		{"--to -1", "t 0 2\nt 1 2\n"},
		{"--to @-1h", "t 0 0\nt 1 0\n"},
		{"--from-file " + file, saved},
	} {
		do("", append([]string{"group", "seek", "billing", "--execute"}, strings.Fields(step.args)...)...)
		if out := do("", "group", "offsets", "billing"); out != step.want {
			t.Errorf("seek %s: %q, not %q", step.args, out, step.want)
		}
	}
	do("", "group", "seek", "copy", "--from-group", "billing", "--execute")
	if out := do("", "group", "offsets", "copy", "--output", "json"); out != `{"topic":"t","partition":0,"offset":3}`+"\n"+`{"topic":"t","partition":1,"offset":2}`+"\n" {
		t.Errorf("the copy: %s", out)
	}
	fails("has committed nothing", "group", "seek", "nobody", "--to", "start")
	code, out, _ := weir(t, "", "group", "why", "billing", "--watch", "10ms", "-b", b.Addr())
	if code != 1 || !strings.Contains(out, "problem group billing: it has no members, and has not read 1 record\n") {
		t.Errorf("why: exit code %d: %s", code, out)
	}
	do("", "group", "delete-offsets", "billing", "--topic", "t:0")
	if out := do("", "group", "offsets", "billing"); out != "t 1 2\n" {
		t.Errorf("after forgetting: %q", out)
	}
	do("", "group", "delete", "billing", "copy")
	fails("error group-not-found:", "group", "describe", "billing")
}

func TestWhyNamesTheCause(t *testing.T) {
	base := func(edit func(before, after *groupDescription)) []finding {
		newGroup := func() *groupDescription {
			return &groupDescription{
				Group: "g", State: "Stable",
				Members:    []memberJSON{{ID: "m1", ClientID: "c", Host: "h", Topics: []string{"t"}, Partitions: 1}},
				Partitions: []groupLine{{Topic: "t", Committed: 10, Start: 0, End: 10, Member: "m1"}},
			}
		}
		before, after := newGroup(), newGroup()
		edit(before, after)
		return examine(before, after, 10*time.Second)
	}
	set := func(d *groupDescription, committed, end int64) {
		l := &d.Partitions[0]
		l.Committed, l.End, l.Lag = committed, end, max(0, end-committed)
		d.Lag = l.Lag
	}
	for name, c := range map[string]struct {
		edit func(before, after *groupDescription)
		says string
	}{
		"all read":    {func(_, _ *groupDescription) {}, "fine group g: it has read everything"},
		"nobody":      {func(_, a *groupDescription) { a.Members, a.Lag = nil, 5 }, "problem group g: it has no members, and has not read 5 records"},
		"stuck":       {func(b, a *groupDescription) { set(b, 10, 20); set(a, 10, 30) }, "problem t/0: of 20 records to read, m1"},
		"slow":        {func(b, a *groupDescription) { set(b, 10, 20); set(a, 20, 120) }, "problem group g: it falls behind: 10 records a second are written, 1 are read"},
		"catching up": {func(b, a *groupDescription) { set(b, 10, 1000); set(a, 510, 1010) }, "which takes about 10s"},
		"keeping up":  {func(b, a *groupDescription) { set(b, 100, 110); set(a, 200, 210) }, "it keeps up"},
		"retention":   {func(b, a *groupDescription) { set(b, 10, 90); set(a, 10, 90); a.Partitions[0].Start = 50 }, "retention or DeleteRecords has removed what is before 50"},
		"recreated":   {func(_, a *groupDescription) { set(a, 10, 4) }, "past the end at 4"},
		"topic gone":  {func(_, a *groupDescription) { a.Partitions[0].Error = "there is no such topic" }, "problem t/0: there is no such topic"},
		"rebalancing": {func(b, a *groupDescription) { b.State, a.State = "PreparingRebalance", "CompletingRebalance" }, "dividing its partitions anew at both looks"},
		"too many": {func(b, a *groupDescription) {
			m := memberJSON{ID: "m2"}
			b.Members = append(b.Members, m)
			a.Members = append(a.Members, m)
		}, "there are fewer partitions than members: 1 of 2 members without any"},
		"coming":     {func(_, a *groupDescription) { a.Members[0].ID = "m9" }, "1 member joined and 1 left"},
		"unassigned": {func(b, a *groupDescription) { set(b, 10, 20); set(a, 10, 20); a.Partitions[0].Member = "" }, "no member has it, with 10 records to read"},
		"unsubscribed": {func(_, a *groupDescription) {
			set(a, 10, 20)
			a.Partitions[0].Member, a.Members[0].Topics = "", []string{"u"}
		}, "no member subscribes"},
		"missing": {func(_, a *groupDescription) { a.Members[0].Topics = []string{"t", "u"} }, "problem topic u: members subscribe to it"},
	} {
		found := base(c.edit)
		all := ""
		for _, f := range found {
			all += f.Level + " " + f.Subject + ": " + f.What + "\n"
		}
		if !strings.Contains(all, c.says) {
			t.Errorf("%s: wants %q, found\n%s", name, c.says, all)
		}
	}
}
