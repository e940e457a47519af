package node

import (
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/node/explain"
)

// told is how a kind of note is logged: error when a human must act, warn when something got worse, info
// when something changed that people ask about later, debug for the rest. Messages are constant.
var told = map[effect.NoteKind]struct {
	level   zapcore.Level
	message string
	count   string // what Count counts; empty: it has no meaning
}{
	effect.NoteTopicCreated:        {zap.InfoLevel, "topic created", "partitions"},
	effect.NoteTopicDeleted:        {zap.InfoLevel, "topic deleted", "partitions"},
	effect.NotePartitionOpened:     {zap.DebugLevel, "partition opened", ""},
	effect.NotePartitionOffline:    {zap.ErrorLevel, "partition offline: its data cannot be used until it is repaired", ""},
	effect.NoteSegmentRolled:       {zap.DebugLevel, "segment rolled", "bytes"},
	effect.NoteSegmentDeleted:      {zap.InfoLevel, "segment deleted by retention", "bytes"},
	effect.NoteCheckpointed:        {zap.DebugLevel, "checkpoint complete", "bytes"},
	effect.NoteRecovered:           {zap.InfoLevel, "journal replayed", "entries"},
	effect.NoteTruncated:           {zap.InfoLevel, "the end of a log was dropped: its leader's log goes on otherwise", "records"},
	effect.NoteTailDropped:         {zap.InfoLevel, "bytes that were never acknowledged were cut off", "bytes"},
	effect.NoteDamageFound:         {zap.ErrorLevel, "damaged data found", ""},
	effect.NoteDuplicateBatch:      {zap.DebugLevel, "a producer's retry was recognised", ""},
	effect.NoteSequenceRefused:     {zap.InfoLevel, "a producer's batch was refused: its sequence does not follow", ""},
	effect.NoteDiskRoom:            {zap.InfoLevel, "the disk has room again: producers are served", "refused"},
	effect.NoteDiskFull:            {zap.ErrorLevel, "disk full: producers are refused; free space or shorten retention", ""},
	effect.NoteProducerIDBlock:     {zap.DebugLevel, "producer ids reserved", "first_id"},
	effect.NoteProducerExpired:     {zap.DebugLevel, "idle producers forgotten", "producers"},
	effect.NotePartitionsAdded:     {zap.InfoLevel, "topic has more partitions", "partitions"},
	effect.NoteConfigured:          {zap.InfoLevel, "topic configuration changed", ""},
	effect.NoteJournalRecycled:     {zap.DebugLevel, "journal file recycled", "file"},
	effect.NoteReplicaRefused:      {zap.WarnLevel, "a leader's batch was not taken", ""},
	effect.NoteReplicaCut:          {zap.InfoLevel, "a follower drops the end of its log", ""},
	effect.NoteBrokerSilent:        {zap.WarnLevel, "a node was not heard: what it leads is led by others", "node"},
	effect.NoteRegistered:          {zap.InfoLevel, "this node is known to the cluster", ""},
	effect.NoteRegistrationRefused: {zap.ErrorLevel, "the cluster does not take this node", ""},
	effect.NoteControllerElected:   {zap.InfoLevel, "a controller was elected", "node"},
	effect.NoteClusterFounded:      {zap.InfoLevel, "a cluster was founded", "voters"},
	effect.NoteQuorumRefused:       {zap.WarnLevel, "a voter's message was refused", ""},
	effect.NoteVotersChanged:       {zap.InfoLevel, "the voters of the metadata quorum have changed", "node"},
	effect.NoteMetadataRefused:     {zap.WarnLevel, "metadata that a voter sent was refused: another is asked", ""},
	effect.NotePartitionLetGo:      {zap.InfoLevel, "files of a partition were removed that this node is no replica of", ""},
	effect.NoteCutOff:              {zap.WarnLevel, "the controller is not reached, or what it decides: another node may lead by now, so clients are sent away", "ms"},
	effect.NoteReplicaAlone:        {zap.ErrorLevel, "a damaged replica is the only one that could lead: its partition stays offline", ""},
	effect.NoteReplicaDropped:      {zap.WarnLevel, "a damaged replica is filled anew from its leader", ""},
	effect.NoteServesAgain:         {zap.InfoLevel, "the controller is reached again, and what it decides: clients are served", ""},
}

// toldGroups is the same for consumer groups.
var toldGroups = map[effect.NoteKind]struct {
	level   zapcore.Level
	message string
	count   string
}{
	effect.NoteMemberJoined:      {zap.InfoLevel, "a member joined its group", "generation"},
	effect.NoteMemberLeft:        {zap.InfoLevel, "a member left its group", "generation"},
	effect.NoteMemberExpired:     {zap.InfoLevel, "a member was removed from its group", "generation"},
	effect.NoteRebalancing:       {zap.InfoLevel, "a group rebalances", "generation"},
	effect.NoteGenerationBegun:   {zap.DebugLevel, "a group's generation began", "generation"},
	effect.NoteGroupStable:       {zap.InfoLevel, "a group is stable", "generation"},
	effect.NoteGroupDeleted:      {zap.InfoLevel, "a group was deleted", "generation"},
	effect.NoteOffsetsExpired:    {zap.InfoLevel, "offsets of a group expired", "offsets"},
	effect.NoteCoordinatorLoaded: {zap.DebugLevel, "a group coordinator read its log", "groups"},
	effect.NoteCoordinatorFailed: {zap.ErrorLevel, "a group coordinator cannot read its log: its groups are refused", ""},
}

// noteCodes are the codes of notes that somebody should look at.
var noteCodes = map[effect.NoteKind]explain.Code{
	effect.NotePartitionOffline: explain.DataDamaged,
	effect.NoteDamageFound:      explain.DataDamaged,
	effect.NoteDiskFull:         explain.DiskFull,
	effect.NoteSequenceRefused:  explain.SequenceRefused,
	effect.NoteCutOff:           explain.NoController,
}

// observe turns what machines noted into log lines and counts.
func (n *Node) observe(notes []effect.Note, marks effect.Marks) {
	for i := range notes {
		note := &notes[i]
		if int(note.Kind) < len(n.metrics.Notes) {
			n.metrics.Notes[note.Kind].Add(1)
		}
		if note.Kind == effect.NoteCutOff || note.Kind == effect.NoteServesAgain {
			n.cutOff.Store(note.Kind == effect.NoteCutOff)
		}
		t, known := told[note.Kind]
		if !known {
			t, known = toldGroups[note.Kind]
		}
		if !known {
			t.level, t.message, t.count = zap.InfoLevel, "note", "count"
		}
		entry := n.log.Check(t.level, t.message)
		if entry == nil {
			continue
		}
		fields := []zap.Field{zap.String("kind", note.Kind.String())}
		code, coded := noteCodes[note.Kind]
		if coded {
			fields = append(fields, zap.String("code", string(code)))
		}
		if note.Topic != "" {
			fields = append(fields, zap.String("topic", note.Topic))
		}
		if note.Group != "" {
			fields = append(fields, zap.String("group", note.Group))
		}
		if !note.Partition.Topic.IsZero() {
			fields = append(fields, zap.Stringer("topic_id", note.Partition.Topic), zap.Int32("partition", int32(note.Partition.Partition)))
		}
		if note.Offset != 0 {
			fields = append(fields, zap.Int64("offset", int64(note.Offset)))
		}
		if t.count != "" {
			fields = append(fields, zap.Int64(t.count, note.Count))
		}
		if note.Detail != "" {
			fields = append(fields, zap.String("detail", note.Detail))
		}
		if coded {
			fields = append(fields, zap.String("fix", explain.Of(code).Fix))
		}
		entry.Write(fields...)
	}
	if marks == (effect.Marks{}) {
		return
	}
	for m := effect.Mark(0); m < effect.MarkCount; m++ {
		if marks.Has(m) {
			n.metrics.Marks[m].Add(1)
		}
	}
}
