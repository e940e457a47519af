package main

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// bareSync is what the disk does without a broker: 4 KiB into a file written with zeros before, then
// fdatasync, one after the other.
func bareSync(ctx context.Context, _ *node, dir string, d time.Duration) (result, error) {
	var r result
	f, err := os.Create(filepath.Join(dir, "bare"))
	if err != nil {
		return r, err
	}
	defer func() { _ = f.Close() }() // measured, and removed with its directory
	const fileBytes = 64 << 20
	if _, err := f.Write(make([]byte, fileBytes)); err != nil {
		return r, err
	}
	if err := f.Sync(); err != nil {
		return r, err
	}
	block := make([]byte, 4<<10)
	h := newHistogram()
	for at, end := int64(0), time.Now().Add(d/2); time.Now().Before(end) && ctx.Err() == nil; at = (at + 4<<10) % fileBytes {
		from := time.Now()
		if _, err := f.WriteAt(block, at); err != nil {
			return r, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return r, err
		}
		count(h, time.Since(from))
	}
	addLatency(&r, h)
	return r, nil
}

// newHistogram counts nanoseconds up to a minute with three digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, int64(time.Minute), 3) }

// count notes one duration. Beyond a minute it is a minute: such a run has failed anyway.
func count(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(min(int64(d), int64(time.Minute)))
}

func addLatency(r *result, h *hdrhistogram.Histogram) {
	for _, q := range []struct {
		name string
		at   float64
	}{{"p50", 50}, {"p99", 99}, {"p999", 99.9}} {
		r.add(q.name, float64(h.ValueAtQuantile(q.at))/1e6, "ms")
	}
}

// startAndIdle is how long an empty node takes to be ready, and what it weighs when nobody calls.
func startAndIdle(ctx context.Context, n *node, _ string, d time.Duration) (result, error) {
	var r result
	select {
	case <-time.After(d / 2):
	case <-ctx.Done():
		return r, ctx.Err()
	}
	r.add("ready after", float64(n.startedIn)/1e6, "ms")
	r.add("RSS", float64(n.rssBytes())/1e6, "MB")
	return r, nil
}
