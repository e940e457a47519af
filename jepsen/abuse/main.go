// Command abuse lets hostile clients loose on a real broker while honest ones work, and looks at what becomes of
// the honest ones, of the broker's memory, and of its log.
//
//	go run ./jepsen/abuse --weir bin/weir             every case; ten minutes
//	go run ./jepsen/abuse --weir bin/weir --short     fewer clients, two seconds each
//	go run ./jepsen/abuse --weir bin/weir --only idle,storm
//
// In: the binary. Out: a row for each case, and exit code 0 if every promise was kept.
//
// The honest ones are a producer that sends at a fixed rate with acks=all and a consumer. Three kinds of turns alternate,
// so that what else happens on the machine meets all of them: calm, busy (a process of the lowest priority keeps every processor
// busy and asks nothing of the broker), and abuse. Against calm one sees what an honest client feels, against busy what of it
// the broker lets the hostile ones take: they share the processors here, and would not on a network. The hostile ones are in a process of their own,
// which steps back for everybody else (nice 19): on a network they would not take the broker's processor, and
// what is to be seen is what the broker lets them take. With --under it runs under a command that limits it further:
// on its own processors, say, with the rest on others:
//
//	taskset -c 0-3 go run ./jepsen/abuse --under 'taskset -c 4-7'
//
// What is checked for each case:
//
//  1. Every acknowledged record is there, once and in order, at the end.
//  2. The broker's resident memory stays below memory.limit.bytes, to which it is set.
//  3. The log has a line for what was done, by its code in the catalogue, and not more lines than the limit on
//     lines allows; whatever was left out was counted.
//  4. The broker lives, and serves in the end as it did in the beginning.
//  5. With --strict: the median over the turns of the honest producer's p99 is at most twice what it is when busy.
//
// Small cases, one frame each, are node's tests. This is for what takes many clients or much time.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

type options struct {
	weir    string
	only    string
	short   bool
	strict  bool
	turns   int
	turn    time.Duration
	clients int // of the case idle
	limit   int64
	http    string // of the broker, with profiles; empty for none
	under   string // what the hostile process is run under, with arguments; empty for nothing
	keep    bool
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "attack" {
		if err := attackMain(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "attack:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.StringVar(&o.weir, "weir", "bin/weir", "the binary to test")
	flag.StringVar(&o.only, "only", "", "cases to run, separated by commas; all by default")
	flag.BoolVar(&o.short, "short", false, "fewer clients and shorter turns")
	flag.BoolVar(&o.strict, "strict", false, "fail if the honest producer's p99 is more than twice that of the busy turns: for a quiet machine")
	flag.IntVar(&o.turns, "turns", 3, "how often calm, busy and abuse alternate")
	flag.DurationVar(&o.turn, "turn", 6*time.Second, "how long each lasts")
	flag.IntVar(&o.clients, "clients", 10_000, "connections of the case idle")
	flag.Int64Var(&o.limit, "memory", 512<<20, "memory.limit.bytes of the broker, and what is allowed")
	flag.StringVar(&o.http, "http", "", "HOST:PORT at which the broker serves metrics and profiles meanwhile, to see what it is busy with")
	flag.StringVar(&o.under, "under", "", "command that runs the hostile process, to limit what it takes of this machine: 'taskset -c 1', a script that puts itself into a cgroup")
	flag.BoolVar(&o.keep, "keep", false, "keep data and logs")
	flag.Parse()
	if flag.NArg() > 0 || o.turns < 1 || o.turn < time.Second {
		fmt.Fprintln(os.Stderr, "abuse: wrong usage; see --help")
		os.Exit(2)
	}
	if o.short {
		o.turns, o.turn, o.clients = 1, 2*time.Second, min(o.clients, 1000)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "abuse:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	var err error
	if o.weir, err = filepath.Abs(o.weir); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "weir-abuse-")
	if err != nil {
		return err
	}
	var only []string
	if o.only != "" {
		only = strings.Split(o.only, ",")
		for _, name := range only {
			if !slices.ContainsFunc(cases, func(c attackCase) bool { return c.name == name }) {
				return fmt.Errorf("there is no case %q", name)
			}
		}
	}
	fmt.Printf("%-10s %9s %9s %9s %6s %9s %9s %8s %5s  %s\n", "case", "calm p99", "busy p99", "abuse p99", "ratio", "calm RSS", "peak RSS", "acked", "lost", "log")
	var errs []error
	for _, c := range cases {
		if ctx.Err() != nil {
			errs = append(errs, ctx.Err())
			break
		}
		if only != nil && !slices.Contains(only, c.name) {
			continue
		}
		r, err := measure(ctx, o, c, filepath.Join(dir, c.name))
		fmt.Println(r)
		for _, err := range []error{err, r.verdict(o, c)} {
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", c.name, err))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w\nkept %s", err, dir)
	}
	if o.keep {
		fmt.Println("kept", dir)
		return nil
	}
	return os.RemoveAll(dir)
}
