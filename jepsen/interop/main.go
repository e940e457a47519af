// Command interop lets clients that others wrote work with a real broker: kcat, which is librdkafka, and
// franz-go, over TCP and over QUIC, beside weir's own command line. Each reads what the others wrote.
//
//	go run ./jepsen/interop --weir bin/weir [--logs DIR]
//
// In: the binary, and text files to send (the *.log of a directory; by default some are made, with
// Windows line ends, empty lines, bytes that are no text, no newline at the end). Out: one line per case, then
// how many passed and failed; exit code 1 if any failed.
//
// A case passes when what comes out equals what went in: keys, values, headers, times, null apart from empty,
// order, bytes of files. Whether a codec was used is read from the batches that a consumer is given.
//
// Deliberately absent: consumer groups and transactions, which the broker does not serve yet, and failures:
// jepsen/crash has those.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/weirmq/weir/jepsen/broker"
)

func main() {
	weir := flag.String("weir", "bin/weir", "the binary to test")
	logs := flag.String("logs", "", "a directory whose *.log files are sent; by default files are made")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "interop: wrong usage; see --help")
		os.Exit(2)
	}
	if err := run(*weir, *logs); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
}

func run(weir, logs string) (err error) {
	if _, err := exec.LookPath("kcat"); err != nil {
		return errors.New("kcat is not installed; it is Debian's package kcat")
	}
	if weir, err = filepath.Abs(weir); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "weir-interop-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	files, err := readLogs(logs)
	if err != nil {
		return err
	}
	b, err := broker.Start(broker.Options{
		Binary: weir, Data: filepath.Join(dir, "data"), Listen: "127.0.0.1:0", Args: []string{"--http", ""},
	})
	if err != nil {
		return err
	}
	defer func() {
		if b.Running() {
			err = errors.Join(err, b.Kill())
		}
	}()
	if err := b.Ready(10 * time.Second); err != nil {
		return err
	}
	s, err := newSuite(weir, dir, b)
	if err != nil {
		return err
	}
	s.metadata()
	s.text()
	s.spread()
	s.places()
	s.idempotence()
	s.franzToFranz()
	s.franzToOthers()
	s.othersToFranz()
	s.versions()
	s.byLine(files)
	s.exact(files)
	s.whole(files)
	s.try("the broker stops cleanly", func() error { return b.Stop(15 * time.Second) })
	fmt.Printf("interop: %d passed, %d failed\n", s.passed, s.failed)
	if s.failed > 0 {
		return fmt.Errorf("the end of the broker's log:\n%s", b.Log())
	}
	return nil
}
