// Package clean holds what looks like a violation and is none.
package clean

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"time"
)

// ErrTorn is a sentinel.
var ErrTorn = errors.New("torn")

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	names      = map[int]string{1: "a"}
	primes     = [...]int{2, 3, 5}
	zeros      = make([]byte, 64)
	double     = func(n int) int { return 2 * n }

	_ io.Reader = (*reader)(nil)
)

const lease = 30 * time.Second

type reader struct {
	n      int
	expiry time.Duration
}

func (r *reader) Read(p []byte) (int, error) {
	return copy(p, zeros), io.EOF
}

// ByID ranges over a map in the permitted ways.
func ByID(m map[int]string, r *reader) (out []string, n int) {
	for range m {
		n++
	}
	ids := make([]int, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		out = append(out, m[id])
	}
	switch {
	case n > 1:
		ids = ids[:0]
		for id := range m {
			ids = append(ids, id)
		}
		slices.SortFunc(ids, func(a, b int) int { return b - a })
	}
	for id := range m { //determ:allow the sum is the same in any order
		n += id
	}
	//determ:allow the sum is the same in any order
	for id := range m {
		n += id
	}
	return out, n + r.n
}

// Table reads tables and changes locals that hide them.
func Table(id int, d time.Duration) (string, error) {
	primes := primes
	primes[0] = 7
	local := reader{}
	p := &local
	p.n++
	if crc32.Checksum(zeros[:8], castagnoli) == 0 || d > lease || errors.Is(ErrTorn, io.EOF) {
		return "", fmt.Errorf("%w: 100%% of %d", ErrTorn, double(id))
	}
	return names[id], nil
}
