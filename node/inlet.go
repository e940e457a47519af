package node

import "github.com/weirmq/weir/transport"

const (
	inletBytes      = 16 << 10
	inletQuietBytes = 64
)

// inlet buffers what arrives on a connection. While requests come it has a buffer from the pool, so that small
// requests cost one read; a connection that has been quiet keeps a few bytes, enough to notice the next one:
//
//	quiet ──bytes arrive──► busy
//	  ▲                       │
//	  └────────quiet()────────┘ nothing is buffered
type inlet struct {
	conn    transport.Conn
	buffers *bufferPool
	buf     []byte // few, or a buffer of the pool
	from    int    // buf[from:to] is buffered
	to      int
	few     [inletQuietBytes]byte
}

func (in *inlet) init(conn transport.Conn, buffers *bufferPool) {
	in.conn, in.buffers = conn, buffers
	in.buf = in.few[:]
}

func (in *inlet) buffered() int { return in.to - in.from }

func (in *inlet) busy() bool { return len(in.buf) > len(in.few) }

// quiet gives the buffer back. Nothing is buffered.
func (in *inlet) quiet() {
	if in.busy() {
		in.buffers.put(in.buf)
		in.buf = in.few[:]
	}
	in.from, in.to = 0, 0
}

// drop gives the buffer back, whatever is in it.
func (in *inlet) drop() { in.quiet() }

// peek waits until n bytes are buffered, n being few, and returns them without taking them.
func (in *inlet) peek(n int) ([]byte, error) {
	for in.buffered() < n {
		if err := in.fill(); err != nil {
			return nil, err
		}
	}
	return in.buf[in.from : in.from+n], nil
}

// skip takes n buffered bytes.
func (in *inlet) skip(n int) { in.from += n }

// fill reads once, behind what is buffered.
func (in *inlet) fill() error {
	if in.buffered() == 0 {
		in.from, in.to = 0, 0
	}
	if !in.busy() && in.to > 0 {
		buf := in.buffers.get(inletBytes)
		in.to = copy(buf, in.buf[in.from:in.to])
		in.from, in.buf = 0, buf
	}
	if in.to == len(in.buf) {
		in.to = copy(in.buf, in.buf[in.from:in.to])
		in.from = 0
	}
	n, err := in.conn.Read(in.buf[in.to:])
	in.to += n
	if n > 0 {
		return nil
	}
	return err
}

// read fills b. When it fails it says how much of b it filled.
func (in *inlet) read(b []byte) (int, error) {
	have := copy(b, in.buf[in.from:in.to])
	in.from += have
	for have < len(b) {
		if len(b)-have >= inletBytes {
			n, err := in.conn.Read(b[have:])
			have += n
			if err != nil && have < len(b) {
				return have, err
			}
			continue
		}
		if !in.busy() {
			// What is read now is a request: the next is likely to follow.
			in.buf, in.from, in.to = in.buffers.get(inletBytes), 0, 0
		}
		if err := in.fill(); err != nil {
			return have, err
		}
		n := copy(b[have:], in.buf[in.from:in.to])
		in.from += n
		have += n
	}
	return have, nil
}
