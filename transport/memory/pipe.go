package memory

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// pipe is one direction of a connection: a ring of bytes between a writer and a reader.
//
//	          write              read
//	writer ─────────► [ ring ] ─────────► reader
//	   finished: no more will come; the reader drains the ring, then io.EOF
//	   abandoned: nobody will read; the ring is dropped, the writer gets ECONNRESET
//
// The lock is held to move bytes and never while waiting. Waiting is done on the channels: a token
// in readable says that the ring may have bytes, one in writable that it may have room, and the
// lock holder that leaves bytes or room behind puts the token back.
type pipe struct {
	limit    int
	readable chan struct{}
	writable chan struct{}

	finished  chan struct{} // closed by the writing side
	abandoned chan struct{} // closed by the reading side

	writing chan struct{} // holds one token: the right to write, so that writes do not interleave

	mu    sync.Mutex
	ring  []byte // nil until the first write
	first int    // index of the oldest byte
	count int    // bytes held

	readDeadline  *deadline
	writeDeadline *deadline
}

func newPipe(limit int) *pipe {
	p := &pipe{
		limit:         limit,
		readable:      make(chan struct{}, 1),
		writable:      make(chan struct{}, 1),
		finished:      make(chan struct{}),
		abandoned:     make(chan struct{}),
		writing:       make(chan struct{}, 1),
		readDeadline:  newDeadline(),
		writeDeadline: newDeadline(),
	}
	p.writing <- struct{}{}
	return p
}

func (p *pipe) read(b []byte) (int, error) {
	for {
		if isClosed(p.abandoned) {
			return 0, net.ErrClosed
		}
		passed := p.readDeadline.done()
		if isClosed(passed) {
			return 0, os.ErrDeadlineExceeded
		}
		// Looked at before taking: bytes written before finishing are then seen by take.
		finished := isClosed(p.finished)
		if n, ok := p.take(b); ok {
			return n, nil
		}
		if finished {
			return 0, io.EOF
		}
		select {
		case <-p.readable:
		case <-p.finished:
		case <-p.abandoned:
		case <-passed:
		}
	}
}

// write writes all of b unless it fails.
func (p *pipe) write(b []byte) (int, error) {
	if err := p.takeTurn(); err != nil {
		return 0, err
	}
	defer func() { p.writing <- struct{}{} }()
	return p.writeAlone(b)
}

// writeAlone is write for the holder of the token in p.writing.
func (p *pipe) writeAlone(b []byte) (int, error) {
	written := 0
	for {
		passed := p.writeDeadline.done()
		if err := p.writeError(passed); err != nil {
			return written, err
		}
		written += p.put(b[written:])
		if written == len(b) {
			return written, nil
		}
		select {
		case <-p.writable:
		case <-p.finished:
		case <-p.abandoned:
		case <-passed:
		}
	}
}

// takeTurn waits for the token in p.writing. The holder puts it back.
func (p *pipe) takeTurn() error {
	for {
		passed := p.writeDeadline.done()
		if err := p.writeError(passed); err != nil {
			return err
		}
		select {
		case <-p.writing:
			return nil
		case <-p.finished:
		case <-p.abandoned:
		case <-passed:
		}
	}
}

// writeError is why a write cannot go on, if so: the reasons of this side come first.
func (p *pipe) writeError(passed <-chan struct{}) error {
	switch {
	case isClosed(p.finished):
		return net.ErrClosed
	case isClosed(p.abandoned):
		return syscall.ECONNRESET
	case isClosed(passed):
		return os.ErrDeadlineExceeded
	default:
		return nil
	}
}

// writeBuffers writes the buffers as one run and leaves the unwritten rest in *bufs.
func (p *pipe) writeBuffers(bufs *net.Buffers) (int64, error) {
	if err := p.takeTurn(); err != nil {
		return 0, err
	}
	defer func() { p.writing <- struct{}{} }()
	return bufs.WriteTo((*turnHolder)(p))
}

// turnHolder is a pipe as the holder of its writing token writes to it.
type turnHolder pipe

func (p *turnHolder) Write(b []byte) (int, error) { return (*pipe)(p).writeAlone(b) }

// take moves bytes out of the ring. It reports false when there are none and b wants some.
func (p *pipe) take(b []byte) (int, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(b) == 0 {
		return 0, true
	}
	if p.count == 0 {
		return 0, false
	}
	n := 0
	for n < len(b) && p.count > 0 {
		m := copy(b[n:], p.ring[p.first:min(p.first+p.count, len(p.ring))])
		p.first = (p.first + m) % len(p.ring)
		p.count -= m
		n += m
	}
	signal(p.writable)
	if p.count > 0 {
		signal(p.readable) // for another reader
	}
	return n, true
}

// put moves bytes into the ring, as many as it has room for.
func (p *pipe) put(b []byte) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(b) == 0 || isClosed(p.abandoned) {
		return 0
	}
	if p.ring == nil {
		p.ring = make([]byte, p.limit)
	}
	n := 0
	for n < len(b) && p.count < len(p.ring) {
		at := (p.first + p.count) % len(p.ring)
		m := copy(p.ring[at:min(at+len(p.ring)-p.count, len(p.ring))], b[n:])
		p.count += m
		n += m
	}
	if p.count > 0 {
		signal(p.readable)
	}
	return n
}

// finish is the writing side's close. Only that side calls it, once.
func (p *pipe) finish() { close(p.finished) }

// abandon is the reading side's close. Only that side calls it, once.
func (p *pipe) abandon() {
	close(p.abandoned)
	p.mu.Lock()
	p.ring, p.first, p.count = nil, 0, 0
	p.mu.Unlock()
}

// signal leaves a token unless there is one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
