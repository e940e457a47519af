package broker

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// program writes a shell script that stands in for the binary.
func program(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "weir")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

const patience = 20 * time.Second

func TestReadyLineIsUnderstood(t *testing.T) {
	b, err := Start(Options{
		Binary: program(t, `trap 'exit 0' TERM; echo noise; echo "ready kafka=127.0.0.1:1 quic=127.0.0.1:2 http=off data=$3"; while :; do sleep 0.01; done`),
		Data:   "here", Listen: "127.0.0.1:1",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Ready(patience); err != nil {
		t.Fatal(err)
	}
	if b.Kafka != "127.0.0.1:1" || b.QUIC != "127.0.0.1:2" || b.Data != "here" || b.StartUp <= 0 {
		t.Errorf("%+v", b)
	}
	if err := b.Stop(patience); err != nil || b.Running() {
		t.Errorf("stopped with %v, running %v", err, b.Running())
	}
}

func TestProcessThatEndsIsNotReady(t *testing.T) {
	b, err := Start(Options{Binary: program(t, `echo "no disk" >&2; exit 3`)})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Ready(patience); !errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), "no disk") {
		t.Error(err)
	}
}

func TestStopWantsExitCodeZero(t *testing.T) {
	b, err := Start(Options{Binary: program(t, `trap 'exit 7' TERM; echo "ready kafka=a"; while :; do sleep 0.01; done`)})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Ready(patience); err != nil {
		t.Fatal(err)
	}
	if err := b.Stop(patience); err == nil || !strings.Contains(err.Error(), "exit status 7") {
		t.Error(err)
	}
}

func TestPausedProcessDoesNothingUntilItIsResumed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ticks")
	b, err := Start(Options{Binary: program(t, `trap 'exit 0' TERM; echo . >"`+path+`"; echo "ready kafka=$3"; while :; do echo . >>"`+path+`"; sleep 0.01; done`), Config: "a.properties"})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Ready(patience); err != nil || b.Kafka != "a.properties" {
		t.Fatal(b.Kafka, err)
	}
	size := func() int64 {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	if err := b.Pause(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // a tick may have been under way
	paused := size()
	time.Sleep(200 * time.Millisecond)
	if size() != paused {
		t.Error("it went on")
	}
	if err := b.Resume(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); size() == paused; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not go on")
		}
	}
	if err := b.Stop(patience); err != nil {
		t.Error(err)
	}
}

func TestKilledProcessIsGone(t *testing.T) {
	b, err := Start(Options{Binary: program(t, `trap '' TERM; echo "ready kafka=a"; while :; do sleep 0.01; done`)})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Ready(patience); err != nil {
		t.Fatal(err)
	}
	if err := b.Stop(50 * time.Millisecond); err == nil || b.Running() {
		t.Errorf("a process that ignores SIGTERM stopped with %v, running %v", err, b.Running())
	}
}

func TestLinesArriveWhole(t *testing.T) {
	var got []string
	w := &tail{line: func(l []byte) { got = append(got, string(l)) }}
	for _, part := range []string{"one", "\ntwo\n\nth", "ree\nrest"} {
		if _, err := w.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"one", "two", "", "three"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := w.String(); !strings.HasSuffix(got, "rest") {
		t.Errorf("%q", got)
	}
	for range 1000 {
		if _, err := w.Write([]byte("a line of some length\n")); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.String(); len(got) > tailBytes || !strings.HasPrefix(got, "a line") {
		t.Errorf("%d bytes, %.20q", len(got), got)
	}
}
