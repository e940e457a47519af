package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/weirmq/weir/jepsen/broker"
)

// nemesis owns the broker's process: it starts it, and ends it in every way a process ends.
//
//	serve a while ──► SIGKILL ───────────────► start ─┬─► ready ──► serve a while
//	        └───────► SIGTERM, exit code 0 ──► start ─┤
//	                                 ▲                └─► SIGKILL while it recovers ─┐
//	                                 └───────────────────────────────────────────────┘
type nemesis struct {
	o          options
	addr, data string
	rand       *rand.Rand
	broker     *broker.Broker
	log        *os.File

	kills     int
	early     int // kills before the broker was ready
	stops     int // clean ones
	stopRound int // of the ten under way, the one that stops the broker cleanly
	starts    []time.Duration

	mu     sync.Mutex
	counts map[string]int // lines of the broker's log, by kind
	opened []entry        // what this process said it recovered
	errors []string
}

// entry is a line of the broker's log.
type entry struct {
	Level          string `json:"level"`
	Message        string `json:"msg"`
	Kind           string `json:"kind"`
	CleanShutdown  bool   `json:"clean_shutdown"`
	JournalEntries int    `json:"journal_entries"`
}

func (n *nemesis) line(line []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, _ = n.log.Write(append(slices.Clip(line), '\n')) // for people, if anything else goes wrong
	var e entry
	if json.Unmarshal(line, &e) != nil {
		return
	}
	if e.Message == recoveredMessage {
		n.opened = append(n.opened, e)
	}
	if e.Kind != "" {
		n.counts[e.Kind]++
	}
	if e.Level == "error" {
		n.errors = append(n.errors, string(line))
	}
}

const recoveredMessage = "data recovered"

// start starts the broker, with other sizes of files each time, so that few seconds of load meet many of the
// ways in which files can end. Sometimes it dies again while it recovers.
func (n *nemesis) start(clean bool) error {
	for {
		n.mu.Lock()
		n.opened = n.opened[:0]
		n.mu.Unlock()
		pick := func(values ...int) int { return values[n.rand.IntN(len(values))] }
		set := func(name string, value int) string { return fmt.Sprintf("--set=%s=%d", name, value) }
		b, err := broker.Start(broker.Options{
			Binary: n.o.weir, Data: n.data, Listen: n.addr, Line: n.line,
			Args: []string{
				"--http=", "--set=log.level=debug", "--set=auto.create.topics.enable=false",
				set("journal.file.bytes", pick(1<<20, 2<<20, 8<<20)), set("checkpoint.bytes", pick(1<<20, 4<<20, 32<<20)),
				set("in.place.bytes.min", pick(0, 64<<10, 1<<20)), set("open.files.max", pick(16, 1024)),
			},
		})
		if err != nil {
			return err
		}
		n.broker = b
		if n.kills == 0 || n.rand.IntN(6) > 0 {
			break
		}
		// Somewhere in the time that a start takes here.
		_, median := n.startUps()
		time.Sleep(time.Duration(n.rand.Float64() * float64(median)))
		if !b.Running() {
			break // it should not have ended by itself: Ready says why it did
		}
		if err := b.Kill(); err != nil {
			return err
		}
		n.early++
		clean = false
	}
	if err := n.broker.Ready(30 * time.Second); err != nil {
		return err
	}
	n.starts = append(n.starts, n.broker.StartUp)
	if clean {
		return n.checkNothingReplayed()
	}
	return nil
}

// checkNothingReplayed holds a start after a clean shutdown against what the broker says about it.
func (n *nemesis) checkNothingReplayed() error {
	e, err := n.recovered(10 * time.Second)
	if err != nil {
		return err
	}
	if !e.CleanShutdown || e.JournalEntries != 0 {
		return fmt.Errorf("after a clean shutdown the broker replayed %d journal entries, clean_shutdown=%v", e.JournalEntries, e.CleanShutdown)
	}
	return nil
}

// recovered is what the process that runs said about its recovery. The log may arrive after the line that
// says ready: it comes by another pipe.
func (n *nemesis) recovered(patience time.Duration) (entry, error) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		n.mu.Lock()
		opened := slices.Clone(n.opened)
		n.mu.Unlock()
		if len(opened) > 0 {
			return opened[0], nil
		}
	}
	return entry{}, fmt.Errorf("the broker's log does not say %q", recoveredMessage)
}

// round lets the broker serve for a while, ends it and starts it again.
func (n *nemesis) round(round int) error {
	if round%10 == 1 {
		n.stopRound = round + n.rand.IntN(10)
	}
	serve := 20 + n.rand.IntN(1480)
	time.Sleep(time.Duration(serve) * time.Millisecond)
	if !n.broker.Running() {
		return errors.New("the broker ended by itself")
	}
	clean := round == n.stopRound
	if clean {
		if err := n.broker.Stop(20 * time.Second); err != nil {
			return err
		}
		n.stops++
	} else {
		if err := n.broker.Kill(); err != nil {
			return err
		}
		n.kills++
	}
	if err := n.start(clean); err != nil {
		return fmt.Errorf("start in round %d: %w", round, err)
	}
	return n.complaints()
}

// complaints is what the broker's log calls an error.
func (n *nemesis) complaints() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.errors) == 0 {
		return nil
	}
	return fmt.Errorf("the broker logged %d errors, the first: %s", len(n.errors), n.errors[0])
}

// count is how often a kind of note was seen in the broker's log, which thins out repetitions.
func (n *nemesis) count(kind string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.counts[kind]
}

// slowest and median of the starts.
func (n *nemesis) startUps() (slowest, median time.Duration) {
	s := slices.Sorted(slices.Values(n.starts))
	return s[len(s)-1], s[len(s)/2]
}
