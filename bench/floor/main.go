// Command floor is a bare broker: what the machine can give to a Go program that speaks enough of Kafka's
// protocol to be measured by the same clients as weir. It checks CRCs, appends to files with group commit and
// serves fetches by sendfile, and has a flag for each design choice, so that an idea is tried in an hour.
//
// It is no broker to use: no recovery, no idempotence, no groups, no limits.
//
//	connection reader ──request──► loop (or a lock) ──write──► committer ──fdatasync──► response ──► writer
//
// Start with main.go (flags), then store.go (appending) and connection.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
)

// choices is the design choices that can be told apart by measuring.
type choices struct {
	discard  bool   // count what arrives and keep nothing
	crc      bool   // check it
	kmsg     bool   // decode Produce with the general codec rather than by hand
	path     string // loop: one goroutine appends for all; lock: each reader appends under a lock
	writev   bool   // of the loop: one vectored write for a file and turn
	inline   bool   // responses are written by who completed them, rather than gathered by a writer
	pool     bool   // request buffers are used again
	sync     string // none, group, each
	prealloc int64  // bytes that files are extended ahead by
	shared   bool   // one file for all partitions
	sendfile bool   // fetches by sendfile rather than pread and write
}

func main() {
	var c choices
	listen := flag.String("listen", "127.0.0.1:9092", "HOST:PORT")
	data := flag.String("data", "", "an existing directory")
	flag.BoolVar(&c.discard, "discard", false, "keep nothing")
	flag.BoolVar(&c.crc, "crc", true, "check CRCs")
	flag.BoolVar(&c.kmsg, "kmsg", false, "decode Produce with a general codec")
	flag.StringVar(&c.path, "path", "loop", "loop or lock")
	flag.BoolVar(&c.writev, "writev", true, "gather writes of a turn")
	flag.BoolVar(&c.inline, "inline", false, "write responses one by one")
	flag.BoolVar(&c.pool, "pool", true, "use buffers again")
	flag.StringVar(&c.sync, "sync", "group", "none, group or each")
	flag.Int64Var(&c.prealloc, "prealloc", 0, "bytes")
	flag.BoolVar(&c.shared, "shared", false, "one file for all partitions")
	flag.BoolVar(&c.sendfile, "sendfile", true, "fetch by sendfile")
	flag.Parse()
	if err := run(*listen, *data, c); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func run(listen, data string, c choices) error {
	if c.path != "loop" && c.path != "lock" || c.sync != "none" && c.sync != "group" && c.sync != "each" {
		return errors.New("-path is loop or lock, -sync none, group or each")
	}
	if _, err := os.Stat(data); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	s := &server{choices: c, data: data, addr: l.Addr().(*net.TCPAddr), topics: map[string][]*partition{}, queue: make(chan *produce, 4096)}
	s.committer.wake = make(chan struct{}, 1)
	if c.shared {
		if s.file, err = s.openFile(filepath.Join(data, "shared.log")); err != nil {
			return err
		}
	}
	go s.loop()
	go s.commit()
	context.AfterFunc(ctx, func() { _ = l.Close() })
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		go s.serve(conn.(*net.TCPConn))
	}
}

type server struct {
	choices
	data  string
	addr  *net.TCPAddr
	queue chan *produce

	mu     sync.RWMutex
	topics map[string][]*partition
	file   *file // shared

	committer committer
	buffers   pool
	ids       int64 // of producers, under mu
}

func (s *server) partition(topic string, i int32) *partition {
	s.mu.RLock()
	defer s.mu.RUnlock()
	ps := s.topics[topic]
	if i < 0 || int(i) >= len(ps) {
		return nil
	}
	return ps[i]
}

func (s *server) create(topic string, partitions int32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.topics[topic] != nil {
		return nil
	}
	var ps []*partition
	for i := range max(1, partitions) {
		p := &partition{file: s.file}
		if p.file == nil {
			f, err := s.openFile(filepath.Join(s.data, fmt.Sprintf("%s-%d.log", topic, i)))
			if err != nil {
				return err
			}
			p.file = f
		}
		ps = append(ps, p)
	}
	s.topics[topic] = ps
	return nil
}

func (s *server) remove(topic string) {
	s.mu.Lock()
	ps := s.topics[topic]
	delete(s.topics, topic)
	s.mu.Unlock()
	if s.shared {
		return
	}
	for _, p := range ps {
		_ = os.Remove(p.file.f.Name()) // the directory goes with the program's end anyway
		_ = p.file.f.Close()           // what is in flight fails
	}
}
