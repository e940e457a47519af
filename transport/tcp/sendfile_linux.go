package tcp

import (
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// sendFileBytesMax is how much one sendfile call is asked for: enough that the call's cost is
// nothing, little enough that a cold file does not hold a thread for long.
const sendFileBytesMax = 4 << 20

// fileSend is the state of one SendFile. It lives in the connection so that its callback is made
// once and not per call.
type fileSend struct {
	mu sync.Mutex // one SendFile at a time

	in       int   // the file's descriptor
	offset   int64 // next byte of the file
	leftLen  int64
	sentLen  int64
	err      error
	callback func(out uintptr) bool
}

// SendFile sends n bytes of f from offset with sendfile(2). It waits for room in the socket as
// Write does, obeys the write deadline, and no Write comes between its bytes.
func (c *Conn) SendFile(f *os.File, offset, n int64) (int64, error) {
	if offset < 0 || n < 0 {
		return 0, fmt.Errorf("tcp: send file: offset %d, length %d", offset, n)
	}
	if n == 0 {
		return 0, nil
	}
	file, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	s := &c.send
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.callback == nil {
		s.callback = s.step
	}
	s.offset, s.leftLen, s.sentLen, s.err = offset, n, 0, nil

	// Control holds a reference: the descriptor cannot be closed, and its number cannot come to
	// mean another file, while bytes are being sent from it. File.Fd would not promise that. The
	// socket's Write holds the socket's write lock until the callback is done.
	err = file.Control(func(in uintptr) {
		s.in = int(in)
		if err := c.raw.Write(s.callback); err != nil && s.err == nil {
			s.err = err
		}
	})
	if err != nil {
		// Control fails for one reason, and names it by an error of its own.
		return 0, &os.PathError{Op: "sendfile", Path: f.Name(), Err: os.ErrClosed}
	}
	return s.sentLen, s.err
}

// step sends until all is sent, which it reports as true, or the socket is full.
func (s *fileSend) step(out uintptr) bool {
	for s.leftLen > 0 {
		n, err := unix.Sendfile(int(out), s.in, &s.offset, int(min(s.leftLen, sendFileBytesMax)))
		if n > 0 {
			s.leftLen -= int64(n)
			s.sentLen += int64(n)
		}
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return false
		case err != nil:
			s.err = os.NewSyscallError("sendfile", err)
			return true
		case n == 0:
			s.err = io.ErrUnexpectedEOF
			return true
		}
	}
	return true
}
