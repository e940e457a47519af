package quorum

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/quorum/quorumtest"
)

// world is voters, a network that loses, repeats and reorders, disks that lose what was not synced, and one seed.
type world struct {
	t      testing.TB
	random *rand.Rand
	now    model.Time
	seed   uint64
	starts uint64
	voters map[VoterID]*voter
	ids    []VoterID
	net    quorumtest.Network

	log      []Entry          // what is committed, as the first to know told
	leaders  map[Term]VoterID // who led
	proposed uint64
	newest   Term       // of leaders
	pauses   *rand.Rand // nil: nobody stands still
	trace    hash64
	marks    map[string]int
	offers   []offered
}

// offered is an offer that arrived: it is made again if nothing comes of it.
type offered struct {
	from, to VoterID
	at       model.Time
}

type hash64 interface {
	Write([]byte) (int, error)
	Sum64() uint64
}

// voter is one voter with its disk and its state machine, which sums up what was committed.
type voter struct {
	w       *world
	id      VoterID
	q       *Quorum // nil: it is down
	out     Out
	disk    Saved                // durable
	still   model.Time           // until when it stands still
	waiting []quorumtest.Message // that came meanwhile
	queued  []Write              // submitted and not durable
	syncAt  model.Time
	applied Index
	sum     uint64

	held   map[Index][]byte // images that others may fetch
	wanted Index            // the image that it fetches; 0: none
	from   VoterID
	pieces int // that it has yet to fetch
}

// Offer names an image by its entry.
func (v *voter) Offer() ([]byte, bool) {
	v.held[v.applied] = v.image()
	return binary.BigEndian.AppendUint64(nil, uint64(v.applied)), v.w.random.IntN(10) > 0
}

func (v *voter) Holds(about []byte) bool {
	if v.w.random.IntN(3) == 0 {
		clear(v.held)
	}
	if v.held[Index(binary.BigEndian.Uint64(about))] == nil {
		return false
	}
	v.w.mark("offered again")
	return true
}

// fetch goes on fetching what was offered, piece by piece.
func (v *voter) fetch() {
	w := v.w
	from, image, ok := v.q.Offered()
	switch {
	case !ok && v.wanted != 0:
		w.mark("fetch ended")
		v.wanted = 0
		return
	case !ok:
		return
	case v.wanted != image.Index || v.from != from:
		if v.wanted != 0 {
			w.mark("fetch began anew")
		}
		v.wanted, v.from, v.pieces = image.Index, from, 1+w.random.IntN(25)
	}
	if w.random.IntN(5) > 0 {
		return
	}
	o := w.voters[from]
	if o != nil && o.q != nil && !w.net.Calm && w.random.IntN(20) == 0 {
		w.troubleWhileFetched(o)
	}
	if o == nil || o.q == nil || !w.net.Asks(v.id, from) {
		w.mark("piece lost")
		return
	}
	data := o.held[image.Index]
	if data == nil {
		w.mark("image gone")
		v.q.Decline()
		return
	}
	if v.pieces--; v.pieces > 0 {
		return
	}
	v.wanted = 0
	if err := v.q.Arrived(data, &v.out); err != nil {
		w.failf("voter %d refuses the image of voter %d: %v", v.id, from, err)
	}
	w.mark("fetched")
	v.take()
}

func (v *voter) image() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(v.applied)), v.sum)
}

func newWorld(t testing.TB, seed uint64, voters int) *world {
	w := &world{
		t: t, random: rand.New(rand.NewPCG(seed, 7)), seed: seed, voters: map[VoterID]*voter{},
		leaders: map[Term]VoterID{}, trace: fnv.New64a(), marks: map[string]int{}, now: 1,
	}
	w.net.Random = w.random
	var first []VoterID
	for i := range voters {
		first = append(first, VoterID(i+1))
	}
	for _, id := range first {
		w.add(id, Found(first, (&voter{applied: 1}).image()))
	}
	w.log = []Entry{{Index: 1, Term: 1}}
	return w
}

// add makes a voter with what its disk holds, and starts it.
func (w *world) add(id VoterID, saved Saved) {
	v := &voter{w: w, id: id, disk: saved}
	w.voters[id] = v
	w.ids = append(w.ids, id)
	slices.Sort(w.ids)
	v.start()
}

func (v *voter) start() {
	w := v.w
	w.starts++
	c := DefaultConfig(v.id, w.seed*1000+w.starts)
	c.MessageBytesMax, c.InFlightBytesMax = 100, 400
	v.queued, v.waiting, v.still, v.out = nil, nil, 0, Out{}
	v.held, v.wanted = map[Index][]byte{}, 0
	v.applied, v.sum = v.disk.Image.Index, 0
	if d := v.disk.Image.Data; len(d) == 16 {
		v.sum = binary.BigEndian.Uint64(d[8:])
	}
	saved := v.disk
	saved.Entries = slices.Clone(saved.Entries)
	q, err := New(c, saved, v, w.now)
	if err != nil {
		w.t.Fatalf("seed %d: voter %d does not start: %v", w.seed, v.id, err)
	}
	v.q = q
}

// crash loses what was not synced, or keeps a part of it.
func (v *voter) crash() {
	for _, o := range v.queued {
		if v.w.random.IntN(2) == 0 {
			break
		}
		v.sync(o)
		v.w.mark("crash kept a write")
	}
	v.q, v.queued = nil, nil
	v.w.mark("crash")
}

// sync makes a write durable.
func (v *voter) sync(o Write) {
	if o.Image != nil && o.Image.Index >= v.disk.Image.Index {
		v.disk.Image, v.disk.Entries = *o.Image, nil
	}
	for _, e := range o.Entries {
		if e.Index <= v.disk.Image.Index {
			continue
		}
		v.disk.Entries = append(v.disk.Entries[:e.Index-v.disk.Image.Index-1:e.Index-v.disk.Image.Index-1], e)
	}
	if o.Hard != nil {
		v.disk.Hard = *o.Hard
	}
}

func (w *world) mark(name string) { w.marks[name]++ }

func (w *world) failf(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("seed %d at %d ms: %s", w.seed, w.now/1e6, fmt.Sprintf(format, args...))
}

// take carries out what a voter wants, and checks what must hold.
func (v *voter) take() {
	w, out := v.w, v.out
	v.out = Out{} // what is sent may be lost at once, and the voter is told
	if r := out.Restored; r != nil {
		if r.Index <= v.applied {
			w.failf("voter %d goes back from %d to an image of %d", v.id, v.applied, r.Index)
		}
		if index := binary.BigEndian.Uint64(r.Data); Index(index) != r.Index {
			w.failf("an image said to be of %d is of %d", r.Index, index)
		}
		v.applied, v.sum = r.Index, binary.BigEndian.Uint64(r.Data[8:])
		w.mark("restored")
	}
	for _, e := range out.Committed {
		if e.Index != v.applied+1 {
			w.failf("voter %d is given entry %d after %d", v.id, e.Index, v.applied)
		}
		v.applied = e.Index
		v.sum = v.sum*31 + binary.BigEndian.Uint64(append(make([]byte, 8), e.Data...)[len(e.Data):])
		switch {
		case int(e.Index) == len(w.log)+1:
			w.log = append(w.log, e)
		case int(e.Index) > len(w.log):
			w.failf("entry %d is committed, and nobody was given %d", e.Index, len(w.log)+1)
		case w.log[e.Index-1].Term != e.Term || string(w.log[e.Index-1].Data) != string(e.Data):
			w.failf("voter %d is given another entry %d: term %d, not %d", v.id, e.Index, e.Term, w.log[e.Index-1].Term)
		}
	}
	if s := out.Led; s != nil && s.Leads {
		if other, taken := w.leaders[s.Term]; taken && other != v.id {
			w.failf("voters %d and %d lead in term %d", other, v.id, s.Term)
		}
		w.leaders[s.Term], w.newest = v.id, max(w.newest, s.Term)
	}
	if len(out.Writes) > 0 {
		if len(v.queued) == 0 {
			v.syncAt = w.now + model.Time(w.random.IntN(20e6))
		}
		v.queued = append(v.queued, out.Writes...)
	}
	for _, s := range out.Sends {
		w.send(v.id, s)
	}
	_, _ = fmt.Fprintf(w.trace, "%d %d %d %d %v\n", w.now, v.id, len(out.Committed), len(out.Writes), v.q.State())
}

func (w *world) send(from VoterID, s Send) {
	m := quorumtest.Message{From: from, To: s.To, Bytes: s.Message, IsOffer: s.IsOffer}
	if w.net.Send(w.now, m) {
		w.lost(&m)
	}
}

// lost tells a sender of what did not arrive: always of an offer, now and then of the rest.
func (w *world) lost(m *quorumtest.Message) {
	v := w.voters[m.From]
	if v == nil || v.q == nil {
		return
	}
	if m.IsOffer {
		v.q.OfferLost(m.To, &v.out)
		w.mark("offer lost")
		v.take()
	} else if w.random.IntN(3) == 0 {
		v.q.Unreachable(m.To, &v.out)
		v.take()
	}
}

// step lets a millisecond pass.
func (w *world) step() {
	w.now += 1e6
	for _, m := range w.net.Arrived(w.now) {
		v := w.voters[m.To]
		if v == nil || v.q == nil || w.net.IsCut(&m) {
			w.lost(&m)
			continue
		}
		if v.still > w.now {
			v.waiting = append(v.waiting, m)
			continue
		}
		v.receive(&m)
	}
	for _, o := range w.offers {
		if s := w.voters[o.from]; o.at <= w.now && s != nil && s.q != nil {
			s.q.OfferLost(o.to, &s.out)
			s.take()
		}
	}
	w.offers = slices.DeleteFunc(w.offers, func(o offered) bool { return o.at <= w.now })
	for _, id := range w.ids {
		v := w.voters[id]
		if v.q == nil || v.standsStill() {
			continue
		}
		if len(v.queued) > 0 && v.syncAt <= w.now {
			n := 1 + w.random.IntN(len(v.queued))
			for _, o := range v.queued[:n] {
				v.sync(o)
			}
			token := v.queued[n-1].Token
			v.queued = slices.Clone(v.queued[n:])
			v.syncAt = w.now + model.Time(w.random.IntN(20e6))
			v.q.Written(token, &v.out)
			v.take()
		}
		v.fetch()
		if v.q.Deadline() <= w.now {
			v.q.Tick(w.now, &v.out)
			v.take()
		}
	}
	w.checkUndisputed()
}

// receive has a voter take in a message.
func (v *voter) receive(m *quorumtest.Message) {
	w := v.w
	if err := v.q.Receive(m.From, m.Bytes, w.now, &v.out); err != nil {
		w.failf("voter %d refuses a message of voter %d: %v", m.To, m.From, err)
	}
	v.take()
	if m.IsOffer {
		w.offers = append(w.offers, offered{m.From, m.To, w.now + model.Time(20e6+w.random.IntN(200e6))})
	}
}

// standsStill reports whether a voter stands still. When it goes on, what came meanwhile is there before time is, or after.
func (v *voter) standsStill() bool {
	w := v.w
	if w.pauses == nil {
		return false
	}
	if v.still <= w.now && !w.net.Calm && w.pauses.IntN(1500) == 0 {
		v.still = w.now + model.Time(w.pauses.IntN(3000e6))
		w.mark("stood still")
	}
	if v.still > w.now {
		return true
	}
	if len(v.waiting) > 0 && w.pauses.IntN(2) == 0 {
		v.q.Tick(w.now, &v.out)
		v.take()
	}
	for len(v.waiting) > 0 {
		m := v.waiting[0]
		v.waiting = v.waiting[1:]
		v.receive(&m)
	}
	return false
}

// checkUndisputed verifies that no leader takes itself for the only one when another was elected.
func (w *world) checkUndisputed() {
	for _, id := range w.ids {
		v := w.voters[id]
		if v.q == nil || !v.q.Undisputed(w.now) {
			continue
		}
		if s := v.q.State(); s.Term < w.newest {
			w.failf("voter %d is sure to lead, in term %d: voter %d was elected in term %d", id, s.Term, w.leaders[w.newest], w.newest)
		}
		w.mark("undisputed")
	}
}

// leader is a voter that leads in the newest term, nil if nobody does.
func (w *world) leader() (leader *voter) {
	for _, id := range w.ids {
		if v := w.voters[id]; v.q != nil && v.q.State().Leads && (leader == nil || v.q.State().Term > leader.q.State().Term) {
			leader = v
		}
	}
	return leader
}

func (w *world) propose() {
	v := w.leader()
	if v == nil {
		return
	}
	w.proposed++
	if v.q.Propose(binary.BigEndian.AppendUint64(nil, w.proposed), &v.out) == nil {
		w.mark("proposed")
	}
	v.take()
}

// compact saves an image and forgets what is in it, but for a few entries.
func (v *voter) compact() {
	if v.applied < v.disk.Image.Index+10 || len(v.queued) > 0 {
		return
	}
	to := v.applied - 5
	// The voters of the image must be those at its index: the one that is saved is of everything applied.
	at := int(v.applied - v.disk.Image.Index)
	if at > len(v.disk.Entries) || Index(v.disk.Hard.Commit) > v.applied+Index(len(v.disk.Entries)-at) {
		return
	}
	term := v.disk.Entries[at-1].Term
	v.disk.Entries = slices.Clone(v.disk.Entries[at:])
	v.disk.Image = Image{Index: v.applied, Term: term, Voters: v.q.Voters(), Data: v.image()}
	v.q.Compact(to)
	v.w.mark("compacted")
}

// trouble does one thing that may go wrong.
func (w *world) trouble() {
	id := w.ids[w.random.IntN(len(w.ids))]
	v := w.voters[id]
	switch w.random.IntN(8) {
	case 0, 1:
		if v.q != nil {
			v.crash()
		}
	case 2, 3:
		if v.q == nil {
			v.start()
		}
	case 4:
		other := w.ids[w.random.IntN(len(w.ids))]
		w.net.Cut(id, other) // one way
	case 5:
		w.net.Heal()
	case 6:
		if v.q != nil {
			v.compact()
		}
	case 7:
		if l := w.leader(); l != nil {
			l.q.HandOver(id, &l.out)
			l.take()
			w.mark("handed over")
		}
	}
}

// troubleWhileFetched is trouble of a voter that another fetches an image of, which is seldom.
func (w *world) troubleWhileFetched(v *voter) {
	switch w.random.IntN(4) {
	case 0:
		v.crash()
	case 1:
		clear(v.held)
	case 2:
		v.compact()
		clear(v.held)
		for _, id := range w.ids {
			v.q.OfferLost(id, &v.out) // what it offers next is newer
			v.take()
		}
	case 3:
		v.q.HandOver(w.ids[w.random.IntN(len(w.ids))], &v.out)
		v.take()
	}
}

// change lets the leader change the voters to some of all, now and then.
func (w *world) change(all []VoterID) {
	l := w.leader()
	if l == nil {
		return
	}
	var voters, learners []VoterID
	for _, id := range all {
		switch w.random.IntN(4) {
		case 0:
			learners = append(learners, id)
		case 1, 2:
			voters = append(voters, id)
		}
	}
	switch err := l.q.Change(voters, learners, &l.out); {
	case !slices.Contains(voters, l.id):
		if err == nil {
			w.failf("the leader was removed")
		}
	case err == nil:
		w.mark("changed voters")
	}
	l.take()
}

// heal ends all trouble, and requires progress of those who vote.
func (w *world) heal() {
	w.net.Calm = true
	w.net.Heal()
	for _, id := range w.ids {
		if w.voters[id].q == nil {
			w.voters[id].start()
		}
	}
	want := uint64(0)
	for range 20_000 {
		w.step()
		if want == 0 && w.leader() != nil {
			l := w.leader()
			w.proposed++
			if l.q.Propose(binary.BigEndian.AppendUint64(nil, w.proposed), &l.out) == nil {
				want = w.proposed
			}
			l.take()
		}
		if want != 0 && w.agreed(want) {
			return
		}
		if w.now/1e6%5000 == 0 {
			want = 0 // its leader may have been deposed
		}
	}
	for _, id := range w.ids {
		s := w.voters[id].q.State()
		w.t.Logf("voter %d: %+v applied %d voters %v", id, s, w.voters[id].applied, w.voters[id].q.Voters())
	}
	w.failf("twenty seconds after all trouble there is no progress")
}

// agreed reports whether everybody who votes or learns has applied a proposal.
func (w *world) agreed(n uint64) bool {
	l := w.leader()
	if l == nil || len(w.log) == 0 {
		return false
	}
	found := slices.ContainsFunc(w.log, func(e Entry) bool {
		return len(e.Data) == 8 && e.Kind == EntryData && binary.BigEndian.Uint64(e.Data) == n
	})
	if !found {
		return false
	}
	v := l.q.Voters()
	for _, id := range slices.Concat(v.Now, v.Before, v.Learners) {
		if o := w.voters[id]; o.applied != l.applied || o.sum != l.sum {
			return false
		}
	}
	return true
}

// run is a whole life: trouble, then peace.
func run(t testing.TB, seed uint64) *world {
	return newWorld(t, seed, []int{1, 3, 3, 5}[seed%4]).run()
}

func (w *world) run() *world {
	seed := w.seed
	all := slices.Clone(w.ids)
	if seed%2 == 1 {
		for range 2 {
			id := VoterID(len(all) + 1)
			w.add(id, Saved{})
			all = append(all, id)
		}
	}
	for i := range 15_000 {
		w.step()
		if w.random.IntN(10) == 0 {
			w.propose()
		}
		if i > 3000 && w.random.IntN(150) == 0 {
			w.trouble()
		}
		if seed%2 == 1 && w.random.IntN(700) == 0 {
			w.change(all)
		}
	}
	w.heal()
	return w
}

func TestQuorumKeepsWhatIsCommitted(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds = 12
	}
	marks := map[string]int{}
	for seed := range seeds {
		w := run(t, seed)
		for name, n := range w.marks {
			marks[name] += n
		}
		marks["committed"] += len(w.log)
		marks["terms"] += len(w.leaders)
	}
	names := []string{"proposed", "committed", "crash", "crash kept a write", "compacted", "restored", "handed over", "changed voters", "offered again", "piece lost", "fetched", "terms"}
	if !testing.Short() {
		names = append(names, "offer lost", "image gone", "fetch began anew", "fetch ended")
	}
	for _, name := range names {
		if marks[name] == 0 {
			t.Errorf("%s: never in %d seeds", name, seeds)
		}
	}
	t.Logf("%d seeds: %v", seeds, marks)
}

// A leader may tell brokers that they are counted on as long as nobody else can tell others that they are not.
func TestNobodyIsElectedBesideALeaderThatIsUndisputed(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds = 12
	}
	marks := map[string]int{}
	for seed := range seeds {
		w := newWorld(t, seed, 3+2*int(seed%2))
		w.pauses = rand.New(rand.NewPCG(seed, 8))
		for name, n := range w.run().marks {
			marks[name] += n
		}
		marks["terms"] += len(w.leaders)
	}
	for _, name := range []string{"undisputed", "stood still", "crash", "handed over", "changed voters"} {
		if marks[name] == 0 {
			t.Errorf("%s: never in %d seeds", name, seeds)
		}
	}
	t.Logf("%d seeds: %v", seeds, marks)
}

// A voter that a change under way removes comes to lead, and is the first to know that the change is through. Were it to step down then,
// it alone would know, and the others could wait for votes of those who vote no more.
func TestLeaderThatVotesNoMoreHandsOver(t *testing.T) {
	deposed := 0
	for seed := range uint64(20) {
		w := newWorld(t, seed, 5)
		w.net.Calm = true
		until := func(what string, is func() bool) {
			t.Helper()
			for range 5000 {
				if is() {
					return
				}
				w.step()
			}
			w.failf("never: %s", what)
		}
		until("there is a leader", func() bool { return w.leader() != nil && w.leader().applied > 1 })
		first := w.leader()
		leaving := w.voters[w.ids[(slices.Index(w.ids, first.id)+1)%5]]
		stay := slices.DeleteFunc(slices.Clone(w.ids), func(id VoterID) bool { return id == leaving.id })
		for _, id := range stay {
			w.net.Cut(first.id, id) // only who leaves hears of the change, so it is not committed when it comes to lead
		}
		if err := first.q.Change(stay, nil, &first.out); err != nil {
			t.Fatal(err)
		}
		first.q.HandOver(leaving.id, &first.out)
		first.take()
		until("who leaves comes to lead", func() bool { return leaving.q.State().Leads })
		w.net.Heal()
		left := func() bool { v := leaving.q.Voters(); return slices.Equal(v.Now, stay) && len(v.Before) == 0 }
		until("it has left", func() bool { return left() || w.leader() != leaving })
		if !left() {
			deposed++ // by one that stood because it had not heard the first leader
			continue
		}
		if !leaving.q.State().Leads {
			w.failf("voter %d stepped down when it learned that it votes no more", leaving.id)
		}
		until("a voter takes over", func() bool { l := w.leader(); return l != nil && l != leaving })
		if s := leaving.q.State(); s.Leads && w.leader().q.State().Term <= s.Term {
			w.failf("voter %d leads beside voter %d", leaving.id, w.leader().id)
		}
		w.heal()
	}
	if deposed > 5 {
		t.Errorf("who leaves was deposed in %d of 20 worlds before it had left", deposed)
	}
}

func TestQuorumIsDeterministic(t *testing.T) {
	for seed := range uint64(4) {
		if a, b := run(t, seed).trace.Sum64(), run(t, seed).trace.Sum64(); a != b {
			t.Errorf("seed %d: %x, then %x", seed, a, b)
		}
	}
}
