// Package protocol is Kafka's wire format: every request and response of every version we speak, their
// headers and frames, and the records of the internal logs.
//
// In goes the frame of one message (the bytes after the 4-byte length), out comes a struct; in goes a struct,
// out come pieces to send: byte slices, and regions of files that the transport copies itself.
//
//	frame ──► Reader ── ReadRequestHeader ──► RequestHeader ── NewRequest(key) ── Decode ──► Finish
//	message ──► Writer: BeginResponse ── Encode ── EndFrame ──► Err, Pieces
//
// The structs and their codecs are generated: core/protocol/generate makes generated_*.go from schema/*.schema, one
// file per API key in a notation of our own, which the generator's package comment describes. After a change
// of a schema run "go generate ./core/protocol". Reader, Writer, headers and frames are written by hand.
//
// # Invariants
//
//  1. Whatever the bytes, decoding neither panics nor loops beyond what the bytes pay for: a count is checked
//     against the bytes left, divided by the least that one element takes in that version, and against the
//     Budget of the frame, before memory is taken.
//  2. A frame is accepted only if its version is in range, every length and null is allowed there, every tagged field is
//     exactly as long as it says, and nothing is left over (Finish).
//  3. Decode sets every field: those that the version lacks get their defaults. A reused struct decodes to
//     the same message as a new one.
//  4. What Decode accepts, Encode writes back; decoding that gives the same message again. Unknown tagged fields are
//     skipped, so they do not come back.
//  5. Record bytes are not copied, in either direction, except that Encode copies runs shorter than 512 bytes.
//  6. Decoding and encoding into reused structs, Readers and Writers allocates nothing, save for strings that changed.
//
// # What a caller must know
//
//   - Decoded bytes and records alias the frame. Decoded slices belong to the struct, and its next Decode or Default
//     reuses them: keep a copy, never the slice. For the same reason a struct that will be reused must own the slices put into it.
//   - Go's zero value of a struct is not the schema's default (many fields default to -1, and a zero there has a meaning:
//     a zero DivergingEpoch tells a follower to truncate). NewRequest, NewResponse, Default and Add give the
//     defaults; build messages with them.
//   - Null is nil for bytes and arrays, a nil pointer for structs, NullString and Records have a flag. Where null is not
//     allowed, nil means empty for arrays and bytes that are never null, and is an error for those that are in other versions.
//   - Setting a field that the version lacks is an error, unless it is at its default or the schema calls it ignorable, which
//     drops it. This is Kafka's rule: a request that cannot be said in a version must not be sent as a different one.
//   - Strings are bytes on the wire and are not checked for UTF-8.
//   - MinVersion and MaxVersion are what the codec can do; which of it a broker advertises is decided elsewhere.
//
// # Absent on purpose
//
// No sockets and no framing of streams (transport does both), no choice of versions, no meaning of fields, no parsing of record
// batches (core/record). Unknown tagged fields are not kept: nothing here forwards messages of others. The keys
// that Kafka 4.0 retired (4 to 7) have names and nothing else.
package protocol

//go:generate go run ./generate
