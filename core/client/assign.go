package client

import (
	"slices"
	"strings"

	"github.com/weirmq/weir/core/model"
)

// Strategy is how a group's leader divides partitions among members, by the name that members of the
// "consumer" protocol agree on.
type Strategy string

// The strategies. With CooperativeSticky alone a member keeps reading while the group rebalances (KIP-429);
// with any other in its list it lets go of all partitions first, as all members of such a group do.
const (
	Range             Strategy = "range"      // neighbouring partitions, topic by topic
	RoundRobin        Strategy = "roundrobin" // partitions in turn, all topics together
	CooperativeSticky Strategy = "cooperative-sticky"
)

// Valid reports whether a strategy is one of them.
func (s Strategy) Valid() bool { return s == Range || s == RoundRobin || s == CooperativeSticky }

func partitionOf(topic string, n int) TopicPartition {
	return TopicPartition{topic, model.Partition(n)}
}

// Applicant is a member of a group as its leader sees it.
type Applicant struct {
	Member     string
	InstanceID string
	Subscription
}

// TopicSize is how many partitions a topic has.
type TopicSize struct {
	Topic      string
	Partitions int
}

// Assign divides the partitions of topics among the members that subscribe to them. The result has an entry
// for each applicant, in their order, each ordered. No partition is given twice. Equal inputs give equal
// results, whatever their order.
func Assign(s Strategy, applicants []Applicant, topics []TopicSize) [][]TopicPartition {
	order := make([]int, len(applicants))
	for i := range order {
		order[i] = i
	}
	// As others do, so that mixed groups divide alike: static members by their instance, before the others.
	slices.SortFunc(order, func(x, y int) int {
		a, b := &applicants[x], &applicants[y]
		switch {
		case a.InstanceID != "" && b.InstanceID != "":
			return strings.Compare(a.InstanceID, b.InstanceID)
		case a.InstanceID != "":
			return -1
		case b.InstanceID != "":
			return 1
		}
		return strings.Compare(a.Member, b.Member)
	})
	topics = slices.Clone(topics)
	slices.SortFunc(topics, func(x, y TopicSize) int { return strings.Compare(x.Topic, y.Topic) })
	given := make([][]TopicPartition, len(applicants))
	switch s {
	case RoundRobin:
		assignRoundRobin(given, order, applicants, topics)
	case CooperativeSticky:
		assignSticky(given, order, applicants, topics)
	case Range:
		assignRange(given, order, applicants, topics)
	default:
		assignRange(given, order, applicants, topics)
	}
	for i := range given {
		slices.SortFunc(given[i], TopicPartition.Compare)
	}
	return given
}

func (a *Applicant) wants(topic string) bool { return slices.Contains(a.Topics, topic) }

// assignRange gives each member of a topic a run of its partitions; the first members get one more when
// they do not divide evenly.
func assignRange(given [][]TopicPartition, order []int, applicants []Applicant, topics []TopicSize) {
	for _, t := range topics {
		var members []int
		for _, i := range order {
			if applicants[i].wants(t.Topic) {
				members = append(members, i)
			}
		}
		next := 0
		for n, i := range members {
			share := t.Partitions / len(members)
			if n < t.Partitions%len(members) {
				share++
			}
			for range share {
				given[i] = append(given[i], partitionOf(t.Topic, next))
				next++
			}
		}
	}
}

// assignRoundRobin deals partitions to the members in turn, passing over those that do not subscribe.
func assignRoundRobin(given [][]TopicPartition, order []int, applicants []Applicant, topics []TopicSize) {
	turn := 0
	for _, t := range topics {
		if !slices.ContainsFunc(applicants, func(a Applicant) bool { return a.wants(t.Topic) }) {
			continue
		}
		for p := range t.Partitions {
			for !applicants[order[turn]].wants(t.Topic) {
				turn = (turn + 1) % len(order)
			}
			given[order[turn]] = append(given[order[turn]], partitionOf(t.Topic, p))
			turn = (turn + 1) % len(order)
		}
	}
}

// assignSticky leaves partitions with their owners as far as that is fair: no member has two more than
// another that could have one of them. What is to move from an owner is given to nobody yet: the owner lets
// go of it, and the rebalance that follows gives it away.
func assignSticky(given [][]TopicPartition, order []int, applicants []Applicant, topics []TopicSize) {
	owners := claims(order, applicants, topics)
	var open []TopicPartition
	for _, t := range topics {
		for p := range t.Partitions {
			x := partitionOf(t.Topic, p)
			if i := ownerIn(owners, x); i >= 0 {
				given[i] = append(given[i], x)
			} else {
				open = append(open, x)
			}
		}
	}
	for _, x := range open {
		if i := lightest(given, order, applicants, x.Topic); i >= 0 {
			given[i] = append(given[i], x)
		}
	}
	for moveOne(given, order, applicants) {
	}
	for i := range given {
		given[i] = slices.DeleteFunc(given[i], func(x TopicPartition) bool {
			o := ownerIn(owners, x)
			return o >= 0 && o != i
		})
	}
}

// lightest is the member with the fewest partitions that subscribes to a topic, -1 if none does.
func lightest(given [][]TopicPartition, order []int, applicants []Applicant, topic string) int {
	best := -1
	for _, i := range order {
		if applicants[i].wants(topic) && (best < 0 || len(given[i]) < len(given[best])) {
			best = i
		}
	}
	return best
}

// moveOne moves a partition to a member that has at least two fewer, and reports whether there was one to
// move. The sum of the squares of the loads falls each time, so it ends.
func moveOne(given [][]TopicPartition, order []int, applicants []Applicant) bool {
	// From the heaviest member first.
	from := slices.Clone(order)
	slices.SortStableFunc(from, func(x, y int) int { return len(given[y]) - len(given[x]) })
	for _, i := range from {
		for n := len(given[i]) - 1; n >= 0; n-- {
			x := given[i][n]
			to := lightest(given, order, applicants, x.Topic)
			if to >= 0 && len(given[to])+1 < len(given[i]) {
				given[i] = slices.Delete(given[i], n, n+1)
				given[to] = append(given[to], x)
				return true
			}
		}
	}
	return false
}

// claim is an owner's word for a partition.
type claim struct {
	TopicPartition
	owner      int
	generation int32
}

// claims are who owns what, ordered by partition: of two that claim the same the newer generation is
// right, and of one generation neither.
func claims(order []int, applicants []Applicant, topics []TopicSize) []claim {
	var all []claim
	for _, i := range order {
		a := &applicants[i]
		for _, x := range a.Owned {
			t := slices.IndexFunc(topics, func(t TopicSize) bool { return t.Topic == x.Topic })
			if t >= 0 && int(x.Partition) < topics[t].Partitions && x.Partition >= 0 && a.wants(x.Topic) {
				all = append(all, claim{x, i, a.Generation})
			}
		}
	}
	slices.SortStableFunc(all, func(x, y claim) int {
		if c := x.TopicPartition.Compare(y.TopicPartition); c != 0 {
			return c
		}
		return int(max(min(int64(y.generation)-int64(x.generation), 1), -1))
	})
	var valid []claim
	for i := 0; i < len(all); {
		n := i + 1
		for n < len(all) && all[n].TopicPartition == all[i].TopicPartition {
			n++
		}
		if n == i+1 || all[i+1].generation < all[i].generation {
			valid = append(valid, all[i])
		}
		i = n
	}
	return valid
}

func ownerIn(owners []claim, x TopicPartition) int {
	i, found := slices.BinarySearchFunc(owners, x, func(c claim, x TopicPartition) int { return c.TopicPartition.Compare(x) })
	if !found {
		return -1
	}
	return owners[i].owner
}
