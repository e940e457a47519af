package sim

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"

	"github.com/weirmq/weir/core/model"
)

// trace is the record of a run: a running hash over every event's fields, the last lines for a failure
// report, and all lines if a writer was given. Texts are for people and are not hashed.
type trace struct {
	lo, hi *xxhash.Digest
	buf    []byte

	ring  []traceLine
	count uint64
	out   io.Writer
	err   error
}

type traceLine struct {
	at      model.Time
	node    int
	what    string
	a, b, c uint64
	text    string
}

const (
	traceRing   = 256
	traceBuffer = 4096
)

func newTrace(out io.Writer) *trace {
	return &trace{
		lo: xxhash.NewWithSeed(0), hi: xxhash.NewWithSeed(0x9e3779b97f4a7c15),
		buf: make([]byte, 0, traceBuffer+64), ring: make([]traceLine, traceRing), out: out,
	}
}

// add records one line. what is a constant; node is 0 for the world and the clients.
func (t *trace) add(at model.Time, node int, what string, a, b, c uint64, text string) {
	t.buf = binary.LittleEndian.AppendUint64(t.buf, uint64(at))
	t.buf = append(t.buf, byte(node), byte(len(what)))
	t.buf = append(t.buf, what...)
	t.buf = binary.LittleEndian.AppendUint64(t.buf, a)
	t.buf = binary.LittleEndian.AppendUint64(t.buf, b)
	t.buf = binary.LittleEndian.AppendUint64(t.buf, c)
	if len(t.buf) >= traceBuffer {
		t.flush()
	}
	line := traceLine{at, node, what, a, b, c, text}
	t.ring[t.count%traceRing] = line
	t.count++
	if t.out != nil && t.err == nil {
		_, t.err = io.WriteString(t.out, line.String()+"\n")
	}
}

func (t *trace) flush() {
	_, _ = t.lo.Write(t.buf)
	_, _ = t.hi.Write(t.buf)
	t.buf = t.buf[:0]
}

// Sum is the hash of everything so far, as 32 hexadecimal digits.
func (t *trace) sum() string {
	t.flush()
	return fmt.Sprintf("%016x%016x", t.hi.Sum64(), t.lo.Sum64())
}

// tail is the last lines, oldest first.
func (t *trace) tail(n int) []string {
	n = int(min(uint64(n), t.count, traceRing))
	lines := make([]string, 0, n)
	for i := t.count - uint64(n); i < t.count; i++ {
		lines = append(lines, t.ring[i%traceRing].String())
	}
	return lines
}

func (l traceLine) String() string {
	who := "world"
	if l.node > 0 {
		who = fmt.Sprintf("node%d", l.node)
	}
	s := fmt.Sprintf("%12s %-6s %-16s %d %d %d", timeText(l.at), who, l.what, l.a, l.b, l.c)
	if l.text != "" {
		s += " " + l.text
	}
	return s
}

// timeText prints a time exactly and readably: 1.234567891s.
func timeText(t model.Time) string {
	sign := ""
	if t < 0 {
		sign, t = "-", -t
	}
	return fmt.Sprintf("%s%d.%09ds", sign, int64(t)/1e9, int64(t)%1e9)
}
