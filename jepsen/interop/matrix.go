package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weirmq/weir/jepsen/broker"
)

// matrix is the run of all clients' programs against one broker: what one writes, it and every other must read.
type matrix struct {
	addr   string // which clients are told: the tap's
	tap    *tap
	ref    *kgo.Client // the reference, which reads batches' attributes as well
	admin  *kadm.Client
	mu     sync.Mutex
	result []outcome
}

// outcome is one case of one client.
type outcome struct {
	Client string  `json:"client"`
	Column string  `json:"column"` // of the table
	Case   string  `json:"case"`
	Error  string  `json:"error,omitempty"`
	Lacks  feature `json:"lacks,omitempty"` // why it was not tried
}

// trial is one client under test.
type trial struct {
	*matrix
	client
	adapter adapter
	about   about
	wrote   []record // what it put into its topic for the others
}

// about is what a client's program says of itself.
type about struct {
	Version  string `json:"version"`
	Language string `json:"language"`
	// Partitioner is how it spreads keys unless told otherwise, as found.
	Partitioner string `json:"partitioner"`
}

// try runs one case.
func (t *trial) try(column, name string, f func() error) {
	began := time.Now()
	err := f()
	t.mu.Lock()
	defer t.mu.Unlock()
	o := outcome{Client: t.name, Column: column, Case: name}
	if err != nil {
		o.Error = strings.TrimSpace(err.Error())
		fmt.Printf("FAIL %s: %s\n     %s\n", t.name, name, strings.ReplaceAll(o.Error, "\n", "\n     "))
	} else {
		fmt.Printf("ok   %s: %s (%.1f s)\n", t.name, name, time.Since(began).Seconds())
	}
	t.result = append(t.result, o)
}

// tryWith runs a case that needs something of the client, unless the client lacks it.
func (t *trial) tryWith(needs feature, column, name string, f func() error) {
	if !t.cannot(needs) {
		t.try(column, name, f)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Printf("--   %s: %s: the client lacks %s\n", t.name, name, needs)
	t.result = append(t.result, outcome{Client: t.name, Column: column, Case: name, Lacks: needs})
}

func (m *matrix) counts() (passed, failed int) {
	for _, o := range m.result {
		switch {
		case o.Error != "":
			failed++
		case o.Lacks == "":
			passed++
		}
	}
	return passed, failed
}

// install makes a client's program ready and says where it is.
func install(dir, name string) (string, error) {
	cmd := exec.Command("bash", filepath.Join(dir, "install.sh"), name)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s cannot be installed: %w\n%s%s", name, err, tail(stderr.Bytes()), tail(out.Bytes()))
	}
	fields := strings.Fields(out.String())
	if len(fields) == 0 {
		return "", fmt.Errorf("installing %s did not say where its program is", name)
	}
	return fields[len(fields)-1], nil
}

func tail(b []byte) []byte { return b[max(0, len(b)-3000):] }

// prepare makes all clients' programs ready, and says of all what they lack, not only of the first.
func (m *matrix) prepare(source string, chosen []client) (trials []*trial, err error) {
	for _, c := range chosen {
		t := &trial{matrix: m, client: c}
		var failed error
		if c.name == "kcat" { // its program is this one
			if _, err := exec.LookPath("kcat"); err != nil {
				failed = errors.New("kcat is not installed; it is Debian's package kcat")
			}
			t.adapter.args, t.adapter.program = []string{"kcat"}, os.Args[0]
		} else {
			t.adapter.program, failed = install(source, c.name)
		}
		err = errors.Join(err, failed)
		trials = append(trials, t)
	}
	return trials, err
}

// run tries clients, so many at a time.
func (m *matrix) run(weir, dir string, trials []*trial, parallel int) (err error) {
	if m.tap, err = newTap(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.tap.close()) }()
	m.addr = m.tap.addr()
	b, err := broker.Start(broker.Options{
		Binary: weir, Data: filepath.Join(dir, "clients"), Listen: "127.0.0.1:0",
		Args: []string{"--http", "", "--set", "advertised.listeners=" + m.addr},
	})
	if err != nil {
		return err
	}
	defer func() {
		if b.Running() {
			err = errors.Join(err, b.Stop(15*time.Second))
		}
	}()
	if err := b.Ready(10 * time.Second); err != nil {
		return err
	}
	go m.tap.serve(b.Kafka)
	m.ref, err = kgo.NewClient(kgo.SeedBrokers(m.addr), kgo.ClientID("the-reference"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer m.ref.Close()
	m.admin = kadm.NewClient(m.ref)

	m.each(trials, parallel, (*trial).alone)
	m.each(trials, parallel, func(t *trial) { t.crossRead(trials) })
	m.mixed(trials)
	m.each(trials, len(trials), func(t *trial) {
		t.try("end", "its program ends when asked to", t.adapter.close)
	})
	if !b.Running() {
		err = fmt.Errorf("the broker ended:\n%s", b.Log())
	} else if _, failed := m.counts(); failed > 0 {
		fmt.Printf("the end of the broker's log:\n%s\n", b.Log())
	}
	return err
}

// each runs f for all trials, so many at a time.
func (m *matrix) each(trials []*trial, parallel int, f func(*trial)) {
	slots := make(chan struct{}, max(parallel, 1))
	var all sync.WaitGroup
	for _, t := range trials {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			f(t)
		})
	}
	all.Wait()
}

// alone is everything that a client does without the others.
func (t *trial) alone() {
	t.adapter.brokers, t.adapter.id = t.addr, "interop-"+t.name
	t.try("hello", "says what it is", func() error {
		if err := t.adapter.call("hello", nil, &t.about); err != nil {
			return err
		}
		if t.about.Version == "" || t.about.Language == "" {
			return fmt.Errorf("it is of version %q, in %q", t.about.Version, t.about.Language)
		}
		return nil
	})
	t.topics()
	t.codecs()
	t.idempotence()
	t.large()
	t.keys()
	t.places()
	t.properties()
	t.crossWrite()
	t.group()
}

func (m *matrix) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}

// makeTopic makes a topic with the reference client.
func (m *matrix) makeTopic(name string, partitions int32, properties map[string]*string) error {
	ctx, cancel := m.context()
	defer cancel()
	_, err := m.admin.CreateTopic(ctx, partitions, 1, properties, name)
	return err
}

// refWrite writes records with the reference client.
func (m *matrix) refWrite(topic string, records []record, opts ...kgo.Opt) error {
	opts = append([]kgo.Opt{
		kgo.SeedBrokers(m.addr), kgo.ClientID("the-reference"), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(20 * time.Millisecond), kgo.ProducerBatchMaxBytes(8 << 20),
	}, opts...)
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := m.context()
	defer cancel()
	return cl.ProduceSync(ctx, toKgo(topic, records)...).FirstErr()
}

// refRead reads partition 0 with the reference client: so many records, and no more.
func (m *matrix) refRead(topic string, count int) ([]*kgo.Record, error) {
	at := map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(0)}}
	cl, err := kgo.NewClient(kgo.SeedBrokers(m.addr), kgo.ClientID("the-reference"), kgo.ConsumePartitions(at),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	ctx, cancel := m.context()
	defer cancel()
	var got []*kgo.Record
	for len(got) < count {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return got, fmt.Errorf("the reference, after %d of %d records: %w", len(got), count, err)
		}
		got = append(got, fetches.Records()...)
	}
	ends, err := m.admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return got, err
	}
	if o, _ := ends.Lookup(topic, 0); len(got) != count || o.Offset != int64(count) {
		return got, fmt.Errorf("the reference finds %d records and the end %d, instead of %d", len(got), o.Offset, count)
	}
	return got, nil
}
