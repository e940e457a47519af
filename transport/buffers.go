package transport

import (
	"io"
	"net"
	"sync"
)

// gatherBytes is the size of the buffer in which small pieces are joined: two TLS records, and
// enough for a QUIC stack to fill a batch of packets.
const gatherBytes = 32 << 10

// directBytes is the size from which a piece is written as it is: copying it costs more than one
// more call does.
const directBytes = 16 << 10

var gatherBuffers = sync.Pool{New: func() any { return new([gatherBytes]byte) }}

// WriteBuffers writes bufs to w with few calls of Write: small pieces are joined, large ones are
// written in place. It is Conn.WriteBuffers for connections without vectored writes, where every
// Write costs a TLS record or a packet. It consumes *bufs as net.Buffers.WriteTo does.
func WriteBuffers(w io.Writer, bufs *net.Buffers) (int64, error) {
	if len(*bufs) == 1 {
		n, err := w.Write((*bufs)[0])
		consume(bufs, n)
		return int64(n), err
	}
	scratch := gatherBuffers.Get().(*[gatherBytes]byte)
	defer gatherBuffers.Put(scratch)

	var written int64
	for {
		piece := nextPiece(*bufs, scratch)
		if len(piece) == 0 {
			consume(bufs, 0)
			return written, nil
		}
		n, err := w.Write(piece)
		consume(bufs, n)
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
}

// nextPiece returns the bytes to write next: the first buffer if it is large, otherwise as much of
// the following buffers as fits into scratch. It is empty when nothing is left.
func nextPiece(bufs net.Buffers, scratch *[gatherBytes]byte) []byte {
	n := 0
	for _, b := range bufs {
		if n == 0 && len(b) >= directBytes {
			return b
		}
		m := copy(scratch[n:], b)
		n += m
		if m < len(b) {
			break
		}
	}
	return scratch[:n]
}

// consume drops n bytes, and empty buffers after them, from the front of *bufs.
func consume(bufs *net.Buffers, n int) {
	for len(*bufs) > 0 && n >= len((*bufs)[0]) {
		n -= len((*bufs)[0])
		(*bufs)[0] = nil
		*bufs = (*bufs)[1:]
	}
	if n > 0 {
		(*bufs)[0] = (*bufs)[0][n:]
	}
}
