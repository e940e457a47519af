// Command scale measures one broker with very many partitions and much data, and fails where a bar is missed.
//
//	go run ./jepsen/scale --weir bin/weir --partitions 100000
//	go run ./jepsen/scale --weir bin/weir --partitions 100 --bytes 20GiB
//
// In: the binary, and how much of what. Out: a line for each thing measured, with its bar where there is one, and
// exit code 0 if every bar was kept.
//
// The broker is a real process. It is given partitions, a record in each of them, then --bytes more in few of
// them; it is stopped, started, killed and started again. What it costs is read from outside: /proc, the data
// directory, the line that says ready, /metrics. The bars:
//
//	start after a clean stop            <= 3 s for 10,000 partitions with data
//	start after SIGKILL                 <= 2 s, however much data there is
//	memory of an idle partition         <= 4 KiB, with the file system's left out
//	an idle partition's share of        no thread, no descriptor
//
// Deliberately absent: throughput, which is bench's.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

type options struct {
	weir, data string
	partitions int
	active     int
	bytes      int64
	recordSize int
	fill, keep bool
}

func main() {
	var o options
	size := "2GiB"
	flag.StringVar(&o.weir, "weir", "bin/weir", "the binary to measure")
	flag.StringVar(&o.data, "data", "", "where to make the data directory; by default where temporary files go")
	flag.IntVar(&o.partitions, "partitions", 10_000, "how many there are")
	flag.IntVar(&o.active, "active", 100, "how many of them are written to in the second part")
	flag.StringVar(&size, "bytes", size, "how much is written to those")
	flag.IntVar(&o.recordSize, "record-bytes", 16<<10, "of one record of that")
	flag.BoolVar(&o.fill, "fill", true, "put a record into every partition, so that each has files")
	flag.BoolVar(&o.keep, "keep", false, "keep the data directory")
	flag.Parse()
	var err error
	if o.bytes, err = parseSize(size); err != nil || flag.NArg() > 0 || o.partitions < 1 || o.active < 1 || o.recordSize < 1 {
		fmt.Fprintln(os.Stderr, "scale: wrong usage; see --help")
		os.Exit(2)
	}
	o.active = min(o.active, o.partitions)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

// parseSize reads a number of bytes with an optional KiB, MiB or GiB behind it.
func parseSize(s string) (int64, error) {
	shift := 0
	for i, unit := range []string{"KiB", "MiB", "GiB"} {
		if rest, ok := strings.CutSuffix(s, unit); ok {
			s, shift = rest, 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err == nil && (n < 0 || n > 1<<62>>shift) {
		err = errors.New("out of range")
	}
	return n << shift, err
}
