package main

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"sort"
	"sync"

	"golang.org/x/sys/unix"
)

// partition is offsets over pieces of a file.
type partition struct {
	file *file

	mu      sync.Mutex
	next    int64 // offset
	entries []entry
	visible int   // entries that may be read
	end     int64 // offset behind them
	waiters []chan struct{}
}

// entry is one batch.
type entry struct {
	base, last int64
	at         int64
	size       int
}

// file is an append-only file.
type file struct {
	f     *os.File
	fd    int
	mu    sync.Mutex // of path lock
	size  int64
	ahead int64
	dirty bool // of the committer's collecting, under its lock

	turn []*produce // of the loop: to be written
	bufs [][]byte
}

func (s *server) openFile(name string) (*file, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	return &file{f: f, fd: int(f.Fd())}, nil
}

// produce is a request on its way.
type produce struct {
	conn    *connection
	id      uint32
	version int16
	acks    int16
	parts   []part
	buf     []byte
}

type part struct {
	topic     string
	index     int32
	partition *partition
	batch     []byte
	base      int64
	code      int16
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const (
	headerBytes     = 61
	codeCorrupt     = 2
	codeUnknown     = 3
	codeStorage     = 56
	codeOutOfRange  = 1
	turnRequestsMax = 256
	iovecsMax       = 1024
)

// check looks at each batch of a request, on the connection's time.
func (s *server) check(r *produce) {
	for i := range r.parts {
		p := &r.parts[i]
		p.partition = s.partition(p.topic, p.index)
		switch {
		case p.partition == nil:
			p.code = codeUnknown
		case len(p.batch) < headerBytes || int(binary.BigEndian.Uint32(p.batch[8:]))+12 != len(p.batch) || p.batch[16] != 2:
			p.code = codeCorrupt
		case s.crc && crc32.Checksum(p.batch[21:], castagnoli) != binary.BigEndian.Uint32(p.batch[17:]):
			p.code = codeCorrupt
		}
	}
}

// place gives each batch its offset and its place in a file. The caller owns the file: the loop, or a lock.
func (s *server) place(p *part) {
	p.partition.mu.Lock()
	defer p.partition.mu.Unlock()
	records := int64(binary.BigEndian.Uint32(p.batch[57:]))
	p.base = p.partition.next
	binary.BigEndian.PutUint64(p.batch, uint64(p.base))
	binary.BigEndian.PutUint32(p.batch[12:], 0) // leader epoch
	p.partition.next += records
	if s.discard {
		p.partition.end = p.partition.next
		return
	}
	f := p.partition.file
	p.partition.entries = append(p.partition.entries, entry{p.base, p.base + records - 1, f.size, len(p.batch)})
	f.size += int64(len(p.batch))
}

func (s *server) preallocate(f *file) {
	if s.prealloc > 0 && f.size > f.ahead {
		if unix.Fallocate(f.fd, 0, f.ahead, s.prealloc) == nil {
			f.ahead += s.prealloc
		}
	}
}

// loop appends for everyone: it takes all that waits, and writes once for each file.
func (s *server) loop() {
	var turn []*produce
	var files []*file
	for first := range s.queue {
		turn = append(turn[:0], first)
	drain:
		for len(turn) < turnRequestsMax {
			select {
			case r := <-s.queue:
				turn = append(turn, r)
			default:
				break drain
			}
		}
		files = files[:0]
		for _, r := range turn {
			for i := range r.parts {
				p := &r.parts[i]
				if p.code != 0 {
					continue
				}
				f := p.partition.file
				if len(f.bufs) == 0 {
					files = append(files, f)
				}
				s.place(p)
				f.bufs = append(f.bufs, p.batch)
				f.turn = append(f.turn, r)
			}
		}
		for _, f := range files {
			if err := s.write(f); err != nil {
				for _, r := range f.turn {
					r.fail(f)
				}
			}
			clear(f.bufs)
			f.bufs, f.turn = f.bufs[:0], f.turn[:0]
		}
		s.written(turn)
	}
}

func (p *produce) fail(f *file) {
	for i := range p.parts {
		if p.parts[i].partition != nil && p.parts[i].partition.file == f {
			p.parts[i].code = codeStorage
		}
	}
}

// write writes what a turn has for a file.
func (s *server) write(f *file) error {
	if s.discard {
		return nil
	}
	s.preallocate(f)
	total := int64(0)
	for _, b := range f.bufs {
		total += int64(len(b))
	}
	at := f.size - total
	for bufs := f.bufs; len(bufs) > 0; {
		n := 1
		if s.writev {
			n = min(len(bufs), iovecsMax)
		}
		for chunk := bufs[:n]; len(chunk) > 0; {
			wrote, err := unix.Pwritev(f.fd, chunk, at)
			if err != nil {
				return err
			}
			at += int64(wrote)
			for wrote > 0 && wrote >= len(chunk[0]) {
				wrote -= len(chunk[0])
				chunk = chunk[1:]
			}
			if wrote > 0 {
				chunk[0] = chunk[0][wrote:]
			}
		}
		bufs = bufs[n:]
	}
	return nil
}

// append is path lock: the reader does everything itself.
func (s *server) append(r *produce) {
	for i := range r.parts {
		p := &r.parts[i]
		if p.code != 0 {
			continue
		}
		f := p.partition.file
		f.mu.Lock()
		s.place(p)
		f.bufs = append(f.bufs[:0], p.batch)
		if err := s.write(f); err != nil {
			p.code = codeStorage
		}
		f.mu.Unlock()
	}
	s.written([]*produce{r})
}

// written goes on with requests whose batches are in the page cache.
func (s *server) written(turn []*produce) {
	switch {
	case s.sync == "none" || s.discard:
		for _, r := range turn {
			s.complete(r)
		}
	case s.sync == "each":
		for _, r := range turn {
			for i := range r.parts {
				if p := &r.parts[i]; p.code == 0 {
					if err := unix.Fdatasync(p.partition.file.fd); err != nil {
						p.code = codeStorage
					}
				}
			}
			s.complete(r)
		}
	default:
		s.committer.add(turn)
	}
}

// committer makes everything that waits durable, and again.
type committer struct {
	mu      sync.Mutex
	waiting []*produce
	wake    chan struct{}
}

func (c *committer) add(turn []*produce) {
	c.mu.Lock()
	c.waiting = append(c.waiting, turn...)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (s *server) commit() {
	c := &s.committer
	var group []*produce
	var files []*file
	for range c.wake {
		c.mu.Lock()
		group, c.waiting = c.waiting, group[:0]
		c.mu.Unlock()
		files = files[:0]
		for _, r := range group {
			for i := range r.parts {
				if p := &r.parts[i]; p.code == 0 && !p.partition.file.dirty {
					p.partition.file.dirty = true
					files = append(files, p.partition.file)
				}
			}
		}
		for _, f := range files {
			f.dirty = false
			if err := unix.Fdatasync(f.fd); err != nil {
				for _, r := range group {
					r.fail(f)
				}
			}
		}
		for _, r := range group {
			s.complete(r)
		}
		clear(group)
	}
}

// complete makes a request's batches readable and answers it.
func (s *server) complete(r *produce) {
	for i := range r.parts {
		p := &r.parts[i]
		if p.code != 0 || s.discard {
			continue
		}
		p.partition.mu.Lock()
		es := p.partition.entries
		for p.partition.visible < len(es) && es[p.partition.visible].base <= p.base {
			p.partition.end = es[p.partition.visible].last + 1
			p.partition.visible++
		}
		for _, w := range p.partition.waiters {
			select {
			case w <- struct{}{}:
			default:
			}
		}
		p.partition.waiters = p.partition.waiters[:0]
		p.partition.mu.Unlock()
	}
	if s.pool {
		s.buffers.put(r.buf)
	}
	r.buf = nil
	if r.acks != 0 {
		r.conn.respond(r.response())
	}
}

// run finds consecutive batches from an offset on that lie side by side in the file.
func (p *partition) run(offset int64, bytesMax int) (at int64, size int, end int64, code int16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if offset > p.end || offset < 0 {
		return 0, 0, p.end, codeOutOfRange
	}
	es := p.entries[:p.visible]
	i := sort.Search(len(es), func(i int) bool { return es[i].last >= offset })
	if i == len(es) {
		return 0, 0, p.end, 0
	}
	at, size = es[i].at, es[i].size
	for i++; i < len(es) && es[i].at == at+int64(size) && size+es[i].size <= bytesMax; i++ {
		size += es[i].size
	}
	return at, size, p.end, 0
}

// wait registers for the next advance.
func (p *partition) wait(c chan struct{}) {
	p.mu.Lock()
	p.waiters = append(p.waiters, c)
	p.mu.Unlock()
}

// pool is request buffers by size.
type pool struct{ classes [32]sync.Pool }

func class(n int) int {
	c := 10
	for 1<<c < n {
		c++
	}
	return c
}

func (p *pool) get(n int) []byte {
	c := class(n)
	if b, ok := p.classes[c].Get().(*[]byte); ok {
		return (*b)[:n]
	}
	return make([]byte, n, 1<<c)
}

func (p *pool) put(b []byte) {
	if b != nil && cap(b) == 1<<class(cap(b)) {
		b = b[:cap(b)]
		p.classes[class(cap(b))].Put(&b)
	}
}
