package storage

import (
	"errors"
	"fmt"
	"slices"

	"github.com/weirmq/weir/core/log"
	"github.com/weirmq/weir/core/model"
)

func statePath(dir string, o model.Offset) string { return dir + "/" + offsetName(o) + stateSuffix }

// writeState writes a snapshot of the partition's state, without syncing it.
func (e *Engine) writeState(p *partition, snapshot []byte) error {
	if err := e.makeDir(p); err != nil {
		return err
	}
	path := statePath(p.dir, p.end)
	if err := e.disk.Remove(path); err != nil && !errors.Is(err, ErrNotExist) {
		return fmt.Errorf("%s: %w", path, err)
	}
	f, err := e.disk.Create(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	err = f.WriteAt([][]byte{snapshot}, 0)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", path, err), e.disk.Remove(path))
	}
	p.names++
	if n := len(p.states); n == 0 || p.states[n-1] != p.end {
		p.states = append(p.states, p.end)
	}
	return nil
}

// snapshotSegment writes a snapshot where a segment begins, from which a truncation can go on. Nothing vouches for it
// but its own checksum.
func (e *Engine) snapshotSegment(p *partition) {
	if p.state.ProducerCount() == 0 {
		return
	}
	// Without it more is read.
	_ = e.writeState(p, p.state.AppendSnapshot(nil))
}

// loadState reads the partition's state snapshot at an offset.
func loadState(disk Disk, dir string, at model.Offset) (*log.State, error) {
	b, err := readFile(disk, statePath(dir, at))
	if err != nil {
		return nil, err
	}
	s, err := log.LoadSnapshot(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", statePath(dir, at), err)
	}
	if s.EndOffset() != at {
		return nil, fmt.Errorf("%s: %w: it is of offset %d", statePath(dir, at), ErrFrame, s.EndOffset())
	}
	return s, nil
}

// dropStates removes snapshots older than the newest two and than the one that the manifest names.
func (e *Engine) dropStates(p *partition) error {
	for len(p.states) > 2 && (p.stateOffset == model.NoOffset || p.states[0] < p.stateOffset) {
		if err := e.disk.Remove(statePath(p.dir, p.states[0])); err != nil && !errors.Is(err, ErrNotExist) {
			return fmt.Errorf("%s: %w", statePath(p.dir, p.states[0]), err)
		}
		p.states = slices.Delete(p.states, 0, 1)
	}
	return nil
}
