package main

import (
	"context"
	"fmt"
	"os/exec"
	"time"

	"github.com/weirmq/weir/bench/system"
)

// onStream calls f with a fresh stream on a NATS server and the command line of its client.
func (b *bench) onStream(ctx context.Context, name string, f func(p *system.Process, drive func(args ...string) []string) error) (err error) {
	server := "nats"
	if name == "nats, sync always" {
		server = "nats sync always"
	}
	p, err := b.server(ctx, server)
	if err != nil {
		return err
	}
	topic := b.topic()
	drive := func(args ...string) []string {
		return append([]string{b.peers.NATS(), "drive", "-addr", p.Addr, "-topic", topic}, args...)
	}
	manage := func(ctx context.Context, verb string) error {
		args := drive("-driver", verb)
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s the stream: %w: %s", verb, err, out)
		}
		return nil
	}
	if err := manage(ctx, "create"); err != nil {
		return err
	}
	defer func() {
		if deleted := manage(context.WithoutCancel(ctx), "delete"); err == nil {
			err = deleted
		}
	}()
	return f(p, drive)
}

// natsSpan is longer when every message is synced by itself: a busy disk may answer nothing in a second.
func natsSpan(name string, window time.Duration) time.Duration {
	if name == "nats, sync always" {
		return max(window, 5*time.Second)
	}
	return window
}

func (b *bench) natsWindow(value int, window time.Duration) []string {
	return []string{
		"-value", fmt.Sprint(value), "-warm", seconds(b.window / 6), "-for", seconds(window), "-bytes-max", fmt.Sprint(b.bytesMax),
	}
}

func natsProduce(value int) func(string) func(context.Context, *bench, *sample) error {
	return func(name string) func(context.Context, *bench, *sample) error {
		return func(ctx context.Context, b *bench, x *sample) error {
			return b.onStream(ctx, name, func(p *system.Process, drive func(args ...string) []string) error {
				_, err := b.drive(ctx, p, drive(append(b.natsWindow(value, natsSpan(name, b.window)), "-driver", "produce")...), x)
				return err
			})
		}
	}
}

func natsLatency(name string) func(context.Context, *bench, *sample) error {
	return func(ctx context.Context, b *bench, x *sample) error {
		return b.onStream(ctx, name, func(p *system.Process, drive func(args ...string) []string) error {
			args := append(b.natsWindow(100, natsSpan(name, 2*b.window)), "-driver", "latency", "-rate", fmt.Sprint(latencyRate))
			_, err := b.drive(ctx, p, drive(args...), x)
			return err
		})
	}
}

func natsConsume(value int) func(string) func(context.Context, *bench, *sample) error {
	return func(name string) func(context.Context, *bench, *sample) error {
		return func(ctx context.Context, b *bench, x *sample) error {
			return b.onStream(ctx, name, func(p *system.Process, drive func(args ...string) []string) error {
				filled, err := b.drive(ctx, p, drive(append(b.natsWindow(value, 2*b.window), "-driver", "produce")...), nil)
				if err != nil {
					return fmt.Errorf("filling the stream: %w", err)
				}
				b.quiet(ctx)
				_, err = b.drive(ctx, p, drive(append(b.natsWindow(value, b.window), "-driver", "consume", "-records", fmt.Sprint(filled.All))...), x)
				return err
			})
		}
	}
}
