package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/weirmq/weir/jepsen/broker"
)

// The bars; see the package's documentation.
const (
	cleanStartMax    = 3 * time.Second // for cleanStartParts partitions, and in proportion
	cleanStartParts  = 10_000
	crashStartMax    = 2 * time.Second
	idleBytesMax     = 4 << 10
	patience         = 10 * time.Minute
	idleLook         = 5 * time.Second
	openFiles        = 1024
	descriptorsBound = openFiles + 76 // and what a process has besides
)

type measurement struct {
	o      options
	addr   string
	data   string
	b      *broker.Broker
	failed []string
}

func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp(o.data, "weir-scale-")
	if err != nil {
		return err
	}
	m := &measurement{o: o, data: filepath.Join(dir, "data")}
	defer func() {
		if m.b != nil && m.b.Running() {
			err = errors.Join(err, m.b.Kill())
		}
		if o.keep {
			fmt.Println("data kept in", dir)
			return
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	if m.addr, err = broker.FreeAddr(); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{m.empty, m.create, m.fill, m.restart, m.write, m.crash} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if len(m.failed) > 0 {
		return fmt.Errorf("%d bars were missed: %v", len(m.failed), m.failed)
	}
	return nil
}

// say prints one measurement.
func (m *measurement) say(what, format string, args ...any) {
	fmt.Printf("%-44s %s\n", what, fmt.Sprintf(format, args...))
}

// bar prints one measurement that has a bar, and remembers when it was missed.
func (m *measurement) bar(what string, got, most any, kept bool) {
	verdict := "ok"
	if !kept {
		verdict = "MISSED"
		m.failed = append(m.failed, what)
	}
	m.say(what, "%v (at most %v) %s", got, most, verdict)
}

func (m *measurement) start() error {
	b, err := broker.Start(broker.Options{
		Binary: m.o.weir, Data: m.data, Listen: m.addr,
		Args: []string{"--http", "127.0.0.1:0", "--set", fmt.Sprintf("partitions.max=%d", m.o.partitions+1), "--set", fmt.Sprintf("open.files.max=%d", openFiles)},
	})
	if err != nil {
		return err
	}
	m.b = b
	return b.Ready(patience)
}

func (m *measurement) empty(context.Context) error {
	if err := m.start(); err != nil {
		return err
	}
	m.say("start, empty", "%v", m.b.StartUp.Round(time.Millisecond))
	return nil
}

func (m *measurement) create(ctx context.Context) error {
	before := usageOf(m.b.PID())
	begin := time.Now()
	if err := createTopics(ctx, m.addr, m.o.partitions); err != nil {
		return err
	}
	m.say("partitions created", "%d in %v", m.o.partitions, time.Since(begin).Round(time.Millisecond))
	m.idle("without data", before)
	return nil
}

// idle judges what the partitions cost while nothing happens.
func (m *measurement) idle(what string, before usage) {
	time.Sleep(idleLook) // until the collector has run, and to see what is used while idle
	mid := usageOf(m.b.PID())
	time.Sleep(idleLook)
	after := usageOf(m.b.PID())
	each := max(0, after.rssBytes-before.rssBytes) / int64(m.o.partitions)
	m.say("memory, "+what, "%d MiB", after.rssBytes>>20)
	m.bar("bytes of an idle partition, "+what, each, idleBytesMax, m.o.partitions < 1000 || each <= idleBytesMax)
	m.bar("descriptors, "+what, after.descriptors, descriptorsBound, after.descriptors <= descriptorsBound)
	m.say("threads, "+what, "%d", after.threads)
	m.say("processor time while idle, "+what, "%.2f %%", 100*(after.cpu-mid.cpu).Seconds()/idleLook.Seconds())
}

func (m *measurement) fill(ctx context.Context) error {
	if !m.o.fill {
		return nil
	}
	before := usageOf(m.b.PID())
	begin := time.Now()
	if err := produce(ctx, m.addr, m.o.partitions, int64(m.o.partitions), 1); err != nil {
		return err
	}
	m.say("a record in each", "%v", time.Since(begin).Round(time.Millisecond))
	if m.o.partitions >= 1000 {
		before.rssBytes = min(before.rssBytes, usageOf(m.b.PID()).rssBytes)
	}
	m.idle("with a record each", before)
	return nil
}

func (m *measurement) restart(context.Context) error {
	begin := time.Now()
	if err := m.b.Stop(patience); err != nil {
		return err
	}
	m.say("clean stop", "%v", time.Since(begin).Round(time.Millisecond))
	m.say("manifest", "%d KiB", sizeOf(filepath.Join(m.data, "log", "checkpoint.a"))>>10)
	if err := m.start(); err != nil {
		return err
	}
	most := cleanStartMax * time.Duration(max(1, m.o.partitions/cleanStartParts))
	m.bar("start after a clean stop", m.b.StartUp.Round(time.Millisecond), most, m.b.StartUp <= most)
	m.idle("started again", usage{rssBytes: 20 << 20})
	return nil
}

func (m *measurement) write(ctx context.Context) error {
	begin := time.Now()
	if err := produce(ctx, m.addr, m.o.active, m.o.bytes/int64(m.o.recordSize), m.o.recordSize); err != nil {
		return err
	}
	took := time.Since(begin)
	m.say("written", "%d MiB in %v", m.o.bytes>>20, took.Round(time.Millisecond))
	return nil
}

func (m *measurement) crash(context.Context) error {
	if err := m.b.Kill(); err != nil {
		return err
	}
	if err := m.start(); err != nil {
		return err
	}
	m.bar("start after SIGKILL", m.b.StartUp.Round(time.Millisecond), crashStartMax, m.b.StartUp <= crashStartMax)
	begin := time.Now()
	if err := m.b.Stop(patience); err != nil {
		return err
	}
	m.say("clean stop", "%v", time.Since(begin).Round(time.Millisecond))
	return nil
}
