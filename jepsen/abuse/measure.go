package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weirmq/weir/jepsen/broker"
)

// result is what was seen in one case.
type result struct {
	name             string
	calm, busy       []time.Duration // p99 of each turn
	abuse            []time.Duration
	calmRSS, peakRSS int64
	idleBytes        int64 // of the case idle: what a connection holds
	acked, lost      int
	lines            map[string]int // of the log, by code
	took             time.Duration  // from the broker's start to its end: so long lines were written
	suppressed       int
	said             string // by the attackers
}

func (r result) String() string {
	codes := make([]string, 0, len(r.lines))
	for code, n := range r.lines {
		codes = append(codes, fmt.Sprintf("%s×%d", code, n))
	}
	slices.Sort(codes)
	log := strings.Join(codes, " ")
	if r.suppressed > 0 {
		log += fmt.Sprintf(" (+%d left out)", r.suppressed)
	}
	calm, busy, abuse := median(r.calm), median(r.busy), median(r.abuse)
	ratio := float64(abuse) / float64(max(busy, 1))
	text := fmt.Sprintf("%-10s %9v %9v %9v %6.2f %7dMB %7dMB %8d %5d  %s", r.name, calm.Round(100*time.Microsecond), busy.Round(100*time.Microsecond),
		abuse.Round(100*time.Microsecond), ratio, r.calmRSS>>20, r.peakRSS>>20, r.acked, r.lost, log)
	if r.idleBytes > 0 {
		text += fmt.Sprintf("\n           %.1f KiB of memory per idle connection", float64(r.idleBytes)/1024)
	}
	if r.said != "" {
		text += "\n           " + r.said
	}
	return text
}

// verdict is what was promised and not kept.
func (r result) verdict(o options, c attackCase) error {
	var errs []error
	if r.lost > 0 {
		errs = append(errs, fmt.Errorf("%d acknowledged records are lost, doubled or out of order", r.lost))
	}
	if r.acked == 0 {
		errs = append(errs, errors.New("nothing was acknowledged"))
	}
	if r.peakRSS > o.limit {
		errs = append(errs, fmt.Errorf("the broker held %d MB; %d MB were allowed", r.peakRSS>>20, o.limit>>20))
	}
	for _, code := range c.codes {
		if r.lines[code] == 0 {
			errs = append(errs, fmt.Errorf("the log has no line with the code %s", code))
		}
	}
	// See node/complaint.go. A turn lasts longer where the broker is slow to be annoyed.
	allowed := 10 * (2 + int(r.took/(10*time.Second)))
	for code, n := range r.lines {
		if n > allowed {
			errs = append(errs, fmt.Errorf("the log has %d lines with the code %s; %d are allowed", n, code, allowed))
		}
	}
	if r.idleBytes > 32<<10 {
		errs = append(errs, fmt.Errorf("an idle connection holds %d bytes", r.idleBytes))
	}
	if o.strict && median(r.abuse) > 2*median(r.busy) {
		errs = append(errs, fmt.Errorf("p99 is %v, and was %v beside a process that only keeps the processors busy", median(r.abuse), median(r.busy)))
	}
	return errors.Join(errs...)
}

func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(d))
	return s[len(s)/2]
}

// logLines counts the broker's log by code.
type logLines struct {
	mu         sync.Mutex
	byCode     map[string]int
	suppressed int
	file       *os.File
}

func (l *logLines) line(b []byte) {
	var entry struct {
		Code  string `json:"code"`
		Like  string `json:"like"`
		Count int    `json:"count"`
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = fmt.Fprintf(l.file, "%s\n", b)
	if json.Unmarshal(b, &entry) != nil || entry.Code == "" {
		return
	}
	if entry.Like != "" {
		l.suppressed += entry.Count
		return
	}
	l.byCode[entry.Code]++
}

// has reports whether there is a line with each of the codes.
func (l *logLines) has(codes []string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !slices.ContainsFunc(codes, func(code string) bool { return l.byCode[code] == 0 })
}

func measure(ctx context.Context, o options, c attackCase, dir string) (r result, err error) {
	r = result{name: c.name}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return r, err
	}
	file, err := os.Create(filepath.Join(dir, "broker.log"))
	if err != nil {
		return r, err
	}
	log := &logLines{byCode: map[string]int{}, file: file}
	defer func() {
		log.mu.Lock()
		defer log.mu.Unlock()
		r.lines, r.suppressed = log.byCode, log.suppressed
		err = errors.Join(err, file.Close())
	}()
	addr, err := broker.FreeAddr()
	if err != nil {
		return r, err
	}
	args := []string{
		"--http", o.http, "--set", "pprof.enable=true", "--set", fmt.Sprintf("memory.limit.bytes=%d", o.limit), "--set", "max.connections=15000",
		"--set", "queued.max.request.bytes=67108864", "--set", "queued.max.response.bytes=67108864", "--set", "record.bytes.max=67108864",
	}
	for _, s := range c.settings {
		args = append(args, "--set", s)
	}
	began := time.Now()
	b, err := broker.Start(broker.Options{Binary: o.weir, Data: filepath.Join(dir, "data"), Listen: addr, Args: args, Line: log.line})
	if err != nil {
		return r, err
	}
	defer func() {
		if b.Running() {
			if stopped := b.Stop(20 * time.Second); stopped != nil {
				err = errors.Join(err, stopped)
			}
		} else {
			err = errors.Join(err, fmt.Errorf("the broker died:\n%s", b.Log()))
		}
	}()
	if err := b.Ready(10 * time.Second); err != nil {
		return r, err
	}
	v, err := newVictim(ctx, b.Kafka)
	if err != nil {
		return r, err
	}
	defer v.close()
	if err := c.prepare(ctx, v); err != nil {
		return r, err
	}
	v.turn(ctx, o.turn/2) // warm up
	var spent int64
	for range o.turns {
		r.calm = append(r.calm, v.turn(ctx, o.turn))
		if r.calmRSS, err = rss(b.PID()); err != nil {
			return r, err
		}
		control, err := startAttack(ctx, o, busyCase, b)
		if err != nil {
			return r, err
		}
		r.busy = append(r.busy, v.turn(ctx, o.turn))
		if _, err := control.end(); err != nil {
			return r, err
		}
		stop := sampleRSS(b.PID(), &r.peakRSS)
		a, err := startAttack(ctx, o, c, b)
		if err != nil {
			stop()
			return r, err
		}
		r.abuse = append(r.abuse, v.turn(ctx, o.turn))
		if c.name == "idle" {
			time.Sleep(6 * time.Second) // until they are quiet, and the collector was at work
			if spent, err = rss(b.PID()); err != nil {
				return r, err
			}
			r.idleBytes = (spent - r.calmRSS) / int64(o.clients)
		}
		for begin := time.Now(); !log.has(c.codes) && time.Since(begin) < 15*time.Second && ctx.Err() == nil; {
			time.Sleep(100 * time.Millisecond) // on a busy machine it takes longer to annoy the broker
		}
		said, err := a.end()
		stop()
		if err != nil {
			return r, err
		}
		r.said = said
		time.Sleep(o.turn / 4)
	}
	time.Sleep(600 * time.Millisecond)
	r.acked, r.lost, err = v.verify(ctx)
	r.took = time.Since(began)
	return r, err
}

// rss is a process's resident memory without the pages of files.
func rss(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		if rest, found := bytes.CutPrefix(line, []byte("RssAnon:")); found {
			kb, err := strconv.ParseInt(string(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte("kB")))), 10, 64)
			return kb << 10, err
		}
	}
	return 0, errors.New("/proc/PID/status has no RssAnon")
}

// sampleRSS raises peak to the most that it sees until it is stopped.
func sampleRSS(pid int, peak *int64) (stop func()) {
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			if n, err := rss(pid); err == nil {
				*peak = max(*peak, n)
			}
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	}()
	return func() { close(done); <-stopped }
}

// attack is the hostile process.
type attack struct {
	cmd *exec.Cmd
	out *bufio.Reader
}

func startAttack(ctx context.Context, o options, c attackCase, b *broker.Broker) (*attack, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	a := &attack{}
	command := append(strings.Fields(o.under), self, "attack", c.name, b.Kafka, b.QUIC, strconv.Itoa(o.clients), strconv.FormatBool(o.short))
	a.cmd = exec.CommandContext(ctx, command[0], command[1:]...)
	a.cmd.Stderr = os.Stderr
	out, err := a.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	a.out = bufio.NewReader(out)
	if err := a.cmd.Start(); err != nil {
		return nil, err
	}
	// An attack that has not begun would make a turn look calm.
	if line, err := a.out.ReadString('\n'); err != nil || strings.TrimSpace(line) != begun {
		_, _ = a.end()
		return nil, fmt.Errorf("the attack did not begin: %q, %w", line, err)
	}
	return a, nil
}

func (a *attack) end() (string, error) {
	_ = a.cmd.Process.Signal(os.Interrupt)
	kill := time.AfterFunc(30*time.Second, func() { _ = a.cmd.Process.Kill() })
	defer kill.Stop()
	said, err := io.ReadAll(a.out)
	return strings.TrimSpace(string(said)), errors.Join(err, a.cmd.Wait())
}
