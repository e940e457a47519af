package storage

import (
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// Identity says whose data a directory holds. It is written once, when the directory is created, and
// compared at every start: a disk that was swapped with another node's is refused.
type Identity struct {
	ClusterID   string
	NodeID      model.NodeID
	DirectoryID model.TopicID // 16 random bytes; zero in Config accepts whatever the directory says
}

// Config is what an Engine needs to know. Zero values mean the defaults, except where said.
type Config struct {
	Identity Identity
	// JournalFileBytes is the size of one journal file (64 MiB). A group of entries never spans files, so
	// an append that is larger is synced in its segment whatever InPlaceBytesMin says.
	JournalFileBytes int64
	// JournalFilesMin is how many written-off journal files are kept for reuse (2).
	JournalFilesMin int
	// JournalBlockBytes is what groups are padded to, so that no write touches a block that holds an older
	// group (4096). A power of two, at least 512.
	JournalBlockBytes int
	// CheckpointBytes is how much may be appended since the last checkpoint before one is due (128 MiB), or up to
	// three times as much where it went to many segments. It bounds the journal's size and the work of recovery.
	CheckpointBytes int64
	// InPlaceBytesMin: when one turn appends at least so many bytes to a partition, they are synced in their
	// segment rather than copied to the journal. 0 means never; InPlaceBytesDefault is where it pays.
	InPlaceBytesMin int
	// OpenFilesMax bounds the segment files held open (1024). Appending to more partitions than this costs
	// an open and a close for each: set it well above the partitions in use, below the process's limit.
	OpenFilesMax int
	// Regions makes ResolveRead answer with runs of files rather than bytes.
	Regions bool
	// DefaultLog holds for partitions found on disk until an effect.Open says more.
	DefaultLog effect.LogConfig
}

// InPlaceBytesDefault is a first guess at the InPlaceBytesMin to use. One writer on ext4 over a virtual disk of
// a shared machine, through the journal and in place, p50 in ms: 256 KiB 0.43 and 0.70, 512 KiB 0.56 and
// 0.80, 1 MiB 1.8 and 1.2, 4 MiB 11 and 5. A second run, on the same machine under heavy load, did not show
// the gain from 1 MiB on (1.0 and 1.4, 9.9 and 12): measure again on a quiet one before relying on it.
const InPlaceBytesDefault = 1 << 20

const (
	blockBytesMin     = 512
	journalBytesMin   = 8 << 10
	journalGrowBytes  = 4 << 20 // a new journal file is zeroed in steps of this, ahead of its groups
	segmentBytesMax   = 1<<31 - 1
	defaultSegment    = 1 << 30
	defaultInterval   = 4096
	verifyChunkBytes  = 256 << 10
	damageDetailBytes = 512
	stateInlineBytes  = 1 << 10 // a log.State up to this size is kept in the manifest
	idleSavesMax      = 64      // indexes of idle segments that one checkpoint saves
	indexSaveEntries  = 1 << 10 // an active segment's index is saved when it has so many new entries
)

func (c Config) withDefaults() Config {
	if c.JournalFileBytes == 0 {
		c.JournalFileBytes = 64 << 20
	}
	if c.JournalFilesMin == 0 {
		c.JournalFilesMin = 2
	}
	if c.JournalBlockBytes == 0 {
		c.JournalBlockBytes = 4096
	}
	if c.CheckpointBytes == 0 {
		c.CheckpointBytes = 128 << 20
	}
	if c.OpenFilesMax == 0 {
		c.OpenFilesMax = 1024
	}
	c.JournalBlockBytes = max(blockBytesMin, c.JournalBlockBytes)
	for c.JournalBlockBytes&(c.JournalBlockBytes-1) != 0 {
		c.JournalBlockBytes += c.JournalBlockBytes & -c.JournalBlockBytes
	}
	c.JournalFileBytes = max(c.JournalFileBytes, journalBytesMin, 4*int64(c.JournalBlockBytes))
	c.JournalFileBytes = roundUp(c.JournalFileBytes, int64(c.JournalBlockBytes))
	c.DefaultLog = logDefaults(c.DefaultLog)
	return c
}

// logDefaults fills in what an unset LogConfig leaves at zero.
func logDefaults(l effect.LogConfig) effect.LogConfig {
	if l.SegmentBytes == 0 && l.IndexIntervalBytes == 0 && l.RetentionMs == 0 && l.RetentionBytes == 0 {
		l.IndexIntervalBytes, l.RetentionMs, l.RetentionBytes = defaultInterval, -1, -1
	}
	return logBounds(l)
}

// logBounds replaces what no topic can mean.
func logBounds(l effect.LogConfig) effect.LogConfig {
	if l.SegmentBytes <= 0 {
		l.SegmentBytes = defaultSegment
	}
	if l.IndexIntervalBytes < 0 {
		l.IndexIntervalBytes = defaultInterval
	}
	return l
}

func roundUp(n, unit int64) int64 { return (n + unit - 1) &^ (unit - 1) }
