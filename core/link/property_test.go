package link

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// rig drives a link as a driver does, and holds it to what it promises.
type rig struct {
	t *rapid.T
	*bench
	nextID    effect.CallID
	deadlines map[effect.CallID]model.Time // of calls without an answer
	isDialled bool                         // it was asked to dial, and has not heard of it
	isOpen    bool
	greeted   int
	counts    map[effect.CallFailure]int
}

func (r *rig) settle() {
	t := r.t
	if r.out.Close != "" {
		if !r.isDialled && !r.isOpen {
			t.Fatalf("no connection is to be closed: %s", r.out.Close)
		}
		r.isDialled, r.isOpen, r.asked = false, false, nil
	}
	if r.out.Dial {
		if r.isDialled || r.isOpen {
			t.Fatal("it dials twice")
		}
		r.isDialled = true
	}
	for _, f := range r.out.Frames {
		if !r.isOpen || r.greeted < 2 && f.Key != protocol.KeyAPIVersions && f.Key != protocol.KeyNodeHello {
			t.Fatalf("%v is sent, open %t, %d greetings answered", f.Key, r.isOpen, r.greeted)
		}
		r.asked = append(r.asked, f)
	}
	for i := range r.out.Answers {
		a := &r.out.Answers[i]
		_, ok := r.deadlines[a.ID]
		if !ok {
			t.Fatalf("%v, which was answered before or never made", a)
		}
		if (a.Failure == effect.CallOK) != (a.Body != nil) || a.Failure != effect.CallOK && a.Detail == "" {
			t.Fatalf("%v", a)
		}
		delete(r.deadlines, a.ID)
		r.counts[a.Failure]++
	}
	for _, f := range r.out.Frames {
		r.l.Recycle(f)
	}
	r.out.Reset()
	if err := r.l.Check(); err != nil {
		t.Fatal(err)
	}
	if got := r.l.Pending(); got != len(r.deadlines) {
		t.Fatalf("%d calls have no answer, the link knows of %d", len(r.deadlines), got)
	}
	if len(r.deadlines) > 0 && r.l.Deadline() == 0 {
		t.Fatal("calls wait, and the link does not want to be woken")
	}
}

// pass lets time pass to a moment, with a tick whenever the link wants one.
func (r *rig) pass(to model.Time) {
	for d := r.l.Deadline(); d != 0 && d <= to; d = r.l.Deadline() {
		r.now = max(r.now, d)
		r.l.Tick(r.now, &r.out)
		r.settle()
		for id, deadline := range r.deadlines {
			if deadline <= r.now {
				r.t.Fatalf("call %d has no answer at its deadline", id)
			}
		}
	}
	r.now = to
}

func (r *rig) step() {
	t := r.t
	switch rapid.IntRange(0, 11).Draw(t, "what") {
	case 0, 1, 2, 3:
		r.nextID++
		c := testCall(int(r.nextID), rapid.SampledFrom([]string{"heartbeat", "heartbeat", "messages", "registration"}).Draw(t, "kind"),
			rapid.SampledFrom([]int{1, 1, 1, 1, 2}).Draw(t, "port"), model.Time(rapid.IntRange(0, 300).Draw(t, "timeout"))*ms)
		r.deadlines[c.ID] = r.now + c.Timeout
		r.l.Call(r.now, c, &r.out)
	case 4, 5:
		if r.isDialled {
			r.isDialled, r.isOpen, r.greeted = false, true, 0
			r.l.Connected(r.now, &r.out)
		}
	case 6:
		if r.isDialled || r.isOpen {
			r.isDialled, r.isOpen, r.asked = false, false, nil
			r.l.Lost(r.now, "lost", &r.out)
		}
	case 7, 8, 9:
		if r.isOpen && len(r.asked) > 0 {
			r.reply()
		}
	case 10, 11:
		r.pass(r.now + model.Time(rapid.IntRange(0, 200).Draw(t, "ms"))*ms)
	}
	r.settle()
}

// reply answers the oldest request, mostly well.
func (r *rig) reply() {
	t, f := r.t, r.next()
	var m protocol.Message
	switch f.Key {
	case protocol.KeyNodeHello:
		node := rapid.SampledFrom([]model.NodeID{other, other, other, other, 3}).Draw(t, "node")
		m = helloAnswer(cluster, node, 0, "")
	default:
		m = protocol.NewResponse(f.Key)
		if reg, ok := m.(*protocol.BrokerRegistrationResponse); ok {
			reg.BrokerEpoch = 7
		}
	}
	b := responseFrame(f, m)
	if rapid.IntRange(0, 15).Draw(t, "spoilt") == 0 {
		b = b[:rapid.IntRange(0, len(b)-1).Draw(t, "cut")]
	}
	r.greeted++
	r.l.Receive(r.now, b, &r.out)
}

// TestEveryCallIsAnsweredOnceAndInTime makes calls while connections come and go and the other end answers, answers
// nonsense, is somebody else, or is silent.
func TestEveryCallIsAnsweredOnceAndInTime(t *testing.T) {
	seen := map[effect.CallFailure]int{}
	missing := func() (missing []effect.CallFailure) {
		for f := effect.CallOK; f <= effect.CallRefused; f++ {
			if seen[f] == 0 {
				missing = append(missing, f)
			}
		}
		return missing
	}
	property := func(t *rapid.T) {
		r := &rig{t: t, bench: newBench(testConfig()), deadlines: map[effect.CallID]model.Time{}, counts: map[effect.CallFailure]int{}}
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			r.step()
		}
		if rapid.Bool().Draw(t, "stop") {
			r.l.Stop(r.now, "stopped", &r.out)
			r.settle()
		} else {
			r.pass(r.now + 1000*ms)
		}
		if len(r.deadlines) > 0 {
			t.Fatalf("%d calls were never answered", len(r.deadlines))
		}
		for f, n := range r.counts {
			seen[f] += n
		}
	}
	rapid.Check(t, property)
	for range 20 { // some ends are so rare that a hundred lives may be without
		if len(missing()) > 0 && !t.Failed() {
			rapid.Check(t, property)
		}
	}
	if m := missing(); len(m) > 0 {
		t.Errorf("no call ended as %v: the test does not get there", m)
	}
}
