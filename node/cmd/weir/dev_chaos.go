package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weirmq/weir/jepsen/chaos"
	"github.com/weirmq/weir/jepsen/cluster"
)

// chaosRun is `weir dev --chaos`.
type chaosRun struct {
	on   bool
	time time.Duration
	seed uint64
	rate int
	only []string // kinds of faults
	// transport is how nodes reach each other.
	transport string
}

const (
	chaosReport = "report.json"
	// plainEvery is how often progress is told where nobody looks at a terminal.
	plainEvery = 10 * time.Second
)

// runChaos breaks a cluster of nodes, each a process, and says what became of what they had promised.
func (a *app) runChaos(ctx context.Context, c *chaosRun, data string, keep bool, nodes int, listen, http string, set []string) (err error) {
	if c.rate < 1 || c.time < 0 {
		return usage("--rate is at least 1, and --for not negative")
	}
	if nodes < 3 {
		return usage("--chaos takes one node away after the other: with less than --nodes 3 nothing would be left to serve")
	}
	if nodes != votersOf(nodes) {
		return usage("--chaos breaks 3 or 5 nodes, which all vote, not %d: it cannot cut off a node that does not vote", nodes)
	}
	if c.transport != "tcp" && c.transport != "quic" {
		return usage("--nodes-transport is tcp or quic, not %q", c.transport)
	}
	for _, kind := range c.only {
		if c.transport == "quic" && strings.HasPrefix(kind, chaos.Cut) {
			return usage("--faults %s needs --nodes-transport tcp: over QUIC nobody between the nodes can see who calls whom", kind)
		}
		if !slices.Contains(chaos.Kinds, kind) {
			return usage("--faults: there is no %q; there are %s", kind, strings.Join(chaos.Kinds, ", "))
		}
	}
	if err := checkOwned(set); err != nil {
		return err
	}
	transport := ""
	if c.transport == "quic" {
		transport = c.transport
	}
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	dev, err := openDevCluster(data, nodes)
	if err != nil {
		return err
	}
	if c.seed == 0 {
		c.seed = uint64(time.Now().UnixNano())
	}
	if data, err = filepath.Abs(data); err != nil {
		return err
	}
	a.say("chaos: %d nodes as processes, seed %d, data and logs in %s", nodes, c.seed, data)
	screen := &chaosScreen{app: a, live: isTerminal(a.stderr) || a.showProgress}
	defer screen.end()
	run, err := chaos.Start(ctx, chaos.Options{
		Cluster: cluster.Options{
			Binary: binary, Dir: data, ClusterID: dev.id, Nodes: nodes, Listen: listen, HTTP: http, Transport: transport,
			Set: append([]string{"group.initial.rebalance.delay.ms=0"}, set...),
		},
		Seed: c.seed, Rate: c.rate, For: c.time, Kinds: c.only, Tell: screen.line,
		Ready: func(brokers []string) {
			screen.line("ready: brokers " + strings.Join(brokers, ",") + "; Ctrl-C ends it with a report")
			screen.begin()
		},
	})
	if err != nil {
		return err
	}
	screen.run = run
	report := run.Finish(ctx)
	screen.end()
	text, err := json.MarshalIndent(report, "", "  ")
	err = errors.Join(err, os.WriteFile(filepath.Join(data, chaosReport), append(text, '\n'), 0o644))
	if a.json() {
		err = errors.Join(err, a.printJSON(report))
	} else {
		err = errors.Join(err, report.Write(a.stdout))
	}
	if err = errors.Join(err, report.Err()); err != nil || keep {
		a.say("kept: %s has %s, the nodes' logs, configurations and data", data, chaosReport)
	}
	return err
}

// chaosScreen shows what happens: one line that changes on a terminal, and lines now and then elsewhere.
type chaosScreen struct {
	app  *app
	live bool
	run  *chaos.Run

	mu    sync.Mutex
	quit  chan struct{} // nil: nothing is shown
	ended sync.WaitGroup
}

// line tells of something that happened.
func (s *chaosScreen) line(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live {
		text = "\r\033[K" + text
	}
	s.app.say("%s", text)
}

func (s *chaosScreen) begin() {
	every := plainEvery
	if s.live {
		every = 500 * time.Millisecond
	}
	s.quit = make(chan struct{})
	s.ended.Go(func() {
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-t.C:
			case <-s.quit:
				return
			}
			text := s.run.Progress().String()
			s.mu.Lock()
			if s.live {
				_, _ = fmt.Fprintf(s.app.stderr, "\r\033[K%s", text)
			} else {
				s.app.say("%s", text)
			}
			s.mu.Unlock()
		}
	})
}

// end stops showing. It may be called again.
func (s *chaosScreen) end() {
	if s.quit == nil {
		return
	}
	close(s.quit)
	s.ended.Wait()
	s.quit = nil
	if s.live {
		_, _ = fmt.Fprint(s.app.stderr, "\r\033[K")
	}
}
