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

	"golang.org/x/sys/unix"

	"github.com/weirmq/weir/bench/bare"
	"github.com/weirmq/weir/bench/drive"
	"github.com/weirmq/weir/bench/system"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	args := os.Args[1:]
	var err error
	switch {
	case len(args) > 0 && args[0] == "drive":
		err = drive.Main(ctx, args[1:], os.Stdout)
	case len(args) > 0 && args[0] == "bare":
		err = bare.Main(ctx, args[1:], os.Stdout)
	case len(args) > 0 && args[0] == "serve":
		err = bare.ServeMain(ctx, args[1:])
	default:
		err = compare(ctx, args)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// settings is what a comparison is told.
type settings struct {
	peers    system.Peers
	systems  []string
	rounds   int
	window   time.Duration
	bytesMax int64
	settle   time.Duration
	only     string
	quick    bool
	data     string
	out      string
	logBytes int64 // of the log that a broker starts on after kill -9
	flags    string
}

func compare(ctx context.Context, args []string) error {
	var s settings
	var systems string
	var seconds, gigabytes, logGB float64
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&s.peers.Weir, "weir", "bin/weir", "the weir binary")
	f.StringVar(&s.peers.Dir, "peers", "bin/peers", "what bench/peers/install.sh made")
	f.StringVar(&s.peers.Heap, "kafka-heap", "1g", "of Kafka's JVM; its start script's default is 1g")
	f.StringVar(&systems, "systems", "weir,floor,bare,kafka,nats", "what to measure")
	f.IntVar(&s.rounds, "rounds", 5, "how often each cell is measured; medians are shown")
	f.Float64Var(&seconds, "seconds", 3, "how long each cell is measured")
	f.Float64Var(&gigabytes, "gb", 1.5, "a cell ends when it has moved so much")
	f.Float64Var(&logGB, "log-gb", 8, "size of the log that a broker is started on after kill -9")
	f.DurationVar(&s.settle, "settle", 4*time.Second, "how long to wait at most for a quiet moment before a cell")
	f.StringVar(&s.only, "only", "", "only workloads whose name contains one of these, separated by commas")
	f.BoolVar(&s.quick, "quick", false, "a sanity run: one round of short cells of weir, the floor program and the bare loops")
	f.StringVar(&s.data, "data", "", "an existing directory for all data (default: the system's for temporary files)")
	f.StringVar(&s.out, "out", "bin/compare", "prefix of the results: PREFIX.md, PREFIX.html, PREFIX.jsonl")
	list := f.Bool("list", false, "list the cells and stop")
	again := f.Bool("report", false, "write the page again from PREFIX.jsonl and stop")
	if err := f.Parse(args); err != nil {
		return err
	}
	set := map[string]bool{}
	f.Visit(func(fl *flag.Flag) { set[fl.Name] = true })
	if s.quick {
		for name, v := range map[string]string{
			"systems": "weir,floor,bare", "rounds": "1", "seconds": "0.5", "gb": "0.2", "log-gb": "0.1", "settle": "0s",
		} {
			if !set[name] {
				if err := f.Set(name, v); err != nil {
					return err
				}
			}
		}
	}
	s.systems = strings.Split(systems, ",")
	s.window = time.Duration(seconds * float64(time.Second))
	s.bytesMax, s.logBytes = int64(gigabytes*1e9), int64(logGB*1e9)
	s.flags = strings.Join(args, " ")
	if s.rounds < 1 || s.window < 100*time.Millisecond || s.bytesMax < 50e6 {
		return errors.New("-rounds is 1 or more, -seconds 0.1, -gb 0.05")
	}
	if f.NArg() > 0 {
		return fmt.Errorf("%q is not understood", f.Args())
	}
	var err error
	for _, file := range []*string{&s.peers.Weir, &s.peers.Dir, &s.out} {
		if *file, err = filepath.Abs(*file); err != nil {
			return err
		}
	}
	if *again {
		return writeAgain(&s)
	}
	cells, err := plan(&s)
	if err != nil {
		return err
	}
	if *list {
		for _, c := range cells {
			fmt.Println(c)
		}
		return nil
	}
	if len(cells) == 0 {
		return errors.New("nothing is left to measure: look at -only and -systems")
	}
	if err := s.ready(); err != nil {
		return err
	}
	return run(ctx, &s, cells)
}

// known are the systems there are.
var known = []string{"weir", "floor", "bare", "kafka", "nats"}

// ready says what is missing, before anything is measured.
func (s *settings) ready() error {
	var errs []error
	for _, name := range s.systems {
		switch name {
		case "weir":
			errs = append(errs, system.Need(s.peers.Weir))
		case "kafka":
			errs = append(errs, system.Need(filepath.Join(s.peers.Dir, "kafka", "version")), system.Need(s.peers.Librdkafka()))
		case "nats":
			errs = append(errs, system.Need(s.peers.NATS()))
		default:
			if !slices.Contains(known, name) {
				errs = append(errs, fmt.Errorf("there is no system %q; there are %v", name, known))
			}
		}
	}
	if s.data == "" {
		s.data = os.TempDir()
	}
	var st unix.Statfs_t
	if err := unix.Statfs(s.data, &st); err != nil {
		errs = append(errs, fmt.Errorf("%s: %w", s.data, err))
	} else if free, want := int64(st.Bavail)*int64(st.Bsize), s.spaceBytes(); free < want {
		errs = append(errs, fmt.Errorf("%s has %.1f GB free, and up to %.1f GB are used at a time (see -data, -gb, -log-gb)",
			s.data, float64(free)/1e9, float64(want)/1e9))
	}
	return errors.Join(errs...)
}

// spaceBytes is what is on the disk at a time at most: a cell's data twice (a journal beside segments), what Kafka
// has not deleted yet, and the log that brokers are started on.
func (s *settings) spaceBytes() int64 { return 4*s.bytesMax + 2*s.logBytes + 2e9 }
