// Command interop lets a client that others wrote work with a real broker: kcat, which is librdkafka, beside
// weir's own command line, each reading what the other wrote.
//
//	go run ./jepsen/interop --weir bin/weir [FILE...]
//
// Files are sent line by line and must come back byte for byte. Without any, some are made: text, long lines,
// lines of arbitrary bytes.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/weirmq/weir/jepsen/broker"
)

func main() {
	weir := flag.String("weir", "bin/weir", "the binary to test")
	flag.Parse()
	if err := run(*weir, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
}

var codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// suite is one run.
type suite struct {
	weir string // the binary
	addr string
	dir  string

	passed int
	errs   []error
}

func run(weir string, files []string) (err error) {
	if _, err := exec.LookPath("kcat"); err != nil {
		return errors.New("kcat is not installed; it is Debian's package kcat")
	}
	dir, err := os.MkdirTemp("", "weir-interop-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
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
	s := &suite{weir: weir, addr: b.Kafka, dir: dir}
	if len(files) == 0 {
		if files, err = makeFiles(dir); err != nil {
			return err
		}
	}
	s.metadata()
	s.records()
	s.offsets()
	s.files(files)
	if err := b.Stop(15 * time.Second); err != nil {
		s.errs = append(s.errs, err)
	}
	fmt.Printf("interop: %d passed, %d failed\n", s.passed, len(s.errs))
	return errors.Join(s.errs...)
}

// check is one case: what came out must be what is wanted.
func (s *suite) check(name string, got, want []byte, err error) {
	if err == nil && !bytes.Equal(got, want) {
		at := 0
		for at < min(len(got), len(want)) && got[at] == want[at] {
			at++
		}
		err = fmt.Errorf("%d bytes instead of %d; they differ from byte %d on: %q instead of %q",
			len(got), len(want), at, clip(got[at:]), clip(want[at:]))
	}
	if err != nil {
		fmt.Printf("FAIL %s\n", name)
		s.errs = append(s.errs, fmt.Errorf("%s: %w", name, err))
		return
	}
	s.passed++
	fmt.Printf("ok   %s\n", name)
}

func clip(b []byte) []byte { return b[:min(len(b), 60)] }

// kcat runs kcat on the broker with some input.
func (s *suite) kcat(stdin []byte, args ...string) ([]byte, error) {
	return output(stdin, "kcat", append([]string{"-b", s.addr, "-q", "-X", "topic.metadata.refresh.interval.ms=-1"}, args...)...)
}

// cli runs a command of weir on the broker with some input.
func (s *suite) cli(stdin []byte, command string, args ...string) ([]byte, error) {
	return output(stdin, s.weir, append(append(strings.Fields(command), "--brokers", s.addr), args...)...)
}

func output(stdin []byte, name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	cmd.WaitDelay = time.Second
	var out, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	t := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer t.Stop()
	if err := cmd.Wait(); err != nil {
		return out.Bytes(), fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err, stderr.Bytes())
	}
	return out.Bytes(), nil
}

func (s *suite) create(topic string, partitions int) error {
	_, err := s.cli(nil, "topic create", topic, "--partitions", fmt.Sprint(partitions))
	return err
}

func (s *suite) metadata() {
	err := s.create("seen", 5)
	var out []byte
	if err == nil {
		out, err = s.kcat(nil, "-L", "-t", "seen")
	}
	if err == nil && !bytes.Contains(out, []byte(`topic "seen" with 5 partitions`)) {
		err = fmt.Errorf("kcat sees: %s", out)
	}
	s.check("kcat sees a topic that weir made", nil, nil, err)

	_, err = s.kcat([]byte("x\n"), "-P", "-t", "born-on-demand")
	if err == nil {
		out, err = s.cli(nil, "topic describe", "born-on-demand")
	}
	if err == nil && !bytes.Contains(out, []byte("topic born-on-demand,")) {
		err = fmt.Errorf("weir sees: %s", out)
	}
	s.check("weir sees a topic that kcat's first record made", nil, nil, err)
}

// records sends keys, values and headers, in each codec, each way.
func (s *suite) records() {
	var in, want bytes.Buffer
	for i := range 300 {
		key, value := fmt.Sprintf("key-%d", i%17), strings.Repeat(fmt.Sprintf("value %d of many, ", i), i%9+1)
		fmt.Fprintf(&in, "%s:%s\n", key, value)
		fmt.Fprintf(&want, "%d %s %s from=here,empty=\n", i, key, value)
	}
	readers := map[string]func(topic string) ([]byte, error){
		"kcat": func(topic string) ([]byte, error) {
			return s.kcat(nil, "-C", "-t", topic, "-e", "-o", "beginning", "-f", `%o %k %s %h\n`)
		},
		"weir": func(topic string) ([]byte, error) {
			return s.cli(nil, "consume", topic, "--stop-at-end", "--format", `%o %k %v %h\n`)
		},
	}
	writers := map[string]func(topic, codec string) error{
		"kcat": func(topic, codec string) error {
			_, err := s.kcat(in.Bytes(), "-P", "-t", topic, "-K", ":", "-z", codec, "-H", "from=here", "-H", "empty=", "-X", "enable.idempotence=true")
			return err
		},
		"weir": func(topic, codec string) error {
			_, err := s.cli(in.Bytes(), "produce", topic, "--key-delimiter", ":", "--compression", codec, "--header", "from=here", "--header", "empty=")
			return err
		},
	}
	for _, writer := range []string{"kcat", "weir"} {
		for _, codec := range codecs {
			topic := "records-" + writer + "-" + codec
			err := s.create(topic, 1)
			if err == nil {
				err = writers[writer](topic, codec)
			}
			for _, reader := range []string{"kcat", "weir"} {
				got, rerr := []byte(nil), err
				if err == nil {
					got, rerr = readers[reader](topic)
				}
				s.check(fmt.Sprintf("%s writes keys, values and headers in %s, %s reads them", writer, codec, reader), got, want.Bytes(), rerr)
			}
		}
	}
	s.spread()
}

// spread checks that equal keys meet in one partition, whoever writes them: both use Java's murmur2.
func (s *suite) spread() {
	err := s.create("spread", 7)
	var in bytes.Buffer
	for i := range 50 {
		fmt.Fprintf(&in, "key-%d:x\n", i)
	}
	if err == nil {
		_, err = s.kcat(in.Bytes(), "-P", "-t", "spread", "-K", ":", "-X", "topic.partitioner=murmur2")
	}
	var first, second []byte
	if err == nil {
		first, err = s.sortedPlaces()
	}
	if err == nil {
		_, err = s.cli(in.Bytes(), "produce", "spread", "--key-delimiter", ":")
	}
	if err == nil {
		second, err = s.sortedPlaces()
	}
	s.check("weir places keys where murmur2 clients do", second, first, err)
}

// sortedPlaces is every distinct "partition key" of the topic spread, in order.
func (s *suite) sortedPlaces() ([]byte, error) {
	out, err := s.cli(nil, "consume", "spread", "--stop-at-end", "--format", `%p %k\n`)
	if err != nil {
		return nil, err
	}
	return output(out, "sort", "-u")
}

// offsets asks for places by number, from the end, and by time.
func (s *suite) offsets() {
	err := s.create("places", 1)
	if err == nil {
		_, err = s.kcat(lines(0, 10), "-P", "-t", "places")
	}
	time.Sleep(20 * time.Millisecond)
	between := fmt.Sprint(time.Now().UnixMilli())
	time.Sleep(20 * time.Millisecond)
	if err == nil {
		_, err = s.kcat(lines(10, 20), "-P", "-t", "places")
	}
	read := func(args ...string) ([]byte, error) {
		if err != nil {
			return nil, err
		}
		return s.kcat(nil, append([]string{"-C", "-t", "places", "-e"}, args...)...)
	}
	got, rerr := read("-o", "15")
	s.check("kcat reads from an offset", got, lines(15, 20), rerr)
	got, rerr = read("-o", "-3")
	s.check("kcat reads the last three", got, lines(17, 20), rerr)
	got, rerr = read("-o", "s@"+between)
	s.check("kcat reads from a time", got, lines(10, 20), rerr)
	got, rerr = read("-o", "s@0", "-c", "4")
	s.check("kcat reads the first four", got, lines(0, 4), rerr)
	got, rerr = s.kcat(nil, "-Q", "-t", "places:0:"+between)
	s.check("kcat asks for an offset by time", got, []byte("places [0] offset 10\n"), rerr)
}

func lines(from, to int) []byte {
	var b bytes.Buffer
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.Bytes()
}

// files sends files through every pair of clients.
func (s *suite) files(files []string) {
	write := map[string]func(topic string, b []byte) error{
		"kcat": func(topic string, b []byte) error {
			_, err := s.kcat(b, "-P", "-t", topic, "-p", "0", "-z", "snappy")
			return err
		},
		"weir": func(topic string, b []byte) error {
			_, err := s.cli(b, "produce", topic, "--partition", "0", "--compression", "zstd")
			return err
		},
	}
	read := map[string]func(topic string) ([]byte, error){
		"kcat": func(topic string) ([]byte, error) {
			return s.kcat(nil, "-C", "-t", topic, "-p", "0", "-e", "-o", "beginning")
		},
		"weir": func(topic string) ([]byte, error) { return s.cli(nil, "consume", topic, "--stop-at-end") },
	}
	for _, path := range files {
		name := filepath.Base(path)
		b, err := os.ReadFile(path)
		if err != nil {
			s.check(name, nil, nil, err)
			continue
		}
		want := b
		if len(want) > 0 && want[len(want)-1] != '\n' {
			want = append(want[:len(want):len(want)], '\n') // a consumer ends every record with one
		}
		for i, writer := range []string{"kcat", "weir"} {
			topic := fmt.Sprintf("file-%d-%s", i, strings.Map(topicRune, name))
			err := s.create(topic, 1)
			if err == nil {
				err = write[writer](topic, b)
			}
			for _, reader := range []string{"kcat", "weir"} {
				got, rerr := []byte(nil), err
				if err == nil {
					got, rerr = read[reader](topic)
				}
				s.check(fmt.Sprintf("%s, %d bytes, goes from %s to %s", name, len(b), writer, reader), got, want, rerr)
			}
		}
	}
}

// topicRune replaces what may not stand in a topic's name.
func topicRune(r rune) rune {
	if r == '.' || r == '-' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
		return r
	}
	return '_'
}

// makeFiles makes files to send. None has an empty line, which kcat does not send.
func makeFiles(dir string) ([]string, error) {
	r := rand.New(rand.NewPCG(1, 2))
	var text, long, binary bytes.Buffer
	for i := range 5000 {
		fmt.Fprintf(&text, "2026-11-21T08:%02d:%02d INFO worker-%d request %x took %d ms\n", i/60%60, i%60, r.IntN(9), r.Uint64(), r.IntN(900))
	}
	for i := range 40 {
		fmt.Fprintf(&long, "%s\n", strings.Repeat(fmt.Sprintf("%d;", i), 1+r.IntN(90_000)))
	}
	for range 2000 {
		line := make([]byte, 1+r.IntN(300))
		for i := range line {
			if line[i] = byte(r.Uint32()); line[i] == '\n' {
				line[i] = 0
			}
		}
		binary.Write(append(line, '\n'))
	}
	var files []string
	for name, b := range map[string][]byte{"text.log": text.Bytes(), "long.log": long.Bytes(), "bytes.bin": binary.Bytes()} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			return nil, err
		}
		files = append(files, path)
	}
	return files, nil
}
