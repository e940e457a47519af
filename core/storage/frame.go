package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
)

// Our own small files (meta, checkpoints, state snapshots) are frames: magic, version, length of the
// body, body, and an xxhash64 of everything before it. What a longer older version left behind a frame is
// ignored.
const (
	frameHeadBytes = 4 + 4 + 8
	frameBytesMax  = 1 << 30
)

// ErrFrame is wrapped by every refusal of a frame.
var ErrFrame = errors.New("file does not check out")

// ErrVersion says that a file is of a format that this build does not know.
var ErrVersion = errors.New("format version is not supported")

// beginFrame appends a frame's head; the body follows, then endFrame.
func beginFrame(dst []byte, magic, version uint32) []byte {
	dst = binary.BigEndian.AppendUint32(dst, magic)
	dst = binary.BigEndian.AppendUint32(dst, version)
	return binary.BigEndian.AppendUint64(dst, 0)
}

// endFrame finishes the frame that all of b is.
func endFrame(b []byte) []byte {
	binary.BigEndian.PutUint64(b[8:], uint64(len(b)-frameHeadBytes))
	return binary.BigEndian.AppendUint64(b, xxhash.Sum64(b))
}

// openFrame returns the body of the frame that b begins with. The checksum is looked at before the
// version, so that ErrVersion is only said of a whole file.
func openFrame(b []byte, magic uint32) ([]byte, error) {
	be := binary.BigEndian
	if len(b) < frameHeadBytes+8 || be.Uint32(b) != magic {
		return nil, fmt.Errorf("%w: no frame", ErrFrame)
	}
	n := be.Uint64(b[8:])
	if n > uint64(len(b)-frameHeadBytes-8) {
		return nil, fmt.Errorf("%w: cut short", ErrFrame)
	}
	end := frameHeadBytes + int(n)
	if be.Uint64(b[end:]) != xxhash.Sum64(b[:end]) {
		return nil, fmt.Errorf("%w: checksum", ErrFrame)
	}
	if v := be.Uint32(b[4:]); v < formatVersionOldest || v > FormatVersion {
		return nil, fmt.Errorf("%w: version %d, this build reads %d to %d", ErrVersion, v, formatVersionOldest, FormatVersion)
	}
	return b[frameHeadBytes:end], nil
}

// readFile reads a small file whole.
func readFile(disk Disk, path string) ([]byte, error) {
	f, err := disk.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	n, err := f.SizeBytes()
	var b []byte
	if err == nil && n > frameBytesMax {
		err = fmt.Errorf("%w: %d bytes", ErrFrame, n)
	}
	if err == nil {
		b = make([]byte, n)
		err = readFull(f, b, 0)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

// readFull fills p from off, or fails.
func readFull(f File, p []byte, off int64) error {
	n, err := f.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// cursor reads fixed-size fields off a body that a checksum vouches for; it still believes no length.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if c.bad || n < 0 || n > len(c.b) {
		c.bad = true
		return nil
	}
	p := c.b[:n:n]
	c.b = c.b[n:]
	return p
}

func (c *cursor) u16() uint16 {
	if p := c.take(2); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if p := c.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if p := c.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}
