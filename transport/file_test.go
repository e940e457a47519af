package transport_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/weirmq/weir/transport"
)

func TestCopyFileReportsWhatWasSent(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 100_000)
	for name, test := range map[string]struct {
		offset, n, room int64
		want            int64
		err             error
	}{
		"all":          {0, 1_000_000, 2_000_000, 1_000_000, nil},
		"middle":       {3, 700_000, 2_000_000, 700_000, nil},
		"nothing":      {5, 0, 10, 0, nil},
		"ends early":   {900_000, 200_000, 2_000_000, 100_000, io.ErrUnexpectedEOF},
		"past the end": {1_000_000, 1, 10, 0, io.ErrUnexpectedEOF},
		"peer is gone": {0, 1_000_000, 300_000, 300_000, errFull},
	} {
		t.Run(name, func(t *testing.T) {
			w := &shortWriter{limit: int(test.room)}
			n, err := transport.CopyFile(w, bytes.NewReader(content), test.offset, test.n)
			if n != test.want || !errors.Is(err, test.err) {
				t.Fatalf("%d, %v", n, err)
			}
			if !bytes.Equal(w.got.Bytes(), content[test.offset:test.offset+test.want]) {
				t.Fatal("other bytes than asked for")
			}
		})
	}
}

func TestIsClosedKnowsOrdinaryEndsFromFailures(t *testing.T) {
	for _, err := range []error{
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
		&net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)},
		&net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.EPIPE)},
	} {
		if !transport.IsClosed(err) {
			t.Errorf("%v is an ordinary end", err)
		}
	}
	for _, err := range []error{nil, os.ErrDeadlineExceeded, syscall.ECONNREFUSED, syscall.EMFILE, errors.New("tls: bad certificate")} {
		if transport.IsClosed(err) {
			t.Errorf("%v is none", err)
		}
	}
}
