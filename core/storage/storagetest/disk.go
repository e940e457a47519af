// Package storagetest has a Disk in memory for tests of whatever runs over a storage engine.
//
// MemoryDisk keeps for every file what a process sees and what a power loss would leave, and for every
// directory the changes of names that no SyncDir has covered. Crash decides, from a seed, what survives,
// within the promise of storage.Disk and nothing beyond it. Errors of any operation, a full disk and
// flipped bits can be injected; every mutating operation can be watched.
//
// It is plain on purpose: single-threaded, without delays, with one kind of randomness. The simulator has
// its own disk, with more ways to fail.
package storagetest

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/weirmq/weir/core/storage"
)

const sectorBytes = 512

var (
	errExists = errors.New("file exists")
	errClosed = errors.New("file already closed")
	errDir    = errors.New("wrong kind of directory entry")
)

// ErrDead is what a Hook returns for operations that a process never came to: it died before them.
var ErrDead = errors.New("the process is dead")

// MemoryDisk is a storage.Disk. Make it with New.
type MemoryDisk struct {
	// Hook, if set, sees every operation that changes or syncs something before it happens, and makes it
	// fail by returning an error.
	Hook func(Op) error
	// ReadHook, if set, sees every read of a file before it happens.
	ReadHook func(path string, off, n int64) error
	// CapacityBytes limits the sum of all file sizes; 0 is no limit.
	CapacityBytes int64

	root    *node
	changed []*node // directories with changes of names that no SyncDir has covered
	used    int64
	life    int // handles of an earlier life are dead
	handles int
}

// Op is one operation, as Hook sees it.
type Op struct {
	Kind string // create, write, zero, truncate, sync, rename, remove, mkdir, rmdir, syncdir
	Path string
	To   string // of a rename
	Off  int64
	Len  int64
}

// String is the operation on one line.
func (o Op) String() string {
	switch o.Kind {
	case "write":
		return fmt.Sprintf("%s %s [%d,%d)", o.Kind, o.Path, o.Off, o.Off+o.Len)
	case "zero", "truncate":
		return fmt.Sprintf("%s %s to %d", o.Kind, o.Path, o.Len)
	case "rename":
		return fmt.Sprintf("%s %s to %s", o.Kind, o.Path, o.To)
	}
	return o.Kind + " " + o.Path
}

type node struct {
	dir     bool
	names   map[string]*node
	durable map[string]*node // names that a power loss leaves
	pending []change         // of names, not covered by a SyncDir, oldest first

	durableName string // in durable of its directory

	data     []byte
	synced   []byte
	dirty    []span // written since the last sync
	failed   error  // of a sync, in the disk's life numbered failedIn: later ones fail, too
	failedIn int
	linked   bool
	path     string // its newest name
}

type span struct{ from, to int64 }

// change is one creation, removal or rename in a directory; a rename happens whole or not at all.
type change struct {
	name   string
	add    *node // nil: the name was removed
	remove string
}

// New is an empty disk.
func New() *MemoryDisk {
	return &MemoryDisk{root: newDir()}
}

func newDir() *node {
	return &node{dir: true, names: map[string]*node{}, durable: map[string]*node{}, linked: true}
}

func (d *MemoryDisk) hook(o Op) error {
	if d.Hook == nil {
		return nil
	}
	return d.Hook(o)
}

// find returns a path's directory, last name and node; the node may be nil.
func (d *MemoryDisk) find(path string) (dir *node, name string, n *node, err error) {
	parts := strings.Split(path, "/")
	dir = d.root
	if path == "." || path == "" {
		return nil, "", dir, nil
	}
	for i, part := range parts {
		n = dir.names[part]
		if i == len(parts)-1 {
			return dir, part, n, nil
		}
		if n == nil {
			return nil, "", nil, storage.ErrNotExist
		}
		if !n.dir {
			return nil, "", nil, errDir
		}
		dir = n
	}
	return nil, "", nil, storage.ErrNotExist
}

func (d *MemoryDisk) link(dir *node, name string, n *node) {
	dir.names[name] = n
	n.linked = true
	d.change(dir, change{name: name, add: n})
}

func (d *MemoryDisk) unlink(dir *node, name string, n *node) {
	delete(dir.names, name)
	n.linked = false
	d.used -= int64(len(n.data))
	d.change(dir, change{remove: name})
}

func (d *MemoryDisk) change(dir *node, c change) {
	if len(dir.pending) == 0 {
		d.changed = append(d.changed, dir)
	}
	dir.pending = append(dir.pending, c)
}

// Create makes a new empty file.
func (d *MemoryDisk) Create(path string) (storage.File, error) {
	if err := d.hook(Op{Kind: "create", Path: path}); err != nil {
		return nil, err
	}
	dir, name, n, err := d.find(path)
	if err != nil {
		return nil, err
	}
	if n != nil {
		return nil, errExists
	}
	n = &node{}
	d.link(dir, name, n)
	return d.handle(n, path), nil
}

// Open opens an existing file.
func (d *MemoryDisk) Open(path string) (storage.File, error) {
	_, _, n, err := d.find(path)
	if err != nil {
		return nil, err
	}
	if n == nil {
		return nil, storage.ErrNotExist
	}
	if n.dir {
		return nil, errDir
	}
	return d.handle(n, path), nil
}

func (d *MemoryDisk) handle(n *node, path string) *file {
	d.handles++
	n.path = path
	return &file{disk: d, node: n, life: d.life}
}

// Rename renames a file within its directory.
func (d *MemoryDisk) Rename(from, to string) error {
	if err := d.hook(Op{Kind: "rename", Path: from, To: to}); err != nil {
		return err
	}
	dir, name, n, err := d.find(from)
	if err != nil {
		return err
	}
	if n == nil {
		return storage.ErrNotExist
	}
	toDir, toName, old, err := d.find(to)
	if err != nil {
		return err
	}
	if toDir != dir {
		return errors.New("rename across directories")
	}
	if old != nil {
		old.linked = false
		d.used -= int64(len(old.data))
	}
	delete(dir.names, name)
	dir.names[toName] = n
	n.path = to
	d.change(dir, change{name: toName, add: n, remove: name})
	return nil
}

// Remove removes a file.
func (d *MemoryDisk) Remove(path string) error {
	dir, name, n, err := d.find(path)
	if err != nil {
		return err
	}
	if n == nil {
		return storage.ErrNotExist
	}
	if n.dir {
		return errDir
	}
	if err := d.hook(Op{Kind: "remove", Path: path}); err != nil {
		return err
	}
	d.unlink(dir, name, n)
	return nil
}

// MakeDir makes a directory and its parents.
func (d *MemoryDisk) MakeDir(path string) error {
	if err := d.hook(Op{Kind: "mkdir", Path: path}); err != nil {
		return err
	}
	dir := d.root
	for _, part := range strings.Split(path, "/") {
		n := dir.names[part]
		if n == nil {
			n = newDir()
			d.link(dir, part, n)
		}
		if !n.dir {
			return errDir
		}
		dir = n
	}
	return nil
}

// RemoveDir removes an empty directory.
func (d *MemoryDisk) RemoveDir(path string) error {
	dir, name, n, err := d.find(path)
	if err != nil {
		return err
	}
	if n == nil {
		return storage.ErrNotExist
	}
	if !n.dir || dir == nil {
		return errDir
	}
	if len(n.names) > 0 {
		return errors.New("directory not empty")
	}
	if err := d.hook(Op{Kind: "rmdir", Path: path}); err != nil {
		return err
	}
	d.unlink(dir, name, n)
	return nil
}

// List names a directory's entries in order.
func (d *MemoryDisk) List(path string) ([]storage.Entry, error) {
	_, _, n, err := d.find(path)
	if err != nil {
		return nil, err
	}
	if n == nil {
		return nil, storage.ErrNotExist
	}
	if !n.dir {
		return nil, errDir
	}
	var out []storage.Entry
	for _, name := range sortedNames(n.names) {
		c := n.names[name]
		out = append(out, storage.Entry{Name: name, Dir: c.dir, SizeBytes: int64(len(c.data))})
	}
	return out, nil
}

func sortedNames(m map[string]*node) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// SyncDir makes a directory's names durable.
func (d *MemoryDisk) SyncDir(path string) error {
	_, _, n, err := d.find(path)
	if err != nil {
		return err
	}
	if n == nil || !n.dir {
		return storage.ErrNotExist
	}
	if err := d.hook(Op{Kind: "syncdir", Path: path}); err != nil {
		return err
	}
	for i := range n.pending {
		n.apply(&n.pending[i])
	}
	if len(n.pending) > 0 {
		n.pending = nil
		d.changed = slices.DeleteFunc(d.changed, func(o *node) bool { return o == n })
	}
	return nil
}

// apply makes a change of a directory's names durable.
func (n *node) apply(c *change) {
	if c.remove != "" {
		delete(n.durable, c.remove)
	}
	if c.add == nil {
		return
	}
	// A file has one name, also when the change that gave it the one before was lost.
	if n.durable[c.add.durableName] == c.add {
		delete(n.durable, c.add.durableName)
	}
	n.durable[c.name] = c.add
	c.add.durableName = c.name
}

// HandleCount is how many files are open.
func (d *MemoryDisk) HandleCount() int { return d.handles }

// UsedBytes is the sum of all file sizes.
func (d *MemoryDisk) UsedBytes() int64 { return d.used }

// Bytes is a copy of a file's bytes as a process sees them, nil if there is none.
func (d *MemoryDisk) Bytes(path string) []byte {
	if _, _, n, err := d.find(path); err == nil && n != nil && !n.dir {
		return append([]byte{}, n.data...)
	}
	return nil
}

// Paths lists every file, in order.
func (d *MemoryDisk) Paths() []string {
	var out []string
	var walk func(n *node, prefix string)
	walk = func(n *node, prefix string) {
		for _, name := range sortedNames(n.names) {
			if c := n.names[name]; c.dir {
				walk(c, prefix+name+"/")
			} else {
				out = append(out, prefix+name)
			}
		}
	}
	walk(d.root, "")
	return out
}

// Flip flips one bit of a file, durably. bit counts from the file's first.
func (d *MemoryDisk) Flip(path string, bit int64) bool {
	_, _, n, err := d.find(path)
	if err != nil || n == nil || bit/8 >= int64(len(n.data)) {
		return false
	}
	n.data[bit/8] ^= 1 << (bit % 8)
	if bit/8 < int64(len(n.synced)) {
		n.synced[bit/8] ^= 1 << (bit % 8)
	}
	return true
}

// Cut truncates a file, durably: what an operator or a broken file system may do.
func (d *MemoryDisk) Cut(path string, size int64) {
	_, _, n, err := d.find(path)
	if err != nil || n == nil || size > int64(len(n.data)) {
		return
	}
	d.used -= int64(len(n.data)) - size
	n.data = n.data[:size]
	n.synced = n.synced[:min(size, int64(len(n.synced)))]
}

type file struct {
	disk   *MemoryDisk
	node   *node
	life   int
	closed bool
}

func (f *file) alive() error {
	if f.closed || f.life != f.disk.life {
		return errClosed
	}
	return nil
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if err := f.alive(); err != nil {
		return 0, err
	}
	if f.disk.ReadHook != nil {
		if err := f.disk.ReadHook(f.node.path, off, int64(len(p))); err != nil {
			return 0, err
		}
	}
	return readAt(f.node, p, off)
}

func readAt(n *node, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	if off >= int64(len(n.data)) {
		return 0, io.EOF
	}
	k := copy(p, n.data[off:])
	if k < len(p) {
		return k, io.EOF
	}
	return k, nil
}

// resize changes the file's size within the disk's capacity and returns the size reached.
func (f *file) resize(to int64) int64 {
	n, from := f.node, int64(len(f.node.data))
	if to > from && n.linked && f.disk.CapacityBytes > 0 {
		to = max(from, min(to, from+f.disk.CapacityBytes-f.disk.used))
	}
	if n.linked {
		f.disk.used += to - from
	}
	if to <= from {
		n.data = n.data[:to]
		return to
	}
	n.data = slices.Grow(n.data, int(to-from))[:to]
	clear(n.data[from:])
	n.dirty = append(n.dirty, span{from, to})
	return to
}

func (f *file) WriteAt(bufs [][]byte, off int64) error {
	if err := f.alive(); err != nil {
		return err
	}
	var total int64
	for _, b := range bufs {
		total += int64(len(b))
	}
	if err := f.disk.hook(Op{Kind: "write", Path: f.node.path, Off: off, Len: total}); err != nil {
		return err
	}
	n := f.node
	end := off + total
	if end > int64(len(n.data)) {
		end = min(end, f.resize(end))
	}
	if end > off {
		n.dirty = append(n.dirty, span{off, end})
	}
	at := off
	for _, b := range bufs {
		if at < end {
			copy(n.data[at:end], b)
		}
		at += int64(len(b))
	}
	if end < off+total {
		return storage.ErrFull
	}
	return nil
}

func (f *file) Zero(to int64) error {
	if err := f.alive(); err != nil {
		return err
	}
	if err := f.disk.hook(Op{Kind: "zero", Path: f.node.path, Len: to}); err != nil {
		return err
	}
	if to > int64(len(f.node.data)) && f.resize(to) < to {
		return storage.ErrFull
	}
	return nil
}

func (f *file) Truncate(to int64) error {
	if err := f.alive(); err != nil {
		return err
	}
	if err := f.disk.hook(Op{Kind: "truncate", Path: f.node.path, Len: to}); err != nil {
		return err
	}
	if f.resize(to) < to {
		return storage.ErrFull
	}
	return nil
}

func (f *file) Sync() error {
	if err := f.alive(); err != nil {
		return err
	}
	n := f.node
	if n.failed != nil && n.failedIn == f.disk.life {
		return n.failed
	}
	if err := f.disk.hook(Op{Kind: "sync", Path: f.node.path}); err != nil {
		if !errors.Is(err, ErrDead) {
			// As in Linux: what was dirty looks clean from now on, without being on the disk.
			n.dirty = n.dirty[:0]
			n.failed, n.failedIn = err, f.disk.life
		}
		return err
	}
	if len(n.synced) > len(n.data) {
		n.synced = n.synced[:len(n.data)]
	} else if k := len(n.data) - len(n.synced); k > 0 {
		from := len(n.synced)
		n.synced = slices.Grow(n.synced, k)[:len(n.data)]
		clear(n.synced[from:])
	}
	for _, s := range n.dirty {
		to := min(s.to, int64(len(n.data)))
		if s.from < to {
			copy(n.synced[s.from:to], n.data[s.from:to])
		}
	}
	n.dirty = n.dirty[:0]
	return nil
}

func (f *file) SizeBytes() (int64, error) {
	if err := f.alive(); err != nil {
		return 0, err
	}
	return int64(len(f.node.data)), nil
}

func (f *file) Region(off int64, n int) storage.Region { return &region{node: f.node, off: off, n: n} }

func (f *file) Close() error {
	if err := f.alive(); err != nil {
		return err
	}
	f.closed = true
	f.disk.handles--
	return nil
}

type region struct {
	node     *node
	off      int64
	n        int
	released bool
}

func (r *region) Len() int { return r.n }

func (r *region) ReadAt(p []byte, off int64) (int, error) {
	if r.released {
		return 0, errClosed
	}
	if off >= int64(r.n) {
		return 0, io.EOF
	}
	short := int64(len(p)) > int64(r.n)-off
	if short {
		p = p[:int64(r.n)-off]
	}
	n, err := readAt(r.node, p, r.off+off)
	if err == nil && short {
		err = io.EOF
	}
	return n, err
}

func (r *region) Release() {
	if r.released {
		panic("a region is released once")
	}
	r.released = true
}
