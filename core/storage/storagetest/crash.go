package storagetest

import "bytes"

// Loss says what a crash takes.
type Loss uint8

// The kinds of crashes.
const (
	// LoseNothing is a process that dies: the page cache survives.
	LoseNothing Loss = iota
	// LoseUnsynced is a power loss that takes everything not synced.
	LoseUnsynced
	// LoseSome is a power loss that takes a seeded choice of what was not synced: each sector written since
	// the last sync is kept, lost or zeroed; each file has its old or its new size; each change of a name
	// happened or did not.
	LoseSome
)

// Crash ends the life of every open file and leaves what the loss leaves.
func (d *MemoryDisk) Crash(loss Loss, seed uint64) {
	d.life++
	d.handles = 0
	if loss == LoseNothing {
		return
	}
	r := dice{seed}
	for _, dir := range d.changed {
		for i := range dir.pending {
			if loss == LoseSome && r.next()%2 == 0 {
				dir.apply(&dir.pending[i])
			}
		}
		dir.pending = nil
	}
	d.changed = nil
	d.used = 0
	d.restore(d.root, loss, &r)
}

// restore makes what is durable what there is, below a directory.
func (d *MemoryDisk) restore(dir *node, loss Loss, r *dice) {
	clear(dir.names)
	for _, name := range sortedNames(dir.durable) {
		n := dir.durable[name]
		dir.names[name] = n
		n.linked = true
		if n.dir {
			d.restore(n, loss, r)
			continue
		}
		n.lose(loss, r)
		d.used += int64(len(n.data))
	}
}

func (n *node) lose(loss Loss, r *dice) {
	after := append([]byte(nil), n.synced...)
	if loss == LoseSome {
		size := len(after)
		if r.next()%2 == 0 {
			size = len(n.data)
		}
		if size > len(after) {
			after = append(after, make([]byte, size-len(after))...)
		}
		after = after[:size]
		for _, s := range n.dirty {
			for from := s.from; from < s.to; {
				to := min(s.to, (from/sectorBytes+1)*sectorBytes)
				n.loseSector(after, from, to, r)
				from = to
			}
		}
	}
	n.data = after
	n.synced = append([]byte(nil), after...)
	n.dirty = nil
}

func (n *node) loseSector(after []byte, from, to int64, r *dice) {
	choice := r.next() % 8
	to = min(to, int64(len(after)), int64(len(n.data)))
	if from >= to || int(to) <= len(n.synced) && bytes.Equal(n.synced[from:to], n.data[from:to]) {
		return // whichever write is kept, a sector that was written over itself holds what it held
	}
	switch {
	case choice < 4:
		copy(after[from:to], n.data[from:to])
	case choice == 4:
		clear(after[from:to])
	}
}

// dice is splitmix64.
type dice struct{ state uint64 }

func (r *dice) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Clone is an independent copy of what a process sees, all of it durable, without open files.
func (d *MemoryDisk) Clone() *MemoryDisk {
	return &MemoryDisk{root: d.root.clone(), used: d.used, CapacityBytes: d.CapacityBytes}
}

func (n *node) clone() *node {
	c := &node{dir: n.dir, linked: true}
	if !n.dir {
		c.data = append([]byte(nil), n.data...)
		c.synced = append([]byte(nil), n.data...)
		return c
	}
	c.names, c.durable = map[string]*node{}, map[string]*node{}
	for _, name := range sortedNames(n.names) {
		c.names[name] = n.names[name].clone()
		c.durable[name] = c.names[name]
		c.names[name].durableName = name
	}
	return c
}
