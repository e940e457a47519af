package transport

import (
	"io"
	"os"
	"sync"
)

// FileSender is implemented by connections that can send a run of a file without copying it
// through user space: plain TCP on Linux (sendfile). Use SendFile, which falls back.
type FileSender interface {
	// SendFile sends n bytes of f from offset, and returns how many were sent. The file's own
	// offset is neither used nor moved. A file that ends early is io.ErrUnexpectedEOF. The file
	// may be closed meanwhile: it stays open until the call returns.
	SendFile(f *os.File, offset, n int64) (int64, error)
}

// copyBytes is how much of a file is read at a time where it cannot be sent by the kernel.
const copyBytes = 256 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copyBytes]byte) }}

// SendFile sends n bytes of f from offset over c: with FileSender where c has it, otherwise through
// a pooled buffer. It returns how many bytes were sent; a file that ends early is
// io.ErrUnexpectedEOF.
func SendFile(c Conn, f *os.File, offset, n int64) (int64, error) {
	if s, ok := c.(FileSender); ok {
		return s.SendFile(f, offset, n)
	}
	return CopyFile(c, f, offset, n)
}

// CopyFile writes n bytes of r from offset to w through a pooled buffer: SendFile for files that
// the kernel does not know, or connections that it cannot send to.
func CopyFile(w io.Writer, r io.ReaderAt, offset, n int64) (int64, error) {
	buf := copyBuffers.Get().(*[copyBytes]byte)
	defer copyBuffers.Put(buf)

	var sent int64
	for sent < n {
		chunk := buf[:min(n-sent, copyBytes)]
		got, err := r.ReadAt(chunk, offset+sent)
		if got < len(chunk) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
		} else {
			err = nil
		}
		wrote, writeErr := w.Write(chunk[:got])
		sent += int64(wrote)
		if writeErr != nil {
			return sent, writeErr
		}
		if err != nil {
			return sent, err
		}
	}
	return sent, nil
}
