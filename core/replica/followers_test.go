package replica

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/weirmq/weir/core/model"
)

const lag = model.Time(1000)

func newFollowers(isr []model.NodeID, inSyncMin int) *Followers {
	return NewFollowers(FollowersConfig{Self: 1, LagTimeMax: lag, InSyncMin: inSyncMin},
		Assignment{Replicas: []model.NodeID{1, 2, 3}, ISR: isr, PartitionEpoch: 5}, LeaderStart{}, 1)
}

func proposes(t *testing.T, f *Followers, now model.Time, want ...model.NodeID) Proposal {
	t.Helper()
	p, ok := f.Propose(now)
	var got []model.NodeID
	for _, in := range p.ISR {
		got = append(got, in.Node)
	}
	if ok != (len(want) > 0) || !slices.Equal(got, want) {
		t.Fatalf("it proposes %v, want %v", got, want)
	}
	return p
}

func TestHighWatermarkWaitsForAllInSync(t *testing.T) {
	f := newFollowers([]model.NodeID{1, 2, 3}, 2)
	f.Appended(10, 10, 2)
	f.Fetched(2, 1, 10, 3)
	f.Fetched(3, 1, 4, 3)
	if f.HighWatermark() != 4 {
		t.Errorf("%d", f.HighWatermark())
	}
	f.Fetched(3, 1, 10, 4)
	f.Appended(20, 15, 5) // durable to 15
	f.Fetched(2, 1, 20, 6)
	f.Fetched(3, 1, 20, 6)
	if f.HighWatermark() != 15 {
		t.Errorf("%d: the leader's own log is durable to 15", f.HighWatermark())
	}
}

// A follower came to lead with records on their way to a disk that had no room for them. The other, which led before, has them.
func TestFollowersEndIsNotBeyondWhatWasRefused(t *testing.T) {
	f := NewFollowers(FollowersConfig{Self: 1, LagTimeMax: lag, InSyncMin: 2},
		Assignment{Replicas: []model.NodeID{1, 2, 3}, ISR: []model.NodeID{1, 2}}, LeaderStart{End: 107, Durable: 47, HighWatermark: 47}, 1)
	f.Fetched(2, 1, 107, 2)
	f.Cut(47)
	f.Appended(125, 125, 3)
	if f.HighWatermark() != 47 {
		t.Errorf("%d: the other's log is another from 47 on", f.HighWatermark())
	}
	f.Fetched(2, 1, 125, 4)
	f.Fetched(3, 1, 60, 4) // as much as the leader had when it began, and not enough
	proposes(t, f, 4)
	f.Cut(125)
	f.Fetched(3, 1, 125, 5)
	proposes(t, f, 5, 1, 2, 3)
}

func TestHighWatermarkWaitsForWhoMayBeInSyncByNow(t *testing.T) {
	f := newFollowers([]model.NodeID{1, 2}, 1)
	f.Appended(10, 10, 2)
	f.Fetched(2, 1, 10, 3)
	f.Fetched(3, 1, 10, 3)
	p := proposes(t, f, 4, 1, 2, 3)
	if p.PartitionEpoch != 5 {
		t.Errorf("%+v", p)
	}
	f.Appended(20, 20, 5)
	f.Fetched(2, 1, 20, 6)
	if f.HighWatermark() != 10 {
		t.Errorf("%d: node 3 may be in sync for all we know", f.HighWatermark())
	}
	if !f.Refused() || f.HighWatermark() != 20 {
		t.Errorf("%d: node 3 is not", f.HighWatermark())
	}
}

func TestHighWatermarkWaitsForWhoIsLeaving(t *testing.T) {
	f := newFollowers([]model.NodeID{1, 2, 3}, 2)
	f.Appended(10, 10, 2)
	f.Fetched(2, 1, 10, 3)
	f.Fetched(2, 1, 10, 900)
	proposes(t, f, lag+3, 1, 2)
	if f.HighWatermark() != 0 {
		t.Errorf("%d: node 3 is in sync until its leaving is committed", f.HighWatermark())
	}
	if !f.Assigned(Assignment{Replicas: []model.NodeID{1, 2, 3}, ISR: []model.NodeID{1, 2}, PartitionEpoch: 6}, lag+4) || f.HighWatermark() != 10 {
		t.Errorf("%d", f.HighWatermark())
	}
}

func TestWhatWasGivenUpMayHaveBeenCommittedUntilThePartitionEpochPasses(t *testing.T) {
	f := newFollowers([]model.NodeID{1, 2}, 1)
	f.Appended(10, 10, 2)
	f.Fetched(2, 1, 10, 3)
	f.Fetched(3, 1, 10, 3)
	proposes(t, f, 4, 1, 2, 3)
	f.Unanswered()
	proposes(t, f, 5, 1, 2, 3)
	f.Refused() // the first one was committed, or will be
	f.Appended(20, 20, 6)
	f.Fetched(2, 1, 20, 7)
	if f.HighWatermark() != 10 {
		t.Errorf("%d: it passed by who may be in sync", f.HighWatermark())
	}
	f.Alive(3, false)
	proposes(t, f, 8, 1, 2) // as is committed, for the sake of its epoch
	f.Assigned(Assignment{Replicas: []model.NodeID{1, 2, 3}, ISR: []model.NodeID{1, 2}, PartitionEpoch: 6}, 9)
	if f.HighWatermark() != 20 {
		t.Errorf("%d: nobody else is in sync", f.HighWatermark())
	}
	proposes(t, f, 10) // all is settled
}

// The answer to a proposal that ended a move came before the metadata, and was taken with the replicas of before the move.
func TestReplicasOfTheMetadataReplaceThoseThatAnAnswerWasTakenWith(t *testing.T) {
	f := newFollowers([]model.NodeID{1, 3}, 1)
	f.Appended(10, 10, 2)
	f.Fetched(2, 1, 10, 3)
	f.Fetched(3, 1, 10, 3)
	proposes(t, f, 4, 1, 2, 3)
	f.Assigned(Assignment{Replicas: []model.NodeID{1, 2, 3}, ISR: []model.NodeID{1, 3}, PartitionEpoch: 6}, 5)
	f.Assigned(Assignment{Replicas: []model.NodeID{1, 3}, ISR: []model.NodeID{1, 3}, PartitionEpoch: 6}, 6)
	if !f.Complete() {
		t.Error("a replica is counted that is none")
	}
	proposes(t, f, 7) // nobody is missing
}

func TestHighWatermarkStandsBelowTheMinimum(t *testing.T) {
	f := newFollowers([]model.NodeID{1}, 2)
	if f.Appended(10, 10, 2); f.HighWatermark() != 0 {
		t.Errorf("%d with one replica in sync of two that are wanted", f.HighWatermark())
	}
	f.Fetched(2, 1, 10, 3)
	proposes(t, f, 4, 1, 2)
	if !f.Assigned(Assignment{Replicas: []model.NodeID{1, 2, 3}, ISR: []model.NodeID{1, 2}, PartitionEpoch: 6}, 5) || f.HighWatermark() != 10 {
		t.Errorf("%d", f.HighWatermark())
	}
}

// KAFKA-7128 and its kin: a follower that has the high watermark of a leader that has just begun may not have what was
// committed before.
func TestNobodyJoinsBelowTheLeadersStart(t *testing.T) {
	f := NewFollowers(FollowersConfig{Self: 1, LagTimeMax: lag, InSyncMin: 1},
		Assignment{Replicas: []model.NodeID{1, 2, 3}, ISR: []model.NodeID{1}, PartitionEpoch: 5}, LeaderStart{End: 100, Durable: 90, HighWatermark: 50}, 1)
	f.Fetched(2, 1, 95, 2)
	proposes(t, f, 3)
	f.Fetched(2, 1, 100, 4)
	proposes(t, f, 5, 1, 2)
}

// A follower that is slow asks again and again; one that is cut off from its leader asks for nothing, although the
// controller may hear both.
func TestASilentFollowerIsNotWaitedForAsLongAsASlowOne(t *testing.T) {
	f := NewFollowers(FollowersConfig{Self: 1, LagTimeMax: lag, SilentTimeMax: 200, InSyncMin: 2},
		Assignment{Replicas: []model.NodeID{1, 2, 3}, ISR: []model.NodeID{1, 2, 3}, PartitionEpoch: 5}, LeaderStart{}, 1)
	f.Fetched(2, 1, 0, 2)
	f.Fetched(3, 1, 0, 2)
	if d := f.Deadline(); d != 0 {
		t.Errorf("nothing is there to ask for, and it looks at %d", d)
	}
	f.Appended(10, 10, 1000)
	if d := f.Deadline(); d != 1201 {
		t.Errorf("it looks at %d", d)
	}
	for now := model.Time(1000); now <= 1200; now += 50 {
		f.Fetched(2, 1, model.Offset(now-1000)/50, now) // a record at a time
		proposes(t, f, now)
	}
	p := proposes(t, f, 1201, 1, 2)
	if p.PartitionEpoch != 5 {
		t.Errorf("%+v", p)
	}
	f.Assigned(Assignment{Replicas: []model.NodeID{1, 2, 3}, ISR: []model.NodeID{1, 2}, PartitionEpoch: 6}, 1210)
	if f.HighWatermark() != 4 {
		t.Errorf("%d", f.HighWatermark())
	}
	// The slow one has the time of a lag.
	for now := model.Time(1250); now <= 2000; now += 50 {
		f.Fetched(2, 1, 5, now)
		proposes(t, f, now)
	}
	f.Appended(20, 20, 2000)
	f.Fetched(2, 1, 5, 2000)
	proposes(t, f, 2001, 1)
	// One that comes back is in sync again, and has half of its time to show itself.
	f.Assigned(Assignment{Replicas: []model.NodeID{1, 2, 3}, ISR: []model.NodeID{1}, PartitionEpoch: 7}, 2010)
	f.Fetched(3, 1, 20, 3100)
	proposes(t, f, 3100, 1, 3)
	f.Appended(30, 30, 3101)
	f.Assigned(Assignment{Replicas: []model.NodeID{1, 2, 3}, ISR: []model.NodeID{1, 3}, PartitionEpoch: 8}, 3110)
	if d := f.Deadline(); d != 3302 {
		t.Errorf("it looks at %d", d)
	}
}

// A leader that stood still longer than a follower may be silent does not hold that against it.
func TestALeaderThatStoodStillGivesTheSilentTimeToAsk(t *testing.T) {
	f := NewFollowers(FollowersConfig{Self: 1, LagTimeMax: lag, SilentTimeMax: 200, InSyncMin: 2},
		Assignment{Replicas: []model.NodeID{1, 2, 3}, ISR: []model.NodeID{1, 2, 3}, PartitionEpoch: 5}, LeaderStart{}, 1)
	f.Appended(10, 10, 10)
	proposes(t, f, 500)
	f.Fetched(2, 1, 10, 510)
	f.Fetched(3, 1, 10, 510)
	proposes(t, f, 700)
}

func TestAFollowerUnderLoadIsInSyncIfItHadWhatThereWasWhenItAsked(t *testing.T) {
	f := newFollowers([]model.NodeID{1, 2, 3}, 2)
	f.Fetched(3, 1, 0, 1)
	for i := range model.Time(50) { // always ten records behind
		now := 100 * (i + 1)
		f.Appended(model.Offset(10*i+10), model.Offset(10*i+10), now)
		f.Fetched(2, 1, model.Offset(10*i), now+1)
		f.Fetched(3, 1, model.Offset(10*i), now+1)
		proposes(t, f, now+2)
	}
}

func TestAnIdleFollowerIsInSyncAndCostsNothing(t *testing.T) {
	f := newFollowers([]model.NodeID{1, 2, 3}, 2)
	f.Appended(10, 10, 2)
	f.Fetched(2, 1, 10, 3)
	f.Fetched(3, 1, 10, 3)
	if d := f.Deadline(); d != 0 {
		t.Errorf("it wants to look at %d", d)
	}
	later := 1000 * lag
	f.Appended(20, 20, later)
	proposes(t, f, later+1)
	if d := f.Deadline(); d != later+lag+1 {
		t.Errorf("it wants to look at %d, want %d", d, later+lag+1)
	}
}

func TestAPausedLeaderBlamesNobody(t *testing.T) {
	f := newFollowers([]model.NodeID{1, 2, 3}, 2)
	f.Appended(10, 10, 2)
	proposes(t, f, 3)
	proposes(t, f, 100*lag)
	proposes(t, f, 100*lag+lag/4)
	proposes(t, f, 100*lag+lag/2)
	proposes(t, f, 100*lag+lag/2+2, 1)
}

func TestAFollowerThatLostItsLogLeaves(t *testing.T) {
	f := newFollowers([]model.NodeID{1, 2, 3}, 2)
	f.Appended(10, 10, 2)
	f.Fetched(2, 1, 10, 3)
	f.Fetched(3, 1, 10, 3)
	f.Fetched(3, 2, 0, 4) // another life, an empty disk
	proposes(t, f, 5, 1, 2)
	if _, ok := f.Fetched(3, 1, 10, 6); ok {
		t.Error("a fetch of its earlier life counts")
	}
}

// TestALateFetchSaysNothing: a connection that is dead for the follower may bring a fetch of its to the leader yet, behind
// those that were sent after it.
func TestALateFetchSaysNothing(t *testing.T) {
	f := newFollowers([]model.NodeID{1, 2, 3}, 1)
	f.Appended(10, 10, 2)
	f.Fetched(2, 1, 10, 3)
	f.Fetched(3, 1, 10, 3)
	if _, ok := f.Fetched(2, 1, 4, 5); !ok {
		t.Error("it is refused")
	}
	if r := f.find(2); r.end != 10 || r.fetchedAt != 3 {
		t.Errorf("the leader goes by it: %+v", r)
	}
	proposes(t, f, 6)
	f.Fetched(2, 2, 4, 7) // another life, which has lost something
	proposes(t, f, 8, 1, 3)
}

func TestTheFencedAreNotProposed(t *testing.T) {
	f := newFollowers([]model.NodeID{1, 2}, 1)
	f.Alive(3, false)
	f.Fetched(2, 1, 0, 2)
	f.Fetched(3, 1, 0, 2)
	proposes(t, f, 3)
	f.Alive(3, true)
	if p := proposes(t, f, 4, 1, 2, 3); p.ISR[2].BrokerEpoch != 1 || p.ISR[0].BrokerEpoch != -1 {
		t.Errorf("%+v", p)
	}
}

// Whatever happens, what is below the high watermark is durable on everybody whom the controller has in sync: anyone
// of them may lead next. The controller commits, refuses, answers late or never, takes in late what was given up, or changes
// things by itself.
func TestWhatMayBeReadIsOnEverybodyInSync(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := []model.NodeID{1, 2, 3, 4}[:rapid.IntRange(2, 4).Draw(t, "replicas")]
		committed := Assignment{Replicas: nodes, ISR: slices.Clone(nodes[:rapid.IntRange(1, len(nodes)).Draw(t, "in sync")])}
		config := FollowersConfig{Self: 1, LagTimeMax: lag, SilentTimeMax: model.Time(rapid.SampledFrom([]int{0, 100, 300}).Draw(t, "silent")), InSyncMin: rapid.IntRange(1, 2).Draw(t, "minimum")}
		now := model.Time(1)
		f := NewFollowers(config, committed, LeaderStart{}, now)
		durable := map[model.NodeID]model.Offset{}
		end, watermark := model.Offset(0), model.Offset(0)
		var onWay *Proposal   // the last one, if it was not answered or given up yet
		var copies []Proposal // that may arrive yet
		commit := func(p Proposal) bool {
			if p.PartitionEpoch != committed.PartitionEpoch {
				return false
			}
			committed.ISR, committed.PartitionEpoch = nil, committed.PartitionEpoch+1
			for _, in := range p.ISR {
				committed.ISR = append(committed.ISR, in.Node)
			}
			return true
		}
		inSync := func(isr []model.NodeID) bool {
			return !slices.ContainsFunc(isr, func(n model.NodeID) bool { return durable[n] < f.HighWatermark() })
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now += model.Time(rapid.IntRange(0, 600).Draw(t, "time"))
			switch rapid.IntRange(0, 8).Draw(t, "step") {
			case 0, 1:
				end += model.Offset(rapid.IntRange(0, 5).Draw(t, "append"))
				durable[1] = min(end, durable[1]+model.Offset(rapid.IntRange(0, 7).Draw(t, "sync")))
				f.Appended(end, durable[1], now)
			case 2, 3, 4:
				n := nodes[rapid.IntRange(1, len(nodes)-1).Draw(t, "follower")]
				durable[n] = min(end, durable[n]+model.Offset(rapid.IntRange(0, 9).Draw(t, "fetched")))
				f.Fetched(n, 1, durable[n], now)
			case 5:
				if p, ok := f.Propose(now); ok {
					onWay = &p
				}
			case 6:
				switch {
				case onWay == nil:
				case rapid.Bool().Draw(t, "given up"):
					copies = append(copies, *onWay)
					f.Unanswered()
				case rapid.Bool().Draw(t, "fit") && commit(*onWay):
					if rapid.Bool().Draw(t, "told") {
						f.Assigned(committed, now)
					} else {
						f.Unanswered()
					}
				default:
					f.Refused()
				}
				onWay = nil
			case 8:
				if len(copies) > 0 {
					i := rapid.IntRange(0, len(copies)-1).Draw(t, "late")
					commit(copies[i])
					copies = slices.Delete(copies, i, i+1)
				}
			case 7: // the controller fences somebody, and the leader hears of it or not
				if len(committed.ISR) > 1 {
					n := nodes[rapid.IntRange(1, len(nodes)-1).Draw(t, "fenced")]
					if i := slices.Index(committed.ISR, n); i >= 0 {
						committed.ISR = slices.Delete(slices.Clone(committed.ISR), i, i+1)
						committed.PartitionEpoch++
					}
				}
				if rapid.Bool().Draw(t, "told") {
					f.Assigned(committed, now)
				}
			}
			if f.HighWatermark() < watermark {
				t.Fatalf("the high watermark goes back from %d to %d", watermark, f.HighWatermark())
			}
			watermark = f.HighWatermark()
			if !inSync(committed.ISR) {
				t.Fatalf("the high watermark is %d; in sync are %v, durable %v", watermark, committed.ISR, durable)
			}
		}
	})
}
