package sim

// Crash ends the process that used the disk. A process crash keeps the page cache, but for pages whose
// sync had failed, which may be read back from the device. A power loss keeps what is durable; of the
// rest each name and each page is kept, lost or torn on its own, so writes persist out of order.
func (d *Disk) Crash(power bool) {
	d.life++
	d.crashIn, d.failSyncs, d.windows, d.asOfBegin = 0, 0, 0, false
	d.handles, d.regions = 0, 0
	d.walk(func(_ string, n *inode) { n.syncFailed = false })
	if !power {
		d.walk(func(_ string, n *inode) {
			n.late, n.shadow = nil, nil
			if d.evictFailed {
				n.evict()
			}
		})
		return
	}
	d.provenTo = 0
	d.loseNames()
	d.pending = nil
	d.usedBytes = 0
	d.lose(d.root, lossMode(d.rand.Intn(4)))
}

// evict reads back from the device the pages whose sync failed.
func (n *inode) evict() {
	for page := range len(n.failed) * 64 {
		if !n.failed.has(page) {
			continue
		}
		off := page * pageBytes
		if off < len(n.data) {
			cached := n.data[off:min(off+pageBytes, len(n.data))]
			clear(cached)
			if off < len(n.durable) {
				copy(cached, n.durable[off:])
			}
		}
	}
	n.failed = nil
}

// loseNames decides which changes of names since their directory was synced reach the device: all of
// them (the file system happened to commit), none, a prefix, or any.
func (d *Disk) loseNames() {
	mode, upTo := d.rand.Intn(8), 0
	if len(d.pending) > 0 {
		upTo = d.rand.Intn(len(d.pending) + 1)
	}
	lost := false
	for i, c := range d.pending {
		keep := true
		switch mode {
		case 0, 1:
			keep = false
		case 2:
			keep = i < upTo
		case 3:
			keep = d.rand.Percent(50)
		}
		if keep {
			c.makeDurable()
		} else {
			lost = true
		}
	}
	if lost {
		d.fired(FaultNameLost)
	}
}

// lossMode biases what happens to unsynced pages: all from the same draw would make some combinations
// too rare.
type lossMode int

const (
	loseAll  lossMode = iota
	keepMost          // nine of ten
	loseMost
	loseAny // a third each: kept, lost, torn
)

func (d *Disk) lose(dir *inode, mode lossMode) {
	dir.names = make(map[string]*inode, len(dir.durableNames))
	for _, name := range sortedNames(dir.durableNames) {
		n := dir.durableNames[name]
		dir.names[name] = n
		n.linked = true
		if n.dir {
			d.lose(n, mode)
			continue
		}
		d.losePages(n, mode)
		d.usedBytes += int64(len(n.data))
	}
}

func (d *Disk) losePages(n *inode, mode lossMode) {
	synced := len(n.durable)
	if size := d.survivingSize(n, mode); size != synced {
		n.setDurableSize(size)
	}
	torn := false
	for page := range len(n.dirty) * 64 {
		off := page * pageBytes
		if !n.dirty.has(page) || off >= len(n.durable) {
			continue
		}
		content := n.page(page)
		switch fate := d.rand.Intn(10); {
		case mode == loseAll || mode == loseMost && fate > 0 || mode == loseAny && fate < 3:
		case mode == keepMost && fate > 0 || mode == loseAny && fate < 6:
			n.persist(page, content, 0)
		default:
			torn = true
			d.tear(n, off, synced, content)
		}
	}
	if torn {
		d.fired(FaultTornPage)
	}
	n.data = append(n.data[:0:0], n.durable...)
	n.dirty, n.failed, n.late, n.shadow = nil, nil, nil, nil
}

// survivingSize is a file's size after a power loss: the synced one, the last one, or between.
func (d *Disk) survivingSize(n *inode, mode lossMode) int {
	lo, hi := min(len(n.durable), len(n.data)), max(len(n.durable), len(n.data))
	switch at := d.rand.Intn(4); {
	case lo == hi || mode == loseAll:
		return len(n.durable)
	case at == 0:
		return len(n.durable)
	case at == 1:
		return int(d.rand.Between(int64(lo), int64(hi)))
	default:
		return len(n.data)
	}
}

// tear decides each sector of a page: new, old, or, where nothing synced stood, whatever the device held
// there before.
func (d *Disk) tear(n *inode, off, synced int, content []byte) {
	for at := 0; at < len(content); at += sectorBytes {
		if off+at >= len(n.durable) {
			return
		}
		sector := content[at:min(at+sectorBytes, len(content))]
		switch fate := d.rand.Intn(16); {
		case fate < 7:
			copy(n.durable[off+at:], sector)
		case fate == 15 && off+at >= synced:
			d.rand.Fill(n.durable[off+at : min(off+at+len(sector), len(n.durable))])
		}
	}
}
