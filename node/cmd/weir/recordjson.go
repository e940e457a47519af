package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/weirmq/weir/clients/consumer"
	"github.com/weirmq/weir/clients/producer"
)

// recordJSON is a record as one line of JSON: what consume --output json writes, and produce --format json
// reads. Bytes that are no text are in the field named _base64, and then the plain one is null.
type recordJSON struct {
	Topic       string       `json:"topic"`
	Partition   *int32       `json:"partition"`
	Offset      *int64       `json:"offset"`
	TimestampMs *int64       `json:"timestamp_ms"`
	Key         *string      `json:"key"`
	KeyBase64   []byte       `json:"key_base64,omitempty"`
	Value       *string      `json:"value"`
	ValueBase64 []byte       `json:"value_base64,omitempty"`
	Headers     []headerJSON `json:"headers,omitempty"`
}

type headerJSON struct {
	Name        string  `json:"name"`
	NameBase64  []byte  `json:"name_base64,omitempty"`
	Value       *string `json:"value"`
	ValueBase64 []byte  `json:"value_base64,omitempty"`
}

// recordSchema describes recordJSON for --help and the documentation.
const recordSchema = `  topic         text
  partition     number
  offset        number
  timestamp_ms  milliseconds since 1970
  key, value    text, or null; bytes that are no text (UTF-8) are in key_base64, value_base64 instead
  headers       list of name and value (or name_base64, value_base64); left out if there are none`

func newRecordJSON(r *consumer.Record) recordJSON {
	ms := r.Timestamp.UnixMilli()
	out := recordJSON{Topic: r.Topic, Partition: &r.Partition, Offset: &r.Offset, TimestampMs: &ms}
	out.Key, out.KeyBase64 = textOrBytes(r.Key)
	out.Value, out.ValueBase64 = textOrBytes(r.Value)
	for _, h := range r.Headers {
		var j headerJSON
		if utf8.Valid(h.Key) {
			j.Name = string(h.Key)
		} else {
			j.NameBase64 = h.Key
		}
		j.Value, j.ValueBase64 = textOrBytes(h.Value)
		out.Headers = append(out.Headers, j)
	}
	return out
}

func writeJSON(w *bufio.Writer, r *consumer.Record, _ int64) error {
	out := newRecordJSON(r)
	return newLineEncoder(w).Encode(&out)
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

// bytesOf is the other way round.
func bytesOf(text *string, raw []byte) ([]byte, error) {
	switch {
	case text != nil && raw != nil:
		return nil, errors.New("there are text and base64 of the same thing")
	case text != nil:
		return append([]byte{}, *text...), nil
	}
	return raw, nil
}

// record is what the line asks to be written.
func (j *recordJSON) record() (producer.Record, error) {
	var r producer.Record
	var err error
	r.Topic = j.Topic
	if r.Key, err = bytesOf(j.Key, j.KeyBase64); err != nil {
		return r, fmt.Errorf("key: %w", err)
	}
	if r.Value, err = bytesOf(j.Value, j.ValueBase64); err != nil {
		return r, fmt.Errorf("value: %w", err)
	}
	if j.TimestampMs != nil {
		r.Timestamp = time.UnixMilli(*j.TimestampMs)
	}
	for _, h := range j.Headers {
		name := h.Name
		if h.NameBase64 != nil {
			name = string(h.NameBase64)
		}
		value, err := bytesOf(h.Value, h.ValueBase64)
		if err != nil {
			return r, fmt.Errorf("header %q: %w", name, err)
		}
		r.Headers = append(r.Headers, producer.Header{Key: name, Value: value})
	}
	return r, nil
}

// jsonReader reads records from lines of JSON.
type jsonReader struct {
	in   *bufio.Reader
	line int64
}

func (j *jsonReader) read() (input, error) {
	for {
		j.line++
		line, err := readUntil(j.in, []byte{'\n'})
		if err != nil && err != errUnended {
			return input{}, err
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var v recordJSON
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&v); err != nil {
			return input{}, malformed(j.line, err)
		}
		if _, err := d.Token(); err != io.EOF {
			return input{}, malformed(j.line, errors.New("there is more than one value"))
		}
		r, err := v.record()
		if err != nil {
			return input{}, malformed(j.line, err)
		}
		in := input{record: r, offset: -1, partition: -1}
		if v.Partition != nil {
			in.partition = *v.Partition
		}
		if v.Offset != nil {
			in.offset = *v.Offset
		}
		return in, nil
	}
}
