package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/clients/admin"
	"github.com/weirmq/weir/clients/client"
	"github.com/weirmq/weir/clients/consumer"
)

func (a *app) consumeCommand() *cobra.Command {
	k := &connection{}
	var from, format string
	var count int64
	var stopAtEnd bool
	var partitions []int32
	c := &cobra.Command{
		Use: "consume TOPIC", Short: "Read records", Args: cobra.ExactArgs(1),
		Long: `Read records and write each one's value and a newline to standard output; --format and --output json show more.
It waits for new records until Ctrl-C, unless --count or --stop-at-end ends it.

In a format, %v is the value, %k the key, %h the headers as name=value,..., %o the offset, %p the partition, %t the
timestamp in milliseconds, %T the same as text, %s the value's size, %% a percent sign, \n a newline, \t a tab, \0 a zero
byte. What is null is printed as nothing.`,
		Example: `  weir consume orders                                  what comes from now on
  weir consume orders --from beginning --stop-at-end   what there is
  weir consume orders --from 2026-11-21T08:00:00Z -n 10
  weir consume orders --from 1000 -p 3 --format '%p/%o %k: %v\n'
  weir consume orders --from beginning -e --output json | jq .key`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if from == "" {
				from = "end"
				if stopAtEnd {
					from = "beginning"
				}
			}
			start, err := parseStart(from)
			if err != nil {
				return err
			}
			write, err := parseFormat(format)
			if err != nil {
				return err
			}
			if a.json() {
				if cmd.Flags().Changed("format") {
					return usage("--format and --output json are two ways to print: give one")
				}
				write = writeJSON
			}
			if count < 0 {
				return usage("--count is a number from 0 on")
			}
			topic := args[0]
			cl, done, err := k.open(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			if err := topicExists(cmd.Context(), cl, k.timeout, topic, partitions); err != nil {
				return err
			}
			options := []consumer.Option{}
			for _, p := range partitions {
				options = append(options, consumer.WithPartition(topic, p, start))
			}
			if len(partitions) == 0 {
				options = append(options, consumer.WithTopics(topic), consumer.WithStart(start))
			}
			if stopAtEnd {
				options = append(options, consumer.WithStopAtEnd())
			}
			co, err := consumer.New(cl, options...)
			if err != nil {
				return err
			}
			return errors.Join(a.consumeRecords(cmd.Context(), co, write, count), co.Close())
		},
	}
	k.flags(c)
	f := c.Flags()
	f.StringVar(&from, "from", "", "beginning, end, an offset, or a time (RFC 3339); default end, with --stop-at-end beginning")
	f.Int64VarP(&count, "count", "n", 0, "stop after so many records; 0: do not")
	f.BoolVarP(&stopAtEnd, "stop-at-end", "e", false, "stop at what is the end when the command starts")
	f.Int32SliceVarP(&partitions, "partition", "p", nil, "read these partitions; default all")
	f.StringVarP(&format, "format", "f", `%v\n`, "how to print a record")
	return c
}

// topicExists tells at once of a topic or partition that is not there: a consumer would wait for it.
func topicExists(ctx context.Context, cl *client.Client, timeout time.Duration, topic string, partitions []int32) error {
	return withAdmin(ctx, cl, timeout, func(ctx context.Context, ad *admin.Admin) error {
		topics, err := ad.DescribeTopics(ctx, topic)
		if err != nil {
			return err
		}
		if len(topics) != 1 || topics[0].Err != nil {
			if len(topics) == 1 && !errors.Is(topics[0].Err, kerr.UnknownTopicOrPartition) {
				return topics[0].Err
			}
			return fail("topic-not-found", "`weir topic ls` lists what there is", fmt.Errorf("there is no topic %q", topic))
		}
		for _, p := range partitions {
			if p < 0 || int(p) >= len(topics[0].Partitions) {
				return fail("partition-not-found", "leave out --partition to read all",
					fmt.Errorf("%s has partitions 0 to %d, not %d", topic, len(topics[0].Partitions)-1, p))
			}
		}
		return nil
	})
}

func (a *app) consumeRecords(ctx context.Context, co *consumer.Consumer, write recordWriter, count int64) error {
	out := bufio.NewWriterSize(a.stdout, 256<<10)
	var batch []consumer.Record
	for n := int64(0); ; {
		var err error
		clear(batch)
		batch, err = co.PollInto(ctx, batch[:0])
		for i := range batch {
			if werr := write(out, &batch[i]); werr != nil {
				return werr
			}
			if n++; n == count {
				return out.Flush()
			}
		}
		if ferr := out.Flush(); ferr != nil {
			return ferr
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), ctx.Err() != nil: // the user's Ctrl-C is an orderly end
			return nil
		default:
			return clientError(err)
		}
	}
}

func parseStart(s string) (consumer.Start, error) {
	switch s {
	case "beginning", "earliest", "start":
		return consumer.Earliest, nil
	case "end", "latest":
		return consumer.Latest, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 {
		return consumer.At(n), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return consumer.Since(t), nil
		}
	}
	return consumer.Start{}, usage("--from is beginning, end, an offset, or a time such as 2026-11-21T08:00:00Z, not %q", s)
}

// recordWriter prints one record.
type recordWriter func(*bufio.Writer, *consumer.Record) error

// parseFormat makes a writer of a format with the tokens that the command's help lists.
func parseFormat(format string) (recordWriter, error) {
	var parts []recordWriter
	text := func(s string) {
		parts = append(parts, func(w *bufio.Writer, _ *consumer.Record) error {
			_, err := w.WriteString(s)
			return err
		})
	}
	for format != "" {
		i := strings.IndexAny(format, `%\`)
		if i < 0 {
			text(format)
			break
		}
		if i > 0 {
			text(format[:i])
		}
		if i+1 == len(format) {
			return nil, usage("--format ends with a %q that says nothing", format[i:])
		}
		token := format[i : i+2]
		format = format[i+2:]
		if s, ok := escapes[token]; ok {
			text(s)
		} else if p, ok := tokens[token]; ok {
			parts = append(parts, p)
		} else {
			return nil, usage("--format: %q means nothing; `weir consume --help` lists what does", token)
		}
	}
	return func(w *bufio.Writer, r *consumer.Record) error {
		for _, p := range parts {
			if err := p(w, r); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

var escapes = map[string]string{`\n`: "\n", `\t`: "\t", `\r`: "\r", `\0`: "\x00", `\\`: `\`, `%%`: "%"}

var tokens = map[string]recordWriter{
	"%v": func(w *bufio.Writer, r *consumer.Record) error { _, err := w.Write(r.Value); return err },
	"%k": func(w *bufio.Writer, r *consumer.Record) error { _, err := w.Write(r.Key); return err },
	"%o": func(w *bufio.Writer, r *consumer.Record) error { return writeInt(w, r.Offset) },
	"%p": func(w *bufio.Writer, r *consumer.Record) error { return writeInt(w, int64(r.Partition)) },
	"%t": func(w *bufio.Writer, r *consumer.Record) error { return writeInt(w, r.Timestamp.UnixMilli()) },
	"%T": func(w *bufio.Writer, r *consumer.Record) error {
		_, err := w.WriteString(r.Timestamp.UTC().Format("2006-01-02T15:04:05.000Z07:00"))
		return err
	},
	"%s": func(w *bufio.Writer, r *consumer.Record) error { return writeInt(w, int64(len(r.Value))) },
	"%h": func(w *bufio.Writer, r *consumer.Record) error {
		for i, h := range r.Headers {
			if i > 0 {
				_ = w.WriteByte(',') // the writer keeps its first error
			}
			_, _ = w.Write(h.Key)
			_ = w.WriteByte('=')
			_, _ = w.Write(h.Value)
		}
		return nil
	},
}

func writeInt(w *bufio.Writer, n int64) error {
	_, err := w.Write(strconv.AppendInt(w.AvailableBuffer(), n, 10))
	return err
}

// recordJSON is a record as one line of JSON. Bytes that are no text are in the field named _base64.
type recordJSON struct {
	Topic       string       `json:"topic"`
	Partition   int32        `json:"partition"`
	Offset      int64        `json:"offset"`
	TimestampMs int64        `json:"timestamp_ms"`
	Key         *string      `json:"key"`
	KeyBase64   []byte       `json:"key_base64,omitempty"`
	Value       *string      `json:"value"`
	ValueBase64 []byte       `json:"value_base64,omitempty"`
	Headers     []headerJSON `json:"headers,omitempty"`
}

type headerJSON struct {
	Name        string  `json:"name"`
	Value       *string `json:"value"`
	ValueBase64 []byte  `json:"value_base64,omitempty"`
}

func writeJSON(w *bufio.Writer, r *consumer.Record) error {
	out := recordJSON{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, TimestampMs: r.Timestamp.UnixMilli()}
	out.Key, out.KeyBase64 = textOrBytes(r.Key)
	out.Value, out.ValueBase64 = textOrBytes(r.Value)
	for _, h := range r.Headers {
		j := headerJSON{Name: string(h.Key)}
		j.Value, j.ValueBase64 = textOrBytes(h.Value)
		out.Headers = append(out.Headers, j)
	}
	e := newLineEncoder(w)
	return e.Encode(&out)
}

// textOrBytes is b as text if it is some, as bytes otherwise, and neither if it is null.
func textOrBytes(b []byte) (*string, []byte) {
	switch {
	case b == nil:
		return nil, nil
	case utf8.Valid(b):
		s := string(b)
		return &s, nil
	}
	return nil, b
}
