package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"time"
)

func TestInterruptibleReadsEverything(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for name, from := range map[string]io.Reader{
		"whole": bytes.NewReader(want), "with the end": iotest.DataErrReader(bytes.NewReader(want)),
		"by bytes": iotest.OneByteReader(bytes.NewReader(want[:1000])),
	} {
		got, err := io.ReadAll(newInterruptible(t.Context(), from))
		if err != nil || !bytes.Equal(got, want[:len(got)]) || len(got) < 1000 {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	broken := errors.New("broken")
	if _, err := io.ReadAll(newInterruptible(t.Context(), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("a source's error came as %v", err)
	}
}

func TestInterruptibleEndsWhileItsSourceWaits(t *testing.T) {
	in, out := io.Pipe()
	defer func() { _ = out.Close() }() // it cannot fail
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := newInterruptible(ctx, in).Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}
