package sim

import (
	"errors"
	"slices"
	"strings"

	"github.com/weirmq/weir/core/storage"
	"github.com/weirmq/weir/sim/draw"
)

// The simulated disk's granularity: the page cache works in pages, the device writes a sector whole or
// not at all.
const (
	pageBytes   = 4096
	sectorBytes = 512
)

var (
	errIO       = errors.New("input/output error")
	errExists   = errors.New("file exists")
	errNotDir   = errors.New("not a directory")
	errIsDir    = errors.New("is a directory")
	errNotEmpty = errors.New("directory not empty")
)

// crashSignal is what the disk panics with when a planned crash strikes inside a disk operation. The
// world recovers it: it is a fault of the plan, not of the core.
type crashSignal struct{ power bool }

// Disk is one machine's disk, seen through the page cache of its operating system. It implements
// storage.Disk and keeps that interface's promise and nothing more:
//
//	            write            Sync / SyncDir
//	process ──────────► cache ──────────────────► device
//	                      │ kill -9 loses nothing    │
//	                      │ power loss: each page kept, dropped or torn
//
// A file's bytes, its size, and the names in a directory become durable separately. See Crash for what is
// lost when.
type Disk struct {
	rand  *draw.Stream
	fired func(Fault)

	root   *inode
	inodes uint64
	// names changed since their directory was last synced, oldest first
	pending []nameChange
	// opened counts process lives: a handle of an earlier life is dead
	life uint64

	capacityBytes int64 // 0: unlimited
	usedBytes     int64

	syncCount   uint32 // successful syncs of any file
	appendsFrom uint32 // how many there were when the newest sync of appends was carried out
	provenTo    uint32 // see Proven
	failSyncs   int    // so many of the next syncs fail
	evictFailed bool   // a page whose sync failed is read back from the device after a restart
	// See BeginSync.
	windows   int // syncs that have begun and not ended
	windowAt  uint64
	asOfBegin bool

	crashIn    int64 // mutating operations until the planned crash; 0: none planned
	crashPower bool

	handles, regions int // open now; what is left after a quiet shutdown leaked
	opCount          int64
}

// inode is a file or a directory. What a process sees and what a power loss leaves are kept apart.
type inode struct {
	id  uint64
	dir bool

	names, durableNames map[string]*inode // a directory's

	data, durable []byte   // a file's
	dirty         pages    // written since their last sync
	failed        pages    // their sync failed: clean to the cache, absent on the device
	syncFailed    bool     // in this life of the process: every later sync fails, as storage.File says
	syncedAt      []uint32 // by page: the number of the sync that made it durable
	linked        bool

	// Since the sync numbered windowAt began:
	windowAt  uint64
	late      pages          // written since
	shadow    map[int][]byte // those of them that were dirty then, as they were
	sizeBegin int
}

type nameChange struct {
	dir  *inode
	name string
	node *inode
	gone bool // removed from dir, rather than added
	// A rename adds to and removes from in one step.
	from     *inode
	fromName string
}

// NewDisk makes an empty disk. fired is told of every fault that took effect.
func NewDisk(rand *draw.Stream, fired func(Fault)) *Disk {
	d := &Disk{rand: rand, fired: fired, life: 1}
	d.root = d.newInode(true)
	d.root.linked = true
	return d
}

func (d *Disk) newInode(dir bool) *inode {
	d.inodes++
	n := &inode{id: d.inodes, dir: dir}
	if dir {
		n.names, n.durableNames = map[string]*inode{}, map[string]*inode{}
	}
	return n
}

// mutate counts an operation that changes something, and carries out the planned crash when its turn
// has come. part, if not nil, does what the operation may have done before the crash.
func (d *Disk) mutate(part func()) {
	d.opCount++
	if d.crashIn == 0 {
		return
	}
	d.crashIn--
	if d.crashIn > 0 {
		return
	}
	if part != nil {
		part()
	}
	panic(crashSignal{power: d.crashPower})
}

// CrashAfter plans a crash inside the n-th mutating operation from now.
func (d *Disk) CrashAfter(n int64, power bool) { d.crashIn, d.crashPower = n, power }

// FailSyncs makes the next n syncs fail. With evict, pages lost that way are read back from the device
// after a restart; without, the cache shows them as if nothing had happened until the power fails, as
// Linux does.
func (d *Disk) FailSyncs(n int, evict bool) { d.failSyncs, d.evictFailed = n, evict }

// SetCapacity limits the disk to what it holds now and so many bytes more; -1 lifts the limit.
func (d *Disk) SetCapacity(moreBytes int64) {
	d.capacityBytes = 0
	if moreBytes >= 0 {
		d.capacityBytes = max(1, d.usedBytes+moreBytes)
	}
}

func (d *Disk) split(path string) (parent *inode, name string, err error) {
	path = strings.Trim(path, "/")
	parent = d.root
	for {
		head, rest, more := strings.Cut(path, "/")
		if !more {
			return parent, head, nil
		}
		next := parent.names[head]
		if next == nil {
			return nil, "", storage.ErrNotExist
		}
		if !next.dir {
			return nil, "", errNotDir
		}
		parent, path = next, rest
	}
}

func (d *Disk) lookup(path string) (*inode, error) {
	parent, name, err := d.split(path)
	if err != nil {
		return nil, err
	}
	if name == "" || name == "." {
		return parent, nil
	}
	n := parent.names[name]
	if n == nil {
		return nil, storage.ErrNotExist
	}
	return n, nil
}

func (d *Disk) link(dir *inode, name string, n *inode) {
	dir.names[name] = n
	n.linked = true
	d.pending = append(d.pending, nameChange{dir: dir, name: name, node: n})
}

func (d *Disk) unlinked(n *inode) {
	n.linked = false
	d.usedBytes -= int64(len(n.data))
}

// Create makes a new empty file.
func (d *Disk) Create(path string) (storage.File, error) {
	d.mutate(nil)
	dir, name, err := d.split(path)
	if err != nil {
		return nil, err
	}
	if dir.names[name] != nil {
		return nil, errExists
	}
	n := d.newInode(false)
	d.link(dir, name, n)
	return d.open(n), nil
}

// Open opens an existing file.
func (d *Disk) Open(path string) (storage.File, error) {
	n, err := d.lookup(path)
	if err != nil {
		return nil, err
	}
	if n.dir {
		return nil, errIsDir
	}
	return d.open(n), nil
}

// Rename moves a file or directory, replacing a file of the new name.
func (d *Disk) Rename(from, to string) error {
	d.mutate(nil)
	fromDir, fromName, err := d.split(from)
	if err != nil {
		return err
	}
	toDir, toName, err := d.split(to)
	if err != nil {
		return err
	}
	n := fromDir.names[fromName]
	if n == nil {
		return storage.ErrNotExist
	}
	if old := toDir.names[toName]; old != nil {
		if old == n {
			return nil
		}
		if old.dir {
			return errExists
		}
		d.unlinked(old)
	}
	delete(fromDir.names, fromName)
	toDir.names[toName] = n
	d.pending = append(d.pending, nameChange{dir: toDir, name: toName, node: n, from: fromDir, fromName: fromName})
	return nil
}

// Remove removes a file's name; open handles and regions keep its bytes.
func (d *Disk) Remove(path string) error {
	d.mutate(nil)
	dir, name, err := d.split(path)
	if err != nil {
		return err
	}
	n := dir.names[name]
	switch {
	case n == nil:
		return storage.ErrNotExist
	case n.dir:
		return errIsDir
	}
	delete(dir.names, name)
	d.unlinked(n)
	d.pending = append(d.pending, nameChange{dir: dir, name: name, node: n, gone: true})
	return nil
}

// MakeDir makes a directory and any missing parents.
func (d *Disk) MakeDir(path string) error {
	d.mutate(nil)
	at := d.root
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if name == "" || name == "." {
			continue
		}
		next := at.names[name]
		if next == nil {
			next = d.newInode(true)
			d.link(at, name, next)
		} else if !next.dir {
			return errNotDir
		}
		at = next
	}
	return nil
}

// RemoveDir removes an empty directory.
func (d *Disk) RemoveDir(path string) error {
	d.mutate(nil)
	dir, name, err := d.split(path)
	if err != nil {
		return err
	}
	n := dir.names[name]
	switch {
	case n == nil:
		return storage.ErrNotExist
	case !n.dir:
		return errNotDir
	case len(n.names) > 0:
		return errNotEmpty
	}
	delete(dir.names, name)
	n.linked = false
	d.pending = append(d.pending, nameChange{dir: dir, name: name, node: n, gone: true})
	return nil
}

// List names a directory's entries in sorted order.
func (d *Disk) List(path string) ([]storage.Entry, error) {
	n, err := d.lookup(path)
	if err != nil {
		return nil, err
	}
	if !n.dir {
		return nil, errNotDir
	}
	entries := make([]storage.Entry, 0, len(n.names))
	for _, name := range sortedNames(n.names) {
		child := n.names[name]
		entries = append(entries, storage.Entry{Name: name, Dir: child.dir, SizeBytes: int64(len(child.data))})
	}
	return entries, nil
}

// SyncDir makes a directory's names durable. A rename into or out of it becomes durable whole.
func (d *Disk) SyncDir(path string) error {
	d.mutate(nil)
	n, err := d.lookup(path)
	if err != nil {
		return err
	}
	if !n.dir {
		return errNotDir
	}
	if d.failSync() {
		// The names stay pending: a later power loss may take them.
		return errIO
	}
	kept := d.pending[:0]
	for _, c := range d.pending {
		if c.dir != n && c.from != n {
			kept = append(kept, c)
			continue
		}
		c.makeDurable()
	}
	clear(d.pending[len(kept):])
	d.pending = kept
	return nil
}

func (d *Disk) failSync() bool {
	if d.failSyncs == 0 {
		return false
	}
	d.failSyncs--
	d.fired(FaultSyncError)
	return true
}

// makeDurable applies the change to what a power loss leaves.
func (c nameChange) makeDurable() {
	if c.gone {
		if c.dir.durableNames[c.name] == c.node {
			delete(c.dir.durableNames, c.name)
		}
		return
	}
	if c.from != nil && c.from.durableNames[c.fromName] == c.node {
		delete(c.from.durableNames, c.fromName)
	}
	c.dir.durableNames[c.name] = c.node
}

func sortedNames(names map[string]*inode) []string {
	sorted := make([]string, 0, len(names))
	for name := range names {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	return sorted
}

// walk visits every file that a process sees, in the order of their paths.
func (d *Disk) walk(visit func(path string, n *inode)) { walkNames("", d.root, visit) }

func walkNames(prefix string, dir *inode, visit func(string, *inode)) {
	for _, name := range sortedNames(dir.names) {
		n := dir.names[name]
		if n.dir {
			walkNames(prefix+name+"/", n, visit)
		} else {
			visit(prefix+name, n)
		}
	}
}

// pages is a set of page numbers.
type pages []uint64

func (p pages) has(i int) bool { return i/64 < len(p) && p[i/64]>>(i%64)&1 == 1 }

func (p *pages) add(i int) {
	for len(*p) <= i/64 {
		*p = append(*p, 0)
	}
	(*p)[i/64] |= 1 << (i % 64)
}

func (p pages) remove(i int) {
	if i/64 < len(p) {
		p[i/64] &^= 1 << (i % 64)
	}
}
