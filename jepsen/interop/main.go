// Command interop lets clients that others wrote work with a real broker.
//
//	go run ./jepsen/interop --weir bin/weir [--clients "kcat java-4"] [--results FILE] [--table FILE] [--logs DIR]
//
// It has two parts.
//
// The commands: kcat, which is librdkafka, and franz-go over TCP and over QUIC, beside weir's own command line. Each
// reads what the others wrote. In: text files to send (the *.log of a directory; by default some are made, with
// Windows line ends, empty lines, bytes that are no text, no newline at the end).
//
// The clients: eleven of them in six languages (catalog.go), each a program of its own under this directory that
// answers requests of one line (adapter.go). Each makes topics, writes and reads every kind of record in every codec
// it has, asks for offsets by number and by time, joins a group of three of which one is killed, and reads what every
// other wrote. A tap between clients and broker notes which version of which request each chose. install.sh makes the
// programs, and says what it needs when it is not there.
//
// Out: one line per case, then how many passed and failed; exit code 1 if any failed. --results writes all of it
// as JSON, --table writes it into docs/CLIENTS.md.
//
// A case passes when what comes out equals what went in: keys, values, headers, times, null apart from empty,
// order, bytes of files. Whether a codec was used is read from the batches that a consumer is given. What a client
// has no words for (kcat cannot set times) is listed in the catalog, and shown in the table.
//
// Deliberately absent: transactions, which the broker does not serve yet, and failures of the broker:
// jepsen/crash has those.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/weirmq/weir/jepsen/broker"
)

type options struct {
	weir, source, logs, clients, results, table string
	parallel                                    int
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == "kcat" {
		if err := serveKcat(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, "interop kcat:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.StringVar(&o.weir, "weir", "bin/weir", "the binary to test")
	flag.StringVar(&o.source, "source", "jepsen/interop", "where the clients' programs are")
	flag.StringVar(&o.logs, "logs", "", "a directory whose *.log files are sent; by default files are made")
	flag.StringVar(&o.clients, "clients", "", "which clients to try, by name; all by default")
	flag.StringVar(&o.results, "results", "", "a file for the results, as JSON")
	flag.StringVar(&o.table, "table", "", "a document that gets the results as tables")
	flag.IntVar(&o.parallel, "parallel", 3, "how many clients to try at a time")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "interop: wrong usage; see --help")
		os.Exit(2)
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
}

func run(o options) (err error) {
	chosen, err := selectClients(o.clients)
	if err != nil {
		return err
	}
	if o.weir, err = filepath.Abs(o.weir); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "weir-interop-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	m := &matrix{}
	trials, err := m.prepare(o.source, chosen)
	if err != nil {
		return err
	}
	var passed, failed int
	if slices.ContainsFunc(chosen, func(c client) bool { return c.name == "kcat" }) {
		passed, failed, err = runCommands(o, dir)
		if err != nil && failed == 0 {
			return err
		}
	}
	if failed := m.run(o.weir, dir, trials, o.parallel); failed != nil {
		return errors.Join(err, failed)
	}
	p, f := m.counts()
	passed, failed = passed+p, failed+f
	report := m.report(trials)
	if o.results != "" {
		err = errors.Join(err, writeReport(o.results, report))
	}
	if o.table != "" {
		err = errors.Join(err, writeTable(o.table, report))
	}
	fmt.Printf("interop: %d passed, %d failed\n", passed, failed)
	if failed > 0 {
		err = errors.Join(err, errors.New("the cases that begin with FAIL failed"))
	}
	return err
}

// runCommands lets kcat, franz-go and weir's own commands read what the others wrote.
func runCommands(o options, dir string) (passed, failed int, err error) {
	files, err := readLogs(o.logs)
	if err != nil {
		return 0, 0, err
	}
	b, err := broker.Start(broker.Options{
		Binary: o.weir, Data: filepath.Join(dir, "data"), Listen: "127.0.0.1:0", Args: []string{"--http", ""},
	})
	if err != nil {
		return 0, 0, err
	}
	defer func() {
		if b.Running() {
			err = errors.Join(err, b.Kill())
		}
	}()
	if err := b.Ready(10 * time.Second); err != nil {
		return 0, 0, err
	}
	s, err := newSuite(o.weir, dir, b)
	if err != nil {
		return 0, 0, err
	}
	s.metadata()
	s.text()
	s.spread()
	s.places()
	s.idempotence()
	s.franzToFranz()
	s.franzToOthers()
	s.othersToFranz()
	s.versions()
	s.byLine(files)
	s.exact(files)
	s.whole(files)
	s.try("the broker stops cleanly", func() error { return b.Stop(15 * time.Second) })
	if s.failed > 0 {
		err = fmt.Errorf("the end of the broker's log:\n%s", b.Log())
	}
	return s.passed, s.failed, err
}
