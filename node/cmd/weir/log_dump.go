package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
	"github.com/weirmq/weir/core/record"
	"github.com/weirmq/weir/core/storage"
	"github.com/weirmq/weir/node/explain"
)

func (a *app) logDumpCommand() *cobra.Command {
	var records bool
	var offsets, from string
	c := &cobra.Command{
		Use: "dump PATH...", Short: "Show batches, records, indexes, journals and checkpoints", Args: cobra.MinimumNArgs(1),
		Long: `Shows what is in the files of a data directory: weir's, whose node may be running, or Kafka's.

PATH is a file (.log, .index, .timeindex, .journal, checkpoint.a, checkpoint.b, meta), the directory of a partition, or
a data directory, of which the partitions are listed. Nothing is changed. Damage is shown where it is, and the exit
code is 1; ` + "`weir log verify`" + ` looks for all of it.

With --records the records of metadata and of __consumer_offsets are shown decoded. Text shows bytes as a quoted
string, or as 0x... if they are no text.`,
		Example: `  weir log dump weir-data
  weir log dump weir-data/log/partitions/*/00000000000000000000.log
  weir log dump --records --offsets 100:200 00000000000000000000.log
  weir log dump --records --output json /var/lib/kafka/orders-0 | jq .value`,
		RunE: func(_ *cobra.Command, paths []string) error {
			if from != "" {
				if offsets != "" {
					return usage("--from and --offsets exclude each other")
				}
				offsets = from + ":"
			}
			span, err := parseOffsetRange(offsets)
			if err != nil {
				return err
			}
			d := &dumper{app: a, w: bufio.NewWriter(a.stdout), records: records, span: span}
			var errs error
			for _, path := range paths {
				errs = errors.Join(errs, d.path(path))
			}
			return errors.Join(errs, d.w.Flush())
		},
	}
	f := c.Flags()
	f.BoolVar(&records, "records", false, "show the records of each batch")
	f.StringVar(&offsets, "offsets", "", "only batches with offsets FROM:TO (TO exclusive; either may be left out)")
	f.StringVar(&from, "from", "", "only batches from this offset on")
	return c
}

type dumper struct {
	app     *app
	w       *bufio.Writer
	records bool
	span    offsetRange
	inflate record.Decompressor
}

// line writes a value as JSON, or as text.
func (d *dumper) line(value any, format string, args ...any) error {
	if d.app.json() {
		return newLineEncoder(d.w).Encode(value)
	}
	_, err := fmt.Fprintf(d.w, format+"\n", args...)
	return err
}

func (d *dumper) path(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		f, err := fileAt(path)
		if err != nil {
			return err
		}
		f.of = kindOfDir(filepath.Dir(absolute(path)))
		return d.file(&f)
	}
	if root, ok := dataDir(path); ok {
		return d.directory(root)
	}
	files, err := partitionFiles(path, kindOfDir(absolute(path)))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return usage("%s is neither a data directory nor the directory of a partition", path)
	}
	for i := range files {
		if files[i].kind == fileSegment {
			if err := d.file(&files[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// directory lists what the newer manifest says of each partition.
func (d *dumper) directory(root string) error {
	m, _, err := newerManifest(root)
	if err != nil {
		return err
	}
	names := topicNames(root)
	for i := range m.Partitions {
		p := &m.Partitions[i]
		var size int64
		for _, s := range p.Segments {
			size += s.SizeBytes
		}
		name := names[p.Partition.Topic]
		err := d.line(map[string]any{
			"topic": name, "topic_id": p.Partition.Topic.String(), "partition": p.Partition.Partition, "start_offset": p.StartOffset,
			"end_offset": p.EndOffset, "segments": len(p.Segments), "size_bytes": size, "loose": p.Loose, "damage": p.Damage,
		}, "%s-%d  %s  offsets %d to %d  segments %d  bytes %d%s", orDash(name), p.Partition.Partition,
			storage.PartitionDir(p.Partition), p.StartOffset, p.EndOffset, len(p.Segments), size, damageText(p.Damage))
		if err != nil {
			return err
		}
	}
	return d.recent(root, m, names)
}

// recent lists the directories that were made since the checkpoint: what is in them only the journal knows.
func (d *dumper) recent(root string, m *storage.Manifest, names map[model.TopicID]string) error {
	dirs, err := os.ReadDir(filepath.Join(root, storage.PartitionsDir))
	if err != nil {
		return err
	}
	known := make(map[model.TopicPartition]bool, len(m.Partitions))
	for i := range m.Partitions {
		known[m.Partitions[i].Partition] = true
	}
	for _, dir := range dirs {
		tp, ok := storage.ParsePartitionDir(dir.Name())
		if !ok || known[tp] {
			continue
		}
		name := names[tp.Topic]
		err := d.line(map[string]any{"topic": name, "topic_id": tp.Topic.String(), "partition": tp.Partition, "since_checkpoint": true},
			"%s-%d  %s  made since the last checkpoint", orDash(name), tp.Partition, dir.Name())
		if err != nil {
			return err
		}
	}
	return nil
}

func damageText(s string) string {
	if s == "" {
		return ""
	}
	return "  damaged: " + s
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (d *dumper) file(f *logFile) error {
	switch f.kind {
	case fileSegment:
		return d.segment(f)
	case fileJournal:
		return d.journal(f)
	case fileIndex, fileTimeIndex, fileManifest, fileIdentity:
	}
	b, err := os.ReadFile(f.path)
	if err != nil {
		return err
	}
	switch f.kind {
	case fileIndex:
		entries, rerr := storage.ReadIndex(b, f.base)
		for _, e := range entries {
			err = errors.Join(err, d.line(e, "offset %d position %d", e.Offset, e.Position))
		}
		return errors.Join(err, damagedFile(f.path, rerr))
	case fileTimeIndex:
		entries, rerr := storage.ReadTimeIndex(b, f.base)
		for _, e := range entries {
			err = errors.Join(err, d.line(e, "time %s offset %d", stampText(e.Timestamp), e.Offset))
		}
		return errors.Join(err, damagedFile(f.path, rerr))
	case fileManifest:
		return d.manifest(f.path, b)
	case fileIdentity, fileSegment, fileJournal:
	}
	id, err := storage.ReadIdentity(b)
	if err != nil {
		return damagedFile(f.path, err)
	}
	return d.line(map[string]any{"cluster_id": id.ClusterID, "node_id": id.NodeID, "directory_id": id.DirectoryID.String()},
		"cluster %s node %d directory %s", id.ClusterID, id.NodeID, id.DirectoryID)
}

// damagedFile gives an error of a file its code.
func damagedFile(path string, err error) error {
	if err == nil {
		return nil
	}
	return fail(explain.DataDamaged, "", fmt.Errorf("%s: %w", path, err))
}

func (d *dumper) manifest(path string, b []byte) error {
	m, err := storage.ReadManifest(b)
	if err != nil {
		return damagedFile(path, err)
	}
	err = d.line(m, "generation %d clean %v lsn %d journal file %d position %d partitions %d", m.Generation, m.Clean, m.LSN,
		m.JournalFile, m.JournalPos, len(m.Partitions))
	for i := range m.Partitions {
		p := &m.Partitions[i]
		err = errors.Join(err, d.line(struct {
			Partition string `json:"partition"`
			*storage.ManifestPartition
		}{p.Partition.String(), p}, "%v offsets %d to %d segments %v%s", p.Partition, p.StartOffset, p.EndOffset, p.Segments, damageText(p.Damage)))
	}
	return err
}

func (d *dumper) journal(f *logFile) error {
	in, err := os.Open(f.path)
	if err != nil {
		return err
	}
	info, err := in.Stat()
	if err == nil {
		err = storage.WalkJournal(in, info.Size(), func(g *storage.JournalGroup) error {
			err := d.line(g, "position %d lsn %d %s entries %d bytes %d", g.Position, g.LSN, g.Kind, len(g.Entries), g.Bytes)
			for i := range g.Entries {
				if e := &g.Entries[i]; !d.app.json() && err == nil {
					err = d.line(nil, "  %s %v offsets %d to %d segment %d position %d bytes %d%s", e.Kind, e.Partition, e.BaseOffset, e.NextOffset,
						e.SegmentBase, e.Position, e.SizeBytes, map[bool]string{false: " DAMAGED"}[e.Sound])
				}
			}
			return err
		})
		if errors.Is(err, storage.ErrDamaged) {
			err = damagedFile(f.path, err)
		}
	}
	return errors.Join(err, in.Close())
}

// batchLine is a batch in JSON.
type batchLine struct {
	Path          string           `json:"path"`
	Position      int64            `json:"position"`
	BaseOffset    model.Offset     `json:"base_offset"`
	LastOffset    model.Offset     `json:"last_offset"`
	Count         int32            `json:"count"`
	SizeBytes     int              `json:"size_bytes"`
	LeaderEpoch   int32            `json:"leader_epoch"`
	ProducerID    int64            `json:"producer_id"`
	ProducerEpoch int16            `json:"producer_epoch"`
	BaseSequence  int32            `json:"base_sequence"`
	LastSequence  int32            `json:"last_sequence"`
	Codec         string           `json:"codec"`
	TimestampType string           `json:"timestamp_type"`
	BaseTimestamp model.Timestamp  `json:"base_timestamp_ms"`
	MaxTimestamp  model.Timestamp  `json:"max_timestamp_ms"`
	Transactional bool             `json:"transactional"`
	Control       bool             `json:"control"`
	DeleteHorizon *model.Timestamp `json:"delete_horizon_ms,omitempty"`
	CRC           string           `json:"crc"`
	Sound         bool             `json:"sound"`
}

func (d *dumper) segment(f *logFile) error {
	bad := 0
	err := f.walk(nil, func(position int64, h *record.Header, b record.Batch, crc error) error {
		if crc != nil {
			bad++
		}
		if !d.span.has(h) {
			return nil
		}
		if err := d.batch(f, position, h, crc); err != nil {
			return err
		}
		if !d.records || crc != nil {
			return nil
		}
		for r, err := range record.Records(b, &d.inflate, 0) {
			if err != nil {
				return damagedFile(placeAt(f.path, position), err)
			}
			if r.Offset >= d.span.from && r.Offset < d.span.to {
				if err := d.record(f, h, &r); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if errors.Is(err, storage.ErrFrame) {
		err = damagedFile(f.path, err)
	}
	if bad > 0 {
		err = errors.Join(err, damagedFile(f.path, fmt.Errorf("%d batches fail their CRC", bad)))
	}
	return err
}

func (d *dumper) batch(f *logFile, position int64, h *record.Header, crc error) error {
	line := batchLine{
		Path: f.path, Position: position, BaseOffset: h.BaseOffset, LastOffset: h.LastOffset(), Count: h.RecordCount, SizeBytes: h.SizeBytes,
		LeaderEpoch: int32(h.LeaderEpoch), ProducerID: int64(h.ProducerID), ProducerEpoch: int16(h.ProducerEpoch),
		BaseSequence: int32(h.BaseSequence), LastSequence: int32(h.LastSequence()), Codec: h.Codec().String(),
		TimestampType: "CreateTime", BaseTimestamp: h.BaseTimestamp, MaxTimestamp: h.MaxTimestamp,
		Transactional: h.IsTransactional(), Control: h.IsControl(), CRC: fmt.Sprintf("%08x", h.CRC), Sound: crc == nil,
	}
	if h.TimestampType() != record.CreateTime {
		line.TimestampType = "LogAppendTime"
	}
	var flags strings.Builder
	if h.HasDeleteHorizon() {
		line.DeleteHorizon = &line.BaseTimestamp
		flags.WriteString(" horizon")
	}
	if line.Transactional {
		flags.WriteString(" transactional")
	}
	if line.Control {
		flags.WriteString(" control")
	}
	if crc != nil {
		flags.WriteString(" DAMAGED: " + crc.Error())
	}
	producer := ""
	if h.HasProducer() {
		producer = fmt.Sprintf(" producer %d epoch %d sequence %d..%d", line.ProducerID, line.ProducerEpoch, line.BaseSequence, line.LastSequence)
	}
	return d.line(&line, "offset %d..%d count %d position %d size %d leader_epoch %d codec %s %s %s..%s%s crc %s%s",
		line.BaseOffset, line.LastOffset, line.Count, position, line.SizeBytes, line.LeaderEpoch, line.Codec, line.TimestampType,
		stampText(h.BaseTimestamp), stampText(h.MaxTimestamp), producer, line.CRC, flags.String())
}

func stampText(t model.Timestamp) string {
	if t < 0 {
		return "-"
	}
	return time.UnixMilli(int64(t)).UTC().Format("2006-01-02T15:04:05.000Z")
}

// dumpedRecord is a record in JSON: as weir consume has it, and decoded if it is the cluster's own.
type dumpedRecord struct {
	Offset      model.Offset    `json:"offset"`
	TimestampMs model.Timestamp `json:"timestamp_ms"`
	Key         *string         `json:"key"`
	KeyBase64   []byte          `json:"key_base64,omitempty"`
	Value       *string         `json:"value"`
	ValueBase64 []byte          `json:"value_base64,omitempty"`
	Headers     []headerJSON    `json:"headers,omitempty"`
	Decoded     any             `json:"decoded,omitempty"`
}

func (d *dumper) record(f *logFile, h *record.Header, r *record.Record) error {
	out := dumpedRecord{Offset: r.Offset, TimestampMs: r.Timestamp, Decoded: decoded(f.of, h, r)}
	out.Key, out.KeyBase64 = textOrBytes(r.Key)
	out.Value, out.ValueBase64 = textOrBytes(r.Value)
	var headers strings.Builder
	for _, x := range r.Headers {
		j := headerJSON{}
		if utf8.Valid(x.Key) {
			j.Name = string(x.Key)
		} else {
			j.NameBase64 = x.Key
		}
		j.Value, j.ValueBase64 = textOrBytes(x.Value)
		out.Headers = append(out.Headers, j)
		headers.WriteString(" " + quoted(x.Key) + "=" + quoted(x.Value))
	}
	if headers.Len() > 0 {
		headers.WriteString(" ")
	}
	text := "key " + quoted(r.Key) + " value " + quoted(r.Value)
	if out.Decoded != nil {
		b, err := json.Marshal(out.Decoded)
		if err != nil {
			return err
		}
		text = string(b)
	}
	if headers.Len() > 0 {
		text += " headers" + strings.TrimRight(headers.String(), " ")
	}
	return d.line(&out, "  offset %d time %s %s", r.Offset, stampText(r.Timestamp), text)
}

// quoted is bytes as text that shows every one of them.
func quoted(b []byte) string {
	switch {
	case b == nil:
		return "null"
	case utf8.Valid(b):
		return strconv.Quote(string(b))
	}
	return "0x" + hex.EncodeToString(b)
}

// decoded is what a record of the cluster's own says, nil if it is none or cannot be read.
func decoded(of logKind, h *record.Header, r *record.Record) any {
	if h.IsControl() {
		return nil
	}
	switch of {
	case metadataRecords:
		if rec, version, err := protocol.ReadMetadataRecord(r.Value); err == nil {
			return map[string]any{"type": typeName(rec), "version": version, "data": plain(reflect.ValueOf(rec))}
		}
	case offsetRecords:
		key, err := protocol.ReadCoordinatorKey(r.Key, protocol.NewGroupKey)
		if err != nil {
			return nil
		}
		out := map[string]any{"type": typeName(key), "key": plain(reflect.ValueOf(key)), "value": nil}
		var value protocol.Body
		switch key.(type) {
		case *protocol.GroupMetadataKey:
			v := new(protocol.GroupMetadataValue)
			v.Default()
			value = v
		case *protocol.OffsetCommitKey, *protocol.LegacyOffsetCommitKey:
			v := new(protocol.OffsetCommitValue)
			v.Default()
			value = v
		}
		if value != nil && r.Value != nil {
			if version, err := protocol.ReadVersioned(r.Value, value); err == nil {
				out["value"], out["version"] = plain(reflect.ValueOf(value)), version
			}
		}
		return out
	case plainRecords:
	}
	return nil
}

func typeName(v any) string {
	name := fmt.Sprintf("%T", v)
	return strings.TrimSuffix(strings.TrimSuffix(name[strings.LastIndexByte(name, '.')+1:], "Record"), "Key")
}

// plain is a message as JSON should show it: ids in their usual form, bytes as text where they are some.
func plain(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return plain(v.Elem())
	case reflect.Struct:
		out := map[string]any{}
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				out[f.Name] = plain(v.Field(i))
			}
		}
		return out
	case reflect.Array:
		if id, ok := v.Interface().([16]byte); ok {
			return model.TopicID(id).String()
		}
	case reflect.Slice:
		if v.IsNil() {
			return nil
		}
		if b, ok := v.Interface().([]byte); ok {
			return quoted(b)
		}
		out := make([]any, v.Len())
		for i := range out {
			out[i] = plain(v.Index(i))
		}
		return out
	}
	return v.Interface()
}
