package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// serveKcat is kcat's program: it answers requests by running kcat. It runs in a process of its own, as all
// clients' programs do.
func serveKcat(brokers, id string) error {
	k := &kcat{base: []string{"-b", brokers, "-q", "-X", "client.id=" + id, "-X", "topic.metadata.refresh.interval.ms=-1"}}
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		answer := map[string]any{}
		if ok, err := k.answer(line); err != nil {
			answer["error"] = err.Error()
		} else {
			answer["ok"] = ok
		}
		out, err := json.Marshal(answer)
		if err != nil {
			return err
		}
		if _, err := os.Stdout.Write(append(out, '\n')); err != nil {
			return err
		}
	}
}

type kcat struct{ base []string }

type kcatRequest struct {
	Op, Topic, Codec string
	Partition        int
	Idempotent       bool
	MaxBytes         int `json:"max_bytes"`
	Records          []record
	Count            int
	From             struct {
		Offset, Time *int64
		Begin        bool
	}
	Times []int64
}

func (k *kcat) run(stdin []byte, args ...string) ([]byte, error) {
	return output(stdin, "kcat", append(append([]string{}, k.base...), args...)...)
}

func (k *kcat) answer(line []byte) (any, error) {
	var r kcatRequest
	if err := json.Unmarshal(line, &r); err != nil {
		return nil, err
	}
	switch r.Op {
	case "hello":
		return k.hello()
	case "list_topics", "describe_topic", "describe_cluster":
		return k.metadata(r)
	case "produce":
		return map[string]any{}, k.produce(r)
	case "consume":
		records, err := k.consume(r)
		return map[string]any{"records": records}, err
	case "offsets":
		return k.offsets(r)
	}
	return nil, fmt.Errorf("kcat has no %s", r.Op)
}

func (k *kcat) hello() (any, error) {
	out, err := output(nil, "kcat", "-V")
	if err != nil {
		return nil, err
	}
	version := regexp.MustCompile(`Version (\S+) .*librdkafka ([0-9.]+)`).FindSubmatch(out)
	if version == nil {
		return nil, fmt.Errorf("kcat -V says %q", out)
	}
	return about{Version: fmt.Sprintf("%s (librdkafka %s)", version[1], version[2]), Language: "C"}, nil
}

func (k *kcat) metadata(r kcatRequest) (any, error) {
	args := []string{"-L", "-J"}
	if r.Op == "describe_topic" {
		args = append(args, "-t", r.Topic)
	}
	out, err := k.run(nil, args...)
	if err != nil {
		return nil, err
	}
	var got struct {
		ControllerID int `json:"controllerid"`
		Brokers      []any
		Topics       []struct {
			Topic      string
			Partitions []any
		}
	}
	if err := json.Unmarshal(out, &got); err != nil {
		return nil, err
	}
	switch r.Op {
	case "list_topics":
		names := []string{}
		for _, t := range got.Topics {
			names = append(names, t.Topic)
		}
		return map[string]any{"topics": names}, nil
	case "describe_topic":
		for _, t := range got.Topics {
			if t.Topic == r.Topic {
				return map[string]any{"partitions": len(t.Partitions)}, nil
			}
		}
		return nil, fmt.Errorf("kcat does not see %s", r.Topic)
	}
	return map[string]any{"brokers": len(got.Brokers), "controller": got.ControllerID}, nil
}

// Delimiters that are in no record.
const (
	keyEnd    = "<key|end>"
	recordEnd = "<record|end>"
)

// produce runs kcat once for every stretch of records that one command line can write.
func (k *kcat) produce(r kcatRequest) error {
	for from := 0; from < len(r.Records); {
		to := from + 1
		for to < len(r.Records) && kcatFlags(r.Records[to]) == kcatFlags(r.Records[from]) {
			to++
		}
		if err := k.produceAlike(r, r.Records[from:to]); err != nil {
			return err
		}
		from = to
	}
	return nil
}

// kcatFlags is what kcat is told on its command line about a record.
func kcatFlags(r record) string {
	args, _ := json.Marshal(kcatArgs(r)) // strings
	return string(args)
}

func kcatArgs(r record) []string {
	args := []string{"-p", strconv.Itoa(int(r.Partition))}
	if hasNullAndEmpty(r) {
		panic("kcat cannot write null and empty in one record") // the harness does not ask for it
	}
	if r.Key == nil || r.Value == nil {
		args = append(args, "-Z")
	}
	for _, h := range r.Headers {
		if h.Value == nil {
			args = append(args, "-H", h.Name)
		} else {
			args = append(args, "-H", h.Name+"="+string(h.Value))
		}
	}
	return args
}

func (k *kcat) produceAlike(r kcatRequest, records []record) error {
	args := append([]string{"-P", "-t", r.Topic, "-K", keyEnd, "-D", recordEnd, "-z", r.Codec, "-X", "linger.ms=20"}, kcatArgs(records[0])...)
	args = append(args, "-X", fmt.Sprintf("message.max.bytes=%d", r.MaxBytes), "-X", fmt.Sprintf("enable.idempotence=%v", r.Idempotent))
	if r.Idempotent {
		args = append(args, "-X", "batch.num.messages=10")
	}
	// Every record has both delimiters; with -Z what is empty is null, without it what is empty is empty.
	var in bytes.Buffer
	for _, rec := range records {
		in.Write(rec.Key)
		in.WriteString(keyEnd)
		in.Write(rec.Value)
		in.WriteString(recordEnd)
	}
	_, err := k.run(in.Bytes(), args...)
	return err
}

// consume lets kcat write every record with its lengths before it.
func (k *kcat) consume(r kcatRequest) ([]record, error) {
	from := "beginning"
	switch {
	case r.From.Offset != nil:
		from = strconv.FormatInt(*r.From.Offset, 10)
	case r.From.Time != nil:
		from = "s@" + strconv.FormatInt(*r.From.Time, 10)
	}
	out, err := k.run(nil, "-C", "-t", r.Topic, "-p", strconv.Itoa(r.Partition), "-o", from, "-c", strconv.Itoa(r.Count), "-u",
		"-X", "fetch.message.max.bytes=4194304", "-X", "check.crcs=true", "-f", `%p %o %T %K %S %k%s%h`+recordEnd)
	if err != nil {
		return nil, err
	}
	records := []record{}
	for len(out) > 0 {
		var rec record
		if rec, out, err = kcatRecord(out); err != nil {
			return nil, err
		}
		records = append(records, rec)
	}
	return records, nil
}

// kcatRecord reads one record of kcat's output.
func kcatRecord(b []byte) (r record, rest []byte, err error) {
	var numbers [5]int64
	for i := range numbers {
		word, after, found := bytes.Cut(b, []byte(" "))
		if !found {
			return r, nil, fmt.Errorf("kcat wrote %q", clip(b))
		}
		if numbers[i], err = strconv.ParseInt(string(word), 10, 64); err != nil {
			return r, nil, err
		}
		b = after
	}
	r = record{Partition: int32(numbers[0]), Offset: numbers[1], TimeMs: numbers[2], Headers: []header{}}
	for _, field := range []struct {
		length int64
		to     *[]byte
	}{{numbers[3], &r.Key}, {numbers[4], &r.Value}} {
		if field.length < 0 {
			continue
		}
		if int64(len(b)) < field.length {
			return r, nil, fmt.Errorf("kcat's output ends early, in offset %d", r.Offset)
		}
		*field.to, b = b[:field.length:field.length], b[field.length:]
	}
	headers, rest, found := bytes.Cut(b, []byte(recordEnd))
	if !found {
		return r, nil, fmt.Errorf("kcat's output ends early, in the headers of offset %d", r.Offset)
	}
	if len(headers) > 0 {
		for part := range strings.SplitSeq(string(headers), ",") {
			name, value, _ := strings.Cut(part, "=")
			h := header{Name: name, Value: []byte(value)}
			if value == "NULL" {
				h.Value = nil
			}
			r.Headers = append(r.Headers, h)
		}
	}
	return r, rest, nil
}

func (k *kcat) offsets(r kcatRequest) (any, error) {
	query := func(at int64) (int64, error) {
		out, err := k.run(nil, "-Q", "-t", fmt.Sprintf("%s:%d:%d", r.Topic, r.Partition, at))
		if err != nil {
			return 0, err
		}
		fields := strings.Fields(string(out))
		if len(fields) == 0 {
			return 0, errors.New("kcat -Q said nothing")
		}
		return strconv.ParseInt(fields[len(fields)-1], 10, 64)
	}
	begin, err := query(-2)
	if err != nil {
		return nil, err
	}
	end, err := query(-1)
	if err != nil {
		return nil, err
	}
	at := []int64{}
	for _, ms := range r.Times {
		o, err := query(ms)
		if err != nil {
			return nil, err
		}
		at = append(at, o)
	}
	return map[string]any{"begin": begin, "end": end, "at": at}, nil
}

// kcatMember runs kcat itself, so that a kill hits it.
func kcatMember(brokers, id, group, topic string) (program string, args []string) {
	return "kcat", []string{
		"-b", brokers, "-G", group, "-X", "client.id=" + id, "-X", "session.timeout.ms=6000", "-X", "heartbeat.interval.ms=500",
		"-X", "auto.offset.reset=earliest", "-X", "auto.commit.interval.ms=200", "-u",
		"-f", `{"event":"record","p":%p,"o":%o,"v":"%s"}` + "\n", topic,
	}
}
