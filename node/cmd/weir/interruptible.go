package main

import (
	"context"
	"io"
)

// interruptible reads what its source has until a context ends. A read from a terminal or a pipe can wait for
// ever, and nothing else ends it: so another goroutine reads, one piece ahead at most, and is left behind
// when the command ends.
type interruptible struct {
	ctx    context.Context
	pieces chan piece
	given  piece // what is left of the piece that is handed out
	spare  chan []byte
}

type piece struct {
	bytes, buffer []byte
	err           error
}

func newInterruptible(ctx context.Context, from io.Reader) *interruptible {
	r := &interruptible{ctx: ctx, pieces: make(chan piece), spare: make(chan []byte, 2)}
	for range cap(r.spare) {
		r.spare <- make([]byte, 256<<10)
	}
	go func() {
		for b := range r.spare {
			n, err := from.Read(b)
			select {
			case r.pieces <- piece{b[:n], b, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return r
}

// Read returns the context's error once it has ended, also where the source has more.
func (r *interruptible) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	for len(r.given.bytes) == 0 {
		if r.given.err != nil {
			return 0, r.given.err
		}
		if r.given.buffer != nil {
			r.spare <- r.given.buffer
			r.given.buffer = nil
		}
		select {
		case r.given = <-r.pieces:
		case <-r.ctx.Done():
			return 0, r.ctx.Err()
		}
	}
	n := copy(b, r.given.bytes)
	r.given.bytes = r.given.bytes[n:]
	return n, nil
}
