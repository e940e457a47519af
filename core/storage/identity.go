package storage

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/weirmq/weir/core/model"
)

// FormatVersion is the version of everything under a data directory. A directory of a version that this build does not
// know is refused: versions are converted, never guessed. Version 2, which has no truncations in the journal, is a part
// of version 3: the first checkpoint, at the start, makes the directory one that older builds refuse.
const (
	FormatVersion       = 3
	formatVersionOldest = 2
)

const (
	metaPath  = "meta"
	metaTemp  = "meta.new"
	metaMagic = 0x574d4554 // "WMET"

	clusterIDBytesMax = 255
)

// ErrIdentity says that a data directory belongs to another node, cluster or directory.
var ErrIdentity = errors.New("data directory belongs to another node")

func appendIdentity(dst []byte, id Identity) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(id.ClusterID)))
	dst = append(dst, id.ClusterID...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(id.NodeID))
	return append(dst, id.DirectoryID[:]...)
}

func encodeMeta(id Identity) []byte {
	return endFrame(appendIdentity(beginFrame(nil, metaMagic, FormatVersion), id))
}

func decodeMeta(b []byte) (Identity, error) {
	body, err := openFrame(b, metaMagic)
	if err != nil {
		return Identity{}, err
	}
	c := cursor{b: body}
	id := Identity{ClusterID: string(c.take(int(c.u16()))), NodeID: model.NodeID(c.u32())}
	copy(id.DirectoryID[:], c.take(len(id.DirectoryID)))
	if c.bad || len(c.b) > 0 {
		return Identity{}, fmt.Errorf("%w: fields", ErrFrame)
	}
	return id, nil
}

// readMeta returns the directory's identity, or ErrNotExist.
func readMeta(disk Disk) (Identity, error) {
	b, err := readFile(disk, metaPath)
	if err != nil {
		return Identity{}, err
	}
	id, err := decodeMeta(b)
	switch {
	case errors.Is(err, ErrVersion):
		return Identity{}, fmt.Errorf("%s: %w", metaPath, err)
	case err != nil:
		return Identity{}, fmt.Errorf("%w: %s: %w", ErrDamaged, metaPath, err)
	}
	return id, nil
}

// writeMeta puts the identity down so that it is there whole or not at all.
func writeMeta(disk Disk, id Identity) error {
	if len(id.ClusterID) > clusterIDBytesMax {
		return fmt.Errorf("cluster id of %d bytes: at most %d", len(id.ClusterID), clusterIDBytesMax)
	}
	if err := disk.Remove(metaTemp); err != nil && !errors.Is(err, ErrNotExist) {
		return fmt.Errorf("%s: %w", metaTemp, err)
	}
	f, err := disk.Create(metaTemp)
	if err != nil {
		return fmt.Errorf("%s: %w", metaTemp, err)
	}
	err = f.WriteAt([][]byte{encodeMeta(id)}, 0)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = disk.Rename(metaTemp, metaPath)
	}
	if err == nil {
		err = disk.SyncDir(".")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", metaPath, err)
	}
	return nil
}

// match compares what a directory says with what the node expects.
func (id Identity) match(want Identity) error {
	if id.ClusterID != want.ClusterID {
		return fmt.Errorf("%w: it is of cluster %q, this node of cluster %q", ErrIdentity, id.ClusterID, want.ClusterID)
	}
	if id.NodeID != want.NodeID {
		return fmt.Errorf("%w: it is of node %d, this is node %d", ErrIdentity, id.NodeID, want.NodeID)
	}
	if !want.DirectoryID.IsZero() && id.DirectoryID != want.DirectoryID {
		return fmt.Errorf("%w: it is directory %s, expected %s", ErrIdentity, id.DirectoryID, want.DirectoryID)
	}
	return nil
}
