// Command go is the program of three Go clients, for jepsen/interop: `go sarama BROKERS ID` answers requests of one
// line each; `go sarama BROKERS ID member GROUP TOPIC` is a member of a group until its stdin ends.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

const patience = 50 * time.Second

type record struct {
	Partition int32    `json:"p"`
	Offset    int64    `json:"o"`
	Key       []byte   `json:"k"`
	Value     []byte   `json:"v"`
	Headers   []header `json:"h"`
	TimeMs    int64    `json:"t"`
}

type header struct {
	Name  string `json:"n"`
	Value []byte `json:"v"`
}

type request struct {
	Op, Topic, Group, Codec string
	Partition               int32
	Partitions, Count       json.RawMessage // a number or a list
	Configs                 map[string]string
	Idempotent              bool
	MaxBytes                int `json:"max_bytes"`
	Records                 []record
	From                    struct {
		Offset, Time *int64
		Begin        bool
	}
	Offset int64
	Times  []int64
}

func (r *request) number(raw json.RawMessage) int {
	var n int
	_ = json.Unmarshal(raw, &n) // a missing number is 0
	return n
}

func (r *request) list(raw json.RawMessage) []int32 {
	var l []int32
	_ = json.Unmarshal(raw, &l) // a missing list is empty
	return l
}

// library is one client.
type library interface {
	answer(r *request) (any, error)
	// member consumes and commits until stop is closed, and says both.
	member(group, topic string, stop <-chan struct{}) error
}

type result map[string]any

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 && len(args) != 6 {
		return errors.New("usage: CLIENT BROKERS ID [member GROUP TOPIC]")
	}
	brokers, id := strings.Split(args[1], ","), args[2]
	var (
		lib    library
		module string
	)
	switch args[0] {
	case "sarama":
		lib, module = &saramaClient{brokers: brokers, id: id}, "github.com/IBM/sarama"
	case "kafka-go":
		lib, module = newKafkaGo(brokers, id), "github.com/segmentio/kafka-go"
	case "franz-go":
		f, err := newFranz(brokers, id)
		if err != nil {
			return err
		}
		lib, module = f, "github.com/twmb/franz-go"
	default:
		return fmt.Errorf("no client is called %s", args[0])
	}
	if len(args) == 6 {
		stop := make(chan struct{})
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			close(stop)
		}()
		return lib.member(args[4], args[5], stop)
	}
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var r request
		err = json.Unmarshal(line, &r)
		var ok any
		switch {
		case err != nil:
		case r.Op == "hello":
			ok = result{"version": versionOf(module), "language": strings.Replace(runtime.Version(), "go", "Go ", 1)}
		default:
			ok, err = lib.answer(&r)
		}
		if err != nil {
			say(result{"error": err.Error()})
		} else {
			say(result{"ok": ok})
		}
	}
}

func versionOf(module string) string {
	info, _ := debug.ReadBuildInfo()
	for _, dep := range info.Deps {
		if dep.Path == module {
			return strings.TrimPrefix(dep.Version, "v")
		}
	}
	return ""
}

var stdout sync.Mutex

// say writes one line.
func say(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	stdout.Lock()
	defer stdout.Unlock()
	_, _ = os.Stdout.Write(append(b, '\n')) // whoever does not listen is gone
}

func sayRecord(p int32, o int64, v []byte) {
	say(result{"event": "record", "p": p, "o": o, "v": string(v)})
}

func sayCommitted(p int32, o int64) { say(result{"event": "committed", "p": p, "o": o}) }
