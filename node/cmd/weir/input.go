package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirmq/weir/clients/producer"
	"github.com/weirmq/weir/node/explain"
)

// input is one record to write, as it was read.
type input struct {
	record    producer.Record
	partition int32 // -1: not said
	offset    int64 // that it had where it comes from; -1: not said
}

// recordReader reads records; io.EOF is the end.
type recordReader interface{ read() (input, error) }

func malformed(line int64, err error) error {
	return fail(explain.InputMalformed, "", fmt.Errorf("line %d: %w", line, err))
}

// inputForm says how bytes become records.
type inputForm struct {
	format       string // verbs, or "json"; empty: lines
	delimiter    string // between records
	keyDelimiter string
	keepNewline  bool
	null         string
	nullSet      bool
	tombstones   bool // empty values are null
}

// reader makes the reader of a form.
func (f *inputForm) reader(in io.Reader) (recordReader, error) {
	b := bufio.NewReaderSize(in, 1<<20)
	if f.format == "json" {
		if f.keyDelimiter != "" || f.keepNewline || f.delimiter != "" {
			return nil, usage("--format json says all: leave out --key-delimiter, --keep-newline and --delimiter")
		}
		return &jsonReader{in: b}, nil
	}
	delimiter, err := unescape("--delimiter", f.delimiter)
	if err != nil {
		return nil, err
	}
	if f.format != "" {
		if f.keyDelimiter != "" || f.keepNewline || f.delimiter != "" {
			return nil, usage("--format says where records end and keys begin: leave out --key-delimiter, --keep-newline and --delimiter")
		}
		return f.fields(b)
	}
	if delimiter == "" {
		delimiter = "\n"
	}
	keyDelimiter, err := unescape("--key-delimiter", f.keyDelimiter)
	if err != nil {
		return nil, err
	}
	return &lineReader{form: f, in: b, delimiter: []byte(delimiter), keyDelimiter: []byte(keyDelimiter)}, nil
}

// unescape reads the escapes of formats.
func unescape(flag, s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	parts, err := cut(strings.ReplaceAll(s, "%", "%%"))
	if err != nil || len(parts) != 1 {
		return "", usage(`%s: %q is not understood; \n \t \r \0 \\ and \xHH are`, flag, s)
	}
	return parts[0].text, nil
}

// orNull is a key or value, or null if it is what stands for that.
func (f *inputForm) orNull(b []byte, value bool) []byte {
	if f.nullSet && string(b) == f.null || f.tombstones && value && len(b) == 0 {
		return nil
	}
	return b
}

// lineReader reads a record for each line.
type lineReader struct {
	form         *inputForm
	in           *bufio.Reader
	delimiter    []byte
	keyDelimiter []byte
}

func (l *lineReader) read() (input, error) {
	line, err := readUntil(l.in, l.delimiter)
	if err != nil && err != errUnended {
		return input{}, err
	}
	if l.form.keepNewline && err == nil {
		line = append(line, l.delimiter...)
	}
	in := input{partition: -1, offset: -1}
	in.record.Value = line
	if len(l.keyDelimiter) > 0 {
		if key, value, found := bytes.Cut(line, l.keyDelimiter); found {
			in.record.Key, in.record.Value = l.form.orNull(key, false), value
		}
	}
	in.record.Value = l.form.orNull(in.record.Value, true)
	return in, nil
}

// errUnended: the input ended, and what was read before is a record all the same.
var errUnended = errors.New("the last record has no end")

// readUntil reads up to a delimiter, which it takes off, or to the end of the input (errUnended), or
// nothing (io.EOF). The bytes are the caller's.
func readUntil(r *bufio.Reader, delimiter []byte) ([]byte, error) {
	last := delimiter[len(delimiter)-1]
	var line []byte
	for {
		piece, err := r.ReadSlice(last)
		line = append(line, piece...)
		switch {
		case err == nil && bytes.HasSuffix(line, delimiter):
			return slices.Clip(line[:len(line)-len(delimiter)]), nil
		case err == nil, err == bufio.ErrBufferFull:
		case err == io.EOF && len(line) > 0:
			return line, errUnended
		default:
			return nil, err
		}
	}
}

// field is a verb and the text behind it, which ends it.
type field struct {
	verb   byte
	decode func([]byte) ([]byte, error)
	until  []byte // empty: to the end of the input
}

// fieldReader reads records in a format.
type fieldReader struct {
	form   *inputForm
	in     *bufio.Reader
	prefix []byte
	fields []field
	number int64
}

// fields makes the reader of a format: verbs, and between them the texts that divide them.
func (f *inputForm) fields(in *bufio.Reader) (recordReader, error) {
	parts, err := cut(f.format)
	if err != nil {
		return nil, err
	}
	r := &fieldReader{form: f, in: in}
	seen := map[byte]bool{}
	for _, p := range parts {
		if p.verb == 0 {
			if n := len(r.fields); n == 0 {
				r.prefix = []byte(p.text)
			} else {
				r.fields[n-1].until = []byte(p.text)
			}
			continue
		}
		if !strings.ContainsRune("vktpdo", rune(p.verb)) {
			return nil, usage("--format: %%%c cannot be read; %%v, %%k, %%t, %%p, %%d and %%o can", p.verb)
		}
		if seen[p.verb] {
			return nil, usage("--format: %%%c is there twice", p.verb)
		}
		seen[p.verb] = true
		if n := len(r.fields); n > 0 && len(r.fields[n-1].until) == 0 {
			return nil, usage("--format: nothing divides %%%c from %%%c", r.fields[n-1].verb, p.verb)
		}
		x := field{verb: p.verb}
		switch {
		case p.modifier == "":
		case p.verb != 'v' && p.verb != 'k':
			return nil, usage("--format: %%%c has no {%s} in input", p.verb, p.modifier)
		default:
			if x.decode = decoders[p.modifier]; x.decode == nil {
				return nil, usage("--format: {%s} is none of {base64}, {hex}, {escaped}", p.modifier)
			}
		}
		r.fields = append(r.fields, x)
	}
	if !seen['v'] && !seen['k'] {
		return nil, usage("--format has neither %%v nor %%k")
	}
	return r, nil
}

func (f *fieldReader) read() (input, error) {
	f.number++
	in := input{partition: -1, offset: -1}
	if len(f.prefix) > 0 {
		switch begin, err := f.in.Peek(len(f.prefix)); {
		case len(begin) == 0 && err != nil:
			return in, err
		case !bytes.Equal(begin, f.prefix):
			return in, f.wrong(fmt.Errorf("it begins with %q, not with %q", begin, f.prefix))
		}
		_, _ = f.in.Discard(len(f.prefix)) // just peeked at
	}
	for i := range f.fields {
		x := &f.fields[i]
		last := i == len(f.fields)-1
		var b []byte
		var err error
		if len(x.until) > 0 {
			b, err = readUntil(f.in, x.until)
		} else {
			if b, err = io.ReadAll(f.in); err == nil && len(b) == 0 {
				err = io.EOF
			}
		}
		switch {
		case err == nil, err == errUnended && last:
		case err == io.EOF && i == 0 && len(f.prefix) == 0:
			return in, io.EOF
		case err == io.EOF, err == errUnended:
			if err == errUnended && i == 0 && len(bytes.TrimSpace(b)) == 0 {
				return in, io.EOF // a blank end
			}
			if err == io.EOF && last && x.verb == 'v' {
				break // an empty value at the very end
			}
			return in, f.wrong(fmt.Errorf("the input ends within it, before %%%c is complete", x.verb))
		default:
			return in, err
		}
		if err := f.take(&in, x, b); err != nil {
			return in, f.wrong(err)
		}
	}
	return in, nil
}

func (f *fieldReader) wrong(err error) error {
	return fail(explain.InputMalformed, "", fmt.Errorf("record %d: %w", f.number, err))
}

// take puts a field's bytes into the record.
func (f *fieldReader) take(in *input, x *field, b []byte) error {
	if b == nil {
		b = []byte{}
	}
	switch x.verb {
	case 'v', 'k':
		b = f.form.orNull(b, x.verb == 'v')
		if b != nil && x.decode != nil {
			var err error
			if b, err = x.decode(b); err != nil {
				return fmt.Errorf("%%%c: %w", x.verb, err)
			}
		}
		if x.verb == 'v' {
			in.record.Value = b
		} else {
			in.record.Key = b
		}
	case 't':
		in.record.Topic = string(b)
	case 'p', 'd', 'o':
		n, err := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64)
		if err != nil {
			return fmt.Errorf("%%%c is %q, not a number", x.verb, b)
		}
		switch {
		case x.verb == 'd':
			in.record.Timestamp = time.UnixMilli(n)
		case x.verb == 'o':
			in.offset = n
		case n < 0 || n >= 1<<31:
			return fmt.Errorf("%%p is %d, which is no partition", n)
		default:
			in.partition = int32(n)
		}
	}
	return nil
}

// decoders read what the formatter's modifiers write.
var decoders = map[string]func([]byte) ([]byte, error){
	"base64": func(b []byte) ([]byte, error) { return base64.StdEncoding.AppendDecode([]byte{}, bytes.TrimSpace(b)) },
	"hex":    func(b []byte) ([]byte, error) { return hex.AppendDecode([]byte{}, bytes.TrimSpace(b)) },
	"escaped": func(b []byte) ([]byte, error) {
		out := make([]byte, 0, len(b))
		for len(b) > 0 {
			if b[0] != '\\' {
				out = append(out, b[0])
				b = b[1:]
				continue
			}
			if len(b) >= 4 && b[1] == 'x' {
				var err error
				if out, err = hex.AppendDecode(out, b[2:4]); err != nil {
					return nil, err
				}
				b = b[4:]
				continue
			}
			s, ok := escapes[string(b[:min(2, len(b))])]
			if !ok {
				return nil, fmt.Errorf("%q is no escape", b[:min(2, len(b))])
			}
			out = append(out, s...)
			b = b[2:]
		}
		return out, nil
	},
}

// fileReader makes one record of each file.
type fileReader struct {
	names []string
}

func (f *fileReader) read() (input, error) {
	if len(f.names) == 0 {
		return input{}, io.EOF
	}
	b, err := os.ReadFile(f.names[0])
	if err != nil {
		return input{}, err
	}
	f.names = f.names[1:]
	in := input{partition: -1, offset: -1}
	in.record.Value = b
	return in, nil
}
