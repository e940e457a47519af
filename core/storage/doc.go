// Package storage is the storage engine of one loop: it makes appended batches durable, serves them, and
// finds them again after any crash that the disk's promises allow.
//
// Its inputs are the storage effects of a step (effect.Set) and the outcome of syncs; its outputs are
// completions, and bytes or file regions for fetches. It is synchronous, deterministic code over Disk. The
// slow part is cut out: BeginSync and BeginCheckpoint write and then name the files to sync, the driver
// runs SyncWork.Run wherever it likes, and EndSync and EndCheckpoint take the outcome. Reads and further
// appends go on meanwhile.
//
//	for {                                     // the I/O loop of a node
//		engine.Perform(set, &done)            // every set that waits
//		engine.ResolveRead(fetch)
//		if no sync is running {
//			work, ok := engine.BeginSync()    // ok: go run it, then engine.EndSync(work, err, &done)
//		}
//		if no checkpoint is running && engine.CheckpointDue() {
//			work, ok := engine.BeginCheckpoint() // likewise; several rounds
//		}
//	}
//
// # The directory
//
//	meta                              whose directory this is: cluster, node, directory id
//	checkpoint.a  checkpoint.b        the manifest, twice
//	journal/0000000007.journal        groups that the manifest does not cover yet, and files to reuse
//	partitions/<topic id>-<partition>/
//		00000000000000000000.log        batches, as Kafka stores and sends them
//		00000000000000000000.index      Kafka's sparse index: offset to position
//		00000000000000000000.timeindex  Kafka's sparse index: time to offset
//		00000000000000004711.state      log.State at that offset: where a segment begins, or too large for the manifest
//
// meta and the manifests are frames: magic, version, length, body, xxhash64; states carry their own
// checksum. Whoever runs the engine keeps a second process out of the directory.
//
// The manifest names every segment with its durable size, and holds the log.State of partitions with few
// producers. A file for every state would cost a checkpoint of 10,000 partitions as many creations, syncs
// and directory syncs.
//
// # The journal
//
//	┌─ block ──────────────────────────┬─ block ─────────┬─ block ──┬─ zeros, or an
//	│ group 41: header, entry, entry … │ group 42 …  pad │ mark 43  │  older file's bytes
//	└──────────────────────────────────┴─────────────────┴──────────┴──────────────────
//
// Each BeginSync writes one group with one write: a header with the group's LSN, then entries. An entry has
// a header of its own (LSN, kind, partition, offsets, place in the segment, hash of the payload) and the
// batch as payload. Groups begin at block boundaries and never span files, so no write touches a block
// that holds an older group. Files are zeroed before they are written and recycled by renaming once both
// copies of a later manifest are durable. LSNs never repeat (each start of the engine begins a new epoch,
// their upper bits), so what a recycled file held before is never taken for something new.
//
// In the place of the next group, and under its LSN, may stand a remark about the last one: that it is
// durable (a mark), or that its sync failed, which the page cache would not show a new process.
//
// A topic that asks for Kafka's trade is loose: its batches go to their segments only and are reported when they
// are written. See the type loose.
//
// A truncation is an entry, too, in a group that holds nothing else of its log. When its sync has ended, the files
// are cut and removed, and only then is anything written behind it, in a segment of its own. See the type truncation.
//
// Batches are also written to their segments at once, without sync. A turn's appends to one partition that
// reach InPlaceBytesMin are synced there instead of being copied to the journal, which then holds only
// their headers.
//
// # Invariants
//
//  1. Nothing is reported as durable before the sync that covers it has returned without error; and, if it
//     is in a segment only, before that segment's name is durable, too. Of a loose partition, appends are
//     reported when they are written; nothing else is.
//  2. A group is written only after the sync of the group before it has ended. So group n+1, or a mark in
//     its place, proves that group n was durable.
//  3. After a failed sync nothing is retried or reported any more, and nothing written but the remark.
//  4. A batch is in its segment and in the journal whole, or refused; a refused one leaves no trace and its
//     offset goes to the next. Appends of one partition are written in the order asked.
//  5. A manifest names only what was synced before it was written; journal files are reused only after both
//     of its copies are synced.
//  6. Segments of a partition follow each other without a gap; only the last one grows.
//  7. Bytes that were on the disk before this process started are verified (place, leader epoch, CRC)
//     before they are served, as bytes or as regions. What does not check out is never served and never cut
//     off: the partition is damaged until somebody repairs it.
//  8. log.State of a partition is what its batches amount to, with those that retention removed and without those
//     that were truncated.
//  9. The files keep what a truncation drops until it is durable, and nothing is written over it: a crash finds the log
//     as it was or as it became. A name under which a file was removed is durable before a manifest that names
//     another there.
//
// # Recovery
//
// Recovery reads the newer sound manifest and replays the journal from where the manifest says, writing
// batches into their segments at their recorded places. In the directories of the partitions that the journal
// names it cuts what is longer than known and removes what is not known. Then it writes a checkpoint under a new
// epoch. No log is read. The other partitions' directories are looked into before their first use, at the
// latest by the periodic retention: a start takes as long as what was written since the last checkpoint, however
// many partitions there are. Why that gives back every acknowledged batch, and nothing twice:
//
//   - An acknowledged batch is in a group whose sync has returned. If the manifest covers the group, the
//     batch was synced in its segment before (5). If not, the group is in the journal at the place where
//     the one before it ended, or in the next file; all groups in between were synced even earlier (2).
//   - Writing a batch to its recorded place gives the same file however often it is done, and the manifest
//     moves only after everything was synced. So a crash during recovery leaves the same journal and
//     manifest, and the next recovery gives the same result. Batches synced in place are only read, or
//     written over themselves: there is no other copy of them to put at risk.
//   - The journal's last group may be in the page cache only. Before files are cut or removed as it says it is made durable,
//     with what it has in segments only: a power loss would else take the group, and not give the files back.
//   - The manifest gone by is made durable before its twin is overwritten, unless the twin is unsound: then
//     it is durable already, for the twin was touched after its sync.
//   - Replay ends at the first group that does not check out. If a later group or mark exists, that group
//     was durable (2), and the journal is damaged: reported, for the partitions concerned when only
//     payloads are bad and the segments have no good copy, for the directory otherwise. If none exists, the
//     group was never acknowledged, or was the very last one and is both acknowledged and damaged. A place
//     that cannot be read at all is never taken for the end: no torn write leaves one.
//
// That last doubt is what the mark narrows: BeginSync writes it, without sync, when it has no group to
// write, because nothing was staged or everything was refused, and Close writes a manifest that says so. What remains is a power loss before the mark reached the disk
// together with a damaged last group.
//
// Replay writes journaled batches even where the segment already has them, because after a failed sync the
// page cache may show bytes as clean that the disk does not have, and the process may have been killed before it
// could remark so. For the same reason it writes the batches in place of the last group over themselves.
//
// Of loose partitions it then takes up from the segments what follows on the known end and checks out, batch by
// batch, before the rest is cut. A journal entry or the manifest must have said durably that the partition is
// loose, and the sync of that entry has cleared away what earlier lives left in its place: nothing that was not
// reported in this life comes back, but for what was refused in it for lack of space: a power loss may undo that its
// bytes were cut off.
//
// A truncation in the journal may have cut and removed files that the manifest still names, and others may have their
// names by now. So what recovery misses on the way counts only if no truncation or log start behind it says that it is
// gone. See the type doubts.
//
// How a crash leaves a partition's segment, and what recovery makes of it:
//
//	manifest says ──► [ synced before the manifest        ]
//	journal says  ──►                                      [ group 41 ][ group 42 ]
//	on the disk       [ as it was                         ][ anything              | anything ]
//	recovered         [ as it was; verified when read     ][ written again         ]  cut off
//
// # Deliberately absent
//
// Clocks (time comes with Retain), compaction (not yet), a cache of batches (the system's
// page cache is one: regions are sent from it), and deletion of what is not understood: directories that
// nothing durable names stay until DeleteUnknown or until their partition is written again.
//
// # Not obvious
//
//   - A full disk refuses appends, never tears one: journal files are zeroed ahead, a segment that could
//     not take a whole run is cut back, and a little room in the journal is left to what frees space.
//   - Index files carry no checksum, being Kafka's. Whoever follows an entry checks the batch that it leads
//     to, and has the index rebuilt from the log if it is another.
//   - A log that is truncated remembers its producers as if they had never written more. Those that wrote what is
//     dropped are learnt again from the last part of the log, or from the snapshot where the segment begins: nothing
//     vouches for that one but its own checksum.
//   - A segment that was cut does not grow in this life, so that a region that is still being sent shows what was there
//     or ends early. After a restart it does.
//   - What is written is served before it is durable, what is only staged is not: see Unwritten.
//   - A truncation to 0 leaves a log of which there is nothing to know. After a restart its directory is a stray.
//   - The payload hash in the journal is taken after stamping.
//   - A refusal because the disk is full comes with EndSync, one for each refused append, with a copy of the
//     state that the log really has. Appends behind a refused one leave a gap and are refused, too, until the
//     machine goes on from that state.
//   - Between the turn that takes up a new log start and the end of its sync, records below it are already
//     out of range, and their files still there.
//   - A file that is missing or too short is found when its partition is first used, not at the start, unless
//     the journal names it.
//   - A journal file is missed if a later one is there, or if the manifest says that it was written to. That the newest
//     is missing or was cut short is otherwise not to be told from a crash before it was written.
//   - How far a log is committed is told with its appends and with retention, and is written down beside them: in the entry of a
//     batch as the distance, which needs no room, and in the manifest. It is a lower bound; a truncation lowers it.
//   - A partition whose damage recovery found stays damaged through restarts: the manifest says so.
package storage
