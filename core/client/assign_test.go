package client_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
)

func applicant(id string, owned []client.TopicPartition, topics ...string) client.Applicant {
	return client.Applicant{Member: id, Subscription: client.Subscription{Topics: topics, Owned: owned, Generation: 1}}
}

func partitions(texts ...string) []client.TopicPartition {
	var out []client.TopicPartition
	for _, s := range texts {
		var p int32
		if _, err := fmt.Sscanf(s[1:], "%d", &p); err != nil {
			panic(err)
		}
		out = append(out, client.TopicPartition{Topic: s[:1], Partition: model.Partition(p)})
	}
	return out
}

func TestStrategiesDivideAsOthersDo(t *testing.T) {
	for _, c := range []struct {
		name     string
		strategy client.Strategy
		members  []client.Applicant
		topics   []client.TopicSize
		want     string
	}{
		{
			"range: two topics of three", client.Range,
			[]client.Applicant{applicant("2", nil, "a", "b"), applicant("1", nil, "a", "b")},
			[]client.TopicSize{{Topic: "b", Partitions: 3}, {Topic: "a", Partitions: 3}},
			"[[a2 b2] [a0 a1 b0 b1]]",
		},
		{
			"range: fewer partitions than members", client.Range,
			[]client.Applicant{applicant("1", nil, "a"), applicant("2", nil, "a"), applicant("3", nil, "a")},
			[]client.TopicSize{{Topic: "a", Partitions: 2}},
			"[[a0] [a1] []]",
		},
		{
			"round robin: two topics of three", client.RoundRobin,
			[]client.Applicant{applicant("1", nil, "a", "b"), applicant("2", nil, "a", "b")},
			[]client.TopicSize{{Topic: "a", Partitions: 3}, {Topic: "b", Partitions: 3}},
			"[[a0 a2 b1] [a1 b0 b2]]",
		},
		{
			"round robin: not all want all", client.RoundRobin,
			[]client.Applicant{applicant("1", nil, "a"), applicant("2", nil, "a", "b"), applicant("3", nil, "a", "b", "c")},
			[]client.TopicSize{{Topic: "a", Partitions: 1}, {Topic: "b", Partitions: 2}, {Topic: "c", Partitions: 3}},
			"[[a0] [b0] [b1 c0 c1 c2]]",
		},
		{
			"sticky: a third member comes, and gets nothing before the others let go", client.CooperativeSticky,
			[]client.Applicant{applicant("1", partitions("a0", "a1", "a2"), "a"), applicant("2", partitions("a3", "a4", "a5"), "a"), applicant("3", nil, "a")},
			[]client.TopicSize{{Topic: "a", Partitions: 6}},
			"[[a0 a1] [a3 a4] []]",
		},
		{
			"sticky: and then it gets what they let go of", client.CooperativeSticky,
			[]client.Applicant{applicant("1", partitions("a0", "a1"), "a"), applicant("2", partitions("a3", "a4"), "a"), applicant("3", nil, "a")},
			[]client.TopicSize{{Topic: "a", Partitions: 6}},
			"[[a0 a1] [a3 a4] [a2 a5]]",
		},
		{
			"sticky: a member is gone, and only its partitions move", client.CooperativeSticky,
			[]client.Applicant{applicant("1", partitions("a0", "a1"), "a"), applicant("3", partitions("a4", "a5"), "a")},
			[]client.TopicSize{{Topic: "a", Partitions: 6}},
			"[[a0 a1 a2] [a3 a4 a5]]",
		},
		{
			"sticky: of two claims of one age neither counts", client.CooperativeSticky,
			[]client.Applicant{applicant("1", partitions("a0", "a1"), "a"), applicant("2", partitions("a1"), "a")},
			[]client.TopicSize{{Topic: "a", Partitions: 2}},
			"[[a0] [a1]]",
		},
	} {
		got := client.Assign(c.strategy, c.members, c.topics)
		text := "["
		for i, list := range got {
			if i > 0 {
				text += " "
			}
			text += "["
			for j, p := range list {
				if j > 0 {
					text += " "
				}
				text += fmt.Sprintf("%s%d", p.Topic, p.Partition)
			}
			text += "]"
		}
		if text += "]"; text != c.want {
			t.Errorf("%s: %s, not %s", c.name, text, c.want)
		}
	}
}

func TestEveryPartitionIsGivenOnceAndFairly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"a", "b", "c"}[:rapid.IntRange(1, 3).Draw(t, "topics")]
		var topics []client.TopicSize
		for _, n := range names {
			topics = append(topics, client.TopicSize{Topic: n, Partitions: rapid.IntRange(0, 9).Draw(t, "partitions")})
		}
		same := rapid.Bool().Draw(t, "same")
		var members []client.Applicant
		for i := range rapid.IntRange(1, 6).Draw(t, "members") {
			wants := names
			if !same {
				wants = rapid.SliceOfNDistinct(rapid.SampledFrom(names), 0, len(names), rapid.ID[string]).Draw(t, "wants")
			}
			m := applicant(fmt.Sprint(i), nil, wants...)
			for _, n := range names {
				for p := range rapid.IntRange(0, 4).Draw(t, "owned") {
					m.Owned = append(m.Owned, client.TopicPartition{Topic: n, Partition: model.Partition(p + i)})
				}
			}
			m.Generation = rapid.Int32Range(-1, 2).Draw(t, "generation")
			members = append(members, m)
		}
		strategy := rapid.SampledFrom([]client.Strategy{client.Range, client.RoundRobin, client.CooperativeSticky}).Draw(t, "strategy")
		got := client.Assign(strategy, members, topics)
		// Sticky needs rounds: what is to move is given up first.
		rounds := 1
		for strategy == client.CooperativeSticky {
			for i := range members {
				members[i].Owned, members[i].Generation = got[i], int32(10+rounds)
			}
			again := client.Assign(strategy, members, topics)
			if fmt.Sprint(again) == fmt.Sprint(got) {
				break
			}
			got = again
			if rounds++; rounds > 3 {
				t.Fatalf("not settled after %d rounds: %v", rounds, got)
			}
		}
		seen := map[client.TopicPartition]bool{}
		for i, list := range got {
			for _, p := range list {
				if seen[p] {
					t.Fatalf("%v is given twice: %v", p, got)
				}
				seen[p] = true
				if !slices.Contains(members[i].Topics, p.Topic) {
					t.Fatalf("member %d gets %v and did not ask for it", i, p)
				}
			}
		}
		for _, x := range topics {
			wanted := slices.ContainsFunc(members, func(m client.Applicant) bool { return slices.Contains(m.Topics, x.Topic) })
			for p := range x.Partitions {
				if seen[client.TopicPartition{Topic: x.Topic, Partition: model.Partition(p)}] != wanted {
					t.Fatalf("%s/%d is given: %v, wanted: %v", x.Topic, p, !wanted, wanted)
				}
			}
		}
		if strategy == client.Range {
			return
		}
		for i := range got {
			for _, p := range got[i] {
				for j := range got {
					if slices.Contains(members[j].Topics, p.Topic) && len(got[j])+1 < len(got[i]) && (strategy == client.CooperativeSticky || same) {
						t.Fatalf("member %d has %d and %d has %d: %v", i, len(got[i]), j, len(got[j]), got)
					}
				}
			}
		}
	})
}

func TestSubscriptionsAndAssignmentsRoundTrip(t *testing.T) {
	s := client.Subscription{Topics: []string{"a", "b"}, Owned: partitions("a0", "a3", "b1"), Generation: 7, Rack: "r", UserData: []byte{1}}
	got, err := client.ParseSubscription(s.Encode(nil))
	if err != nil || fmt.Sprint(got) != fmt.Sprint(s) {
		t.Errorf("%+v became %+v, %v", s, got, err)
	}
	// A newer version may add fields behind; an older one has fewer.
	newer := append(s.Encode(nil), 1, 2, 3)
	newer[1] = 9
	if got, err = client.ParseSubscription(newer); err != nil || fmt.Sprint(got) != fmt.Sprint(s) {
		t.Errorf("a newer one: %+v, %v", got, err)
	}
	if got, err = client.ParseSubscription([]byte{0, 0, 0, 0, 0, 1, 0, 1, 'a', 0, 0, 0, 0}); err != nil || len(got.Topics) != 1 || got.Generation != -1 {
		t.Errorf("version 0: %+v, %v", got, err)
	}
	list := partitions("a0", "a3", "b1")
	if got, err := client.ParseAssignment(client.EncodeAssignment(nil, list, nil)); err != nil || fmt.Sprint(got) != fmt.Sprint(list) {
		t.Errorf("%v became %v, %v", list, got, err)
	}
	if got, err := client.ParseAssignment(nil); err != nil || got != nil {
		t.Errorf("nothing became %v, %v", got, err)
	}
}

func FuzzEmbedded(f *testing.F) {
	f.Add((&client.Subscription{Topics: []string{"a"}, Owned: partitions("a0")}).Encode(nil))
	f.Add(client.EncodeAssignment(nil, partitions("a0", "b1"), nil))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = client.ParseSubscription(b)
		_, _ = client.ParseAssignment(b)
	})
}
