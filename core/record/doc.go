// Package record reads, checks, stamps and builds Kafka record batches, version 2 (KIP-98), as views
// over the bytes that clients send, segments hold and consumers receive. A batch is never unpacked on
// its way through a broker: its bytes on disk are the producer's, except for the fields that the
// leader stamps.
//
//	 byte  field                      bytes
//	   0   base offset                  8  ┐ stamped by the leader,
//	   8   batch length                 4  │ the bytes that follow this field
//	  12   partition leader epoch       4  ┘ stamped by the leader
//	  16   magic = 2                    1
//	  17   CRC-32C                      4    over everything below
//	  21   attributes                   2    codec 0-2, append time 3, transactional 4, control 5, horizon 6
//	  23   last offset delta            4
//	  27   base timestamp               8    ms; the delete horizon when bit 6 is set
//	  35   max timestamp                8    ms
//	  43   producer id                  8  ┐
//	  51   producer epoch               2  │ without idempotence the id is -1, the rest means nothing
//	  53   base sequence                4  ┘
//	  57   record count                 4
//	  61   payload: the records, or one compressed blob of them
//
//	record: length, attributes (1 byte), timestamp delta, offset delta, key length (-1 null), key,
//	        value length (-1 null), value, header count, {key length, key, value length, value}...
//	        all lengths, deltas and counts are zig-zag varints
//
// Inputs are byte slices, outputs are small values or slices of the input. Three kinds of caller:
//
//   - machines (log, replica, storage) handle a Header: ReadHeader, Next, Stamp;
//   - a session checks what a producer sent: ValidateProduced, then Code to name a refusal;
//   - clients, coordinators and compaction read and write records: Reader, Builder, AppendControl.
//
// What holds:
//
//  1. No input makes this package panic, loop without progress, or allocate more than the caller's
//     limit plus a constant. Lengths on the wire are believed only as far as bytes back them.
//  2. What ValidateProduced accepts, every consumer that follows Kafka's format can read: framings
//     that Java's consumers refuse (linked lz4 blocks, several lz4 frames, zstd dictionaries and windows
//     above 128 MiB) are refused. One exception: S2's extension of snappy is accepted, because telling
//     it from snappy costs as much as decoding it, and no Kafka client writes it.
//  3. After ValidateProduced the header is true: counts, offsets, and max timestamp are those of the
//     records.
//  4. Checking an uncompressed batch allocates nothing. Compressed batches are inflated into a buffer
//     of the caller's Decompressor, which is reused.
//  5. Builder and Compressor are deterministic: same records, options and build, same bytes, whatever
//     was built before.
//
// Absent on purpose: formats 0 and 1 (refused with ErrMagic), conversion between them, policy (which
// codec a topic wants, what happens to a duplicate), and every kind of sharing: a Decompressor,
// Compressor, Builder or Reader belongs to one owner at a time.
//
// Not obvious:
//
//   - Snappy exists in two framings. Java writes xerial's (a magic, then 32 KiB blocks), librdkafka
//     and franz-go write one raw block. We read both and write xerial, because a client that could
//     not read it could not read what Java producers write.
//   - lz4 is the frame format with independent blocks. zstd may lack its content size, gzip may have
//     several members.
//   - The batch length counts from byte 12, and the CRC starts at byte 21, so that base offset and
//     leader epoch can be stamped without another pass over the data.
package record
