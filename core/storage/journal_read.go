package storage

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/weirmq/weir/core/effect"
)

// file opens a journal file for reading; nil if there is none.
func (r *recovery) file(seq uint64) (File, error) {
	if r.open != nil && r.openSeq == seq {
		return r.open, nil
	}
	if !slices.Contains(r.files, seq) {
		return nil, nil
	}
	f, err := r.e.disk.Open(journalPath(seq))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", journalPath(seq), err)
	}
	n, err := f.SizeBytes()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", journalPath(seq), err), f.Close())
	}
	if r.open != nil {
		if err := r.open.Close(); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	r.open, r.openSeq, r.openLen = f, seq, n
	return f, nil
}

// groupAt reads the group header at a place; found only if it is the wanted group.
func (r *recovery) groupAt(seq uint64, pos int64, want LSN) (h groupHeader, found bool, err error) {
	f, err := r.file(seq)
	if f == nil || err != nil {
		return groupHeader{}, false, err
	}
	var b [groupHeaderBytes]byte
	if pos+groupHeaderBytes > r.openLen {
		return groupHeader{}, false, nil
	}
	if err := readFull(f, b[:], pos); err != nil {
		// No torn write leaves a sector that cannot be read: there may have been a group.
		return groupHeader{}, false, fmt.Errorf("%w: %s at %d: %w", ErrDamaged, journalPath(seq), pos, err)
	}
	h, err = readGroupHeader(b[:])
	if err != nil || h.LSN != want || h.File != seq || pos+int64(h.Bytes) > r.openLen {
		return groupHeader{}, false, nil
	}
	return h, true, nil
}

// provenLater looks for a group behind a place that could only be there if the wanted one had been
// durable, and names it.
func (r *recovery) provenLater(seq uint64, pos int64, want LSN) (string, error) {
	for _, s := range r.files {
		if s < seq {
			continue
		}
		f, err := r.file(s)
		if err != nil {
			return "", err
		}
		from := int64(0)
		if s == seq {
			from = pos
		}
		at, err := r.laterIn(f, s, from, want)
		if err != nil {
			return "", err
		}
		if at >= 0 {
			return fmt.Sprintf("the group at %d of %s", at, journalPath(s)), nil
		}
	}
	return "", nil
}

// laterIn looks at every block of a file from a position on.
func (r *recovery) laterIn(f File, seq uint64, from int64, want LSN) (int64, error) {
	b := r.e.room(verifyChunkBytes)
	step := len(b)
	for from < r.openLen {
		n, err := f.ReadAt(b[:min(int64(step), r.openLen-from)], from)
		if err != nil && !errors.Is(err, io.EOF) {
			if step > blockBytesMin {
				step = blockBytesMin // find out which block cannot be read, and what the others say
				continue
			}
			r.note(effect.Note{Kind: effect.NoteDamageFound, Detail: fmt.Sprintf("%s at %d: %v", journalPath(seq), from, err)})
			n = 0
		}
		for at := 0; at+groupHeaderBytes <= n; at += blockBytesMin {
			h, err := readGroupHeader(b[at:n])
			if err == nil && h.Kind == groupFailed {
				h.LSN-- // it proves what was before the group that failed
			}
			if err == nil && h.LSN > want && h.File == seq {
				return from + int64(at), nil
			}
		}
		from += int64(step)
		if from%verifyChunkBytes == 0 {
			step = len(b)
		}
	}
	return -1, nil
}

// proven reports whether the group that ends at pos was durable.
func (r *recovery) proven(seq uint64, pos int64, lsn LSN) (bool, error) {
	for _, place := range [...]struct {
		seq uint64
		pos int64
	}{{seq, pos}, {seq + 1, 0}} {
		h, found, err := r.groupAt(place.seq, place.pos, lsn+1)
		if err != nil || found && h.Kind != groupFailed {
			return err == nil, err
		}
	}
	later, err := r.provenLater(seq, pos, lsn)
	return later != "", err
}
