package main

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/weirmq/weir/clients/consumer"
)

// verbsHelp is the part of the help that produce and consume share.
const verbsHelp = `Formats are made of verbs and text:

  %v  value       %k  key        %t  topic       %p  partition   %o  offset    %i  number of the record, from 1
  %V  its size    %K  its size   %H  headers, how many           %d  timestamp in milliseconds
  %h  headers as name=value,name=value; %h{%k: %v;} writes each of them in a format of its own
  %D  timestamp as text (RFC 3339, UTC); %d{s}, %d{us}, %d{ns}, %d{local}, %d{2006-01-02 15:04} are others
  %%  a percent sign    \n \t \r \0 \\ \xHH  the usual bytes

Keys, values and headers come as they are. %v{base64}, %v{hex} and %v{escaped} make any bytes printable, %v{json} makes a
JSON string (null for null). What is null is printed as nothing, or as --null says; its size is -1.`

// recordWriter prints one record; n is its number, from 1.
type recordWriter func(w *bufio.Writer, r *consumer.Record, n int64) error

// bytesWriter prints a key, a value or a header's value.
type bytesWriter func(w *bufio.Writer, b []byte)

// formatter makes writers of formats.
type formatter struct {
	null string // what null is printed as
}

// parse makes a writer of a format.
func (f formatter) parse(format string) (recordWriter, error) {
	parts, err := cut(format)
	if err != nil {
		return nil, err
	}
	var writers []recordWriter
	for _, p := range parts {
		w, err := f.verb(p)
		if err != nil {
			return nil, err
		}
		writers = append(writers, w)
	}
	return func(w *bufio.Writer, r *consumer.Record, n int64) error {
		for _, p := range writers {
			if err := p(w, r, n); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// part is text, or a verb with what stands in braces behind it.
type part struct {
	text     string // verb is 0
	verb     byte
	modifier string
	braces   bool
}

// cut divides a format into its parts. Neighbouring texts are one part.
func cut(format string) ([]part, error) {
	var parts []part
	text := func(s string) {
		if n := len(parts); n > 0 && parts[n-1].verb == 0 {
			parts[n-1].text += s
		} else {
			parts = append(parts, part{text: s})
		}
	}
	for format != "" {
		i := strings.IndexAny(format, `%\`)
		if i < 0 {
			text(format)
			break
		}
		if i > 0 {
			text(format[:i])
			format = format[i:]
		}
		if len(format) == 1 {
			return nil, usage("--format ends with a %q that says nothing", format)
		}
		token := format[:2]
		if token == `\x` {
			b, err := hex.DecodeString(format[2:min(4, len(format))])
			if err != nil || len(b) != 1 {
				return nil, usage(`--format: \x takes two hexadecimal digits, as in \x1f`)
			}
			text(string(b))
			format = format[4:]
			continue
		}
		if s, ok := escapes[token]; ok {
			text(s)
			format = format[2:]
			continue
		}
		if token[0] != '%' || !strings.ContainsRune("vkshVKSHtpodDi", rune(token[1])) {
			return nil, usage("--format: %q means nothing; --help lists what does", token)
		}
		p := part{verb: token[1]}
		format = format[2:]
		if strings.HasPrefix(format, "{") {
			end := closing(format)
			if end < 0 {
				return nil, usage("--format: a { is not closed")
			}
			p.modifier, p.braces, format = format[1:end], true, format[end+1:]
		}
		switch p.verb { // kcat's letters
		case 's':
			p.verb = 'v'
		case 'S':
			p.verb = 'V'
		}
		parts = append(parts, p)
	}
	return parts, nil
}

// closing finds the brace that closes the first.
func closing(s string) int {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

var escapes = map[string]string{
	`\n`: "\n", `\t`: "\t", `\r`: "\r", `\0`: "\x00", `\\`: `\`, `%%`: "%",
}

// verb makes the writer of one part.
func (f formatter) verb(p part) (recordWriter, error) {
	if p.verb == 0 {
		return func(w *bufio.Writer, _ *consumer.Record, _ int64) error {
			_, err := w.WriteString(p.text)
			return err
		}, nil
	}
	if p.braces && !strings.ContainsRune("vkhd", rune(p.verb)) {
		return nil, usage("--format: %%%c has no {%s}", p.verb, p.modifier)
	}
	switch p.verb {
	case 'v', 'k':
		write, err := f.bytes(p.modifier)
		if err != nil {
			return nil, err
		}
		if p.verb == 'k' {
			return func(w *bufio.Writer, r *consumer.Record, _ int64) error { write(w, r.Key); return nil }, nil
		}
		return func(w *bufio.Writer, r *consumer.Record, _ int64) error { write(w, r.Value); return nil }, nil
	case 'h':
		return f.headers(p)
	case 'd':
		write, err := timeWriter(p.modifier)
		if err != nil {
			return nil, err
		}
		return func(w *bufio.Writer, r *consumer.Record, _ int64) error { write(w, r.Timestamp); return nil }, nil
	}
	return verbs[p.verb], nil
}

// verbs are those without modifiers. Writers keep their first error, so it is enough to look at the last.
var verbs = map[byte]recordWriter{
	't': func(w *bufio.Writer, r *consumer.Record, _ int64) error { _, err := w.WriteString(r.Topic); return err },
	'p': func(w *bufio.Writer, r *consumer.Record, _ int64) error { return writeInt(w, int64(r.Partition)) },
	'o': func(w *bufio.Writer, r *consumer.Record, _ int64) error { return writeInt(w, r.Offset) },
	'i': func(w *bufio.Writer, _ *consumer.Record, n int64) error { return writeInt(w, n) },
	'V': func(w *bufio.Writer, r *consumer.Record, _ int64) error { return writeInt(w, sizeOrNull(r.Value)) },
	'K': func(w *bufio.Writer, r *consumer.Record, _ int64) error { return writeInt(w, sizeOrNull(r.Key)) },
	'H': func(w *bufio.Writer, r *consumer.Record, _ int64) error { return writeInt(w, int64(len(r.Headers))) },
	'D': func(w *bufio.Writer, r *consumer.Record, _ int64) error {
		_, err := w.WriteString(timeText(r.Timestamp))
		return err
	},
}

func timeText(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

func sizeOrNull(b []byte) int64 {
	if b == nil {
		return -1
	}
	return int64(len(b))
}

func writeInt(w *bufio.Writer, n int64) error {
	_, err := w.Write(strconv.AppendInt(w.AvailableBuffer(), n, 10))
	return err
}

func timeWriter(modifier string) (func(*bufio.Writer, time.Time), error) {
	number := func(of func(time.Time) int64) func(*bufio.Writer, time.Time) {
		return func(w *bufio.Writer, t time.Time) { _ = writeInt(w, of(t)) }
	}
	switch modifier {
	case "", "ms":
		return number(time.Time.UnixMilli), nil
	case "s":
		return number(time.Time.Unix), nil
	case "us":
		return number(time.Time.UnixMicro), nil
	case "ns":
		return number(time.Time.UnixNano), nil
	case "local":
		return func(w *bufio.Writer, t time.Time) {
			_, _ = w.WriteString(t.Local().Format("2006-01-02T15:04:05.000Z07:00"))
		}, nil
	}
	if !strings.ContainsAny(modifier, "0123456789JM") {
		return nil, usage("--format: %%d{%s} is no time: s, ms, us, ns, local, or the time 2006-01-02 15:04:05 written your way", modifier)
	}
	return func(w *bufio.Writer, t time.Time) { _, _ = w.WriteString(t.Local().Format(modifier)) }, nil
}

// bytes makes the writer of a key or value.
func (f formatter) bytes(modifier string) (bytesWriter, error) {
	var write bytesWriter
	switch modifier {
	case "":
		write = func(w *bufio.Writer, b []byte) { _, _ = w.Write(b) }
	case "base64":
		write = func(w *bufio.Writer, b []byte) {
			_, _ = w.Write(base64.StdEncoding.AppendEncode(w.AvailableBuffer(), b))
		}
	case "hex":
		write = func(w *bufio.Writer, b []byte) { _, _ = w.Write(hex.AppendEncode(w.AvailableBuffer(), b)) }
	case "escaped":
		write = func(w *bufio.Writer, b []byte) { _, _ = w.Write(appendEscaped(w.AvailableBuffer(), b)) }
	case "json":
		return func(w *bufio.Writer, b []byte) { _, _ = w.Write(appendJSON(w.AvailableBuffer(), b)) }, nil
	default:
		return nil, usage("--format: {%s} is none of {base64}, {hex}, {escaped}, {json}", modifier)
	}
	return func(w *bufio.Writer, b []byte) {
		if b == nil {
			_, _ = w.WriteString(f.null)
			return
		}
		write(w, b)
	}, nil
}

// appendEscaped writes bytes so that one line of text says them exactly: \n, \t, \r, \\ and \xHH.
func appendEscaped(dst, b []byte) []byte {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == '\\':
			dst = append(dst, `\\`...)
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == '\t':
			dst = append(dst, `\t`...)
		case r == '\r':
			dst = append(dst, `\r`...)
		case r == utf8.RuneError && n == 1, r != ' ' && !strconv.IsPrint(r):
			for _, c := range b[:n] {
				dst = append(dst, '\\', 'x', "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
			}
		default:
			dst = append(dst, b[:n]...)
		}
		b = b[n:]
	}
	return dst
}

// appendJSON writes bytes as a JSON string. Bytes that are no text are replaced: use {base64} for those.
func appendJSON(dst, b []byte) []byte {
	if b == nil {
		return append(dst, "null"...)
	}
	s, err := json.Marshal(string(b))
	if err != nil {
		return append(dst, "null"...) // a string always has a JSON form
	}
	return append(dst, s...)
}

// headers makes the writer of %h, or of %h{...} with a format for each header.
func (f formatter) headers(p part) (recordWriter, error) {
	if !p.braces {
		return func(w *bufio.Writer, r *consumer.Record, _ int64) error {
			for i, h := range r.Headers {
				if i > 0 {
					_ = w.WriteByte(',')
				}
				_, _ = w.Write(h.Key)
				_ = w.WriteByte('=')
				if h.Value == nil {
					_, _ = w.WriteString(f.null)
				}
				_, _ = w.Write(h.Value)
			}
			return nil
		}, nil
	}
	parts, err := cut(p.modifier)
	if err != nil {
		return nil, err
	}
	for _, q := range parts {
		if q.verb != 0 && q.verb != 'k' && q.verb != 'v' {
			return nil, usage("--format: in %%h{...} there are %%k and %%v only")
		}
	}
	each, err := f.parse(p.modifier)
	if err != nil {
		return nil, err
	}
	return func(w *bufio.Writer, r *consumer.Record, n int64) error {
		for _, h := range r.Headers {
			if err := each(w, &consumer.Record{Key: h.Key, Value: h.Value}, n); err != nil {
				return err
			}
		}
		return nil
	}, nil
}
