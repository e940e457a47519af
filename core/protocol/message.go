package protocol

// Message is one request or response body.
type Message interface {
	// Key is the API key that the message belongs to.
	Key() Key
	// Decode fills the message from r as the given version; every field is set, those that the version
	// lacks to their defaults. Slices and equal strings of an earlier Decode are reused. Failure sticks to r.
	Decode(r *Reader, version int16)
	// Encode appends the message to w as the given version. Failure sticks to w.
	Encode(w *Writer, version int16)
	// Default sets every field to its schema default and keeps the capacity of slices.
	Default()
}

// Body is anything the schemas describe: a message, a record of an internal log, an embedded structure.
type Body interface {
	Decode(r *Reader, version int16)
	Encode(w *Writer, version int16)
	Default()
}

// UUID is a 16-byte identifier; model.TopicID converts to and from it.
type UUID = [16]byte

// Float64 is a floating-point number as its IEEE 754 bits: the core carries quotas' values and computes
// with integers only.
type Float64 uint64

// NullString is a string that may be null. Its zero value is null.
type NullString struct {
	Value string
	Valid bool // false is null
}

// String makes a NullString that is not null.
func String(s string) NullString { return NullString{Value: s, Valid: true} }

// Records is a field of record batches. Decoded, it is a slice of the frame in Bytes. To be encoded, it
// is Bytes followed by Regions, of which either may be empty; neither is copied unless small.
type Records struct {
	Bytes   []byte
	Regions []Region
	Null    bool // as decoded; when encoding, true sends null whatever the rest holds
}

// Len counts the bytes of all parts.
func (x *Records) Len() int {
	n := len(x.Bytes)
	for _, g := range x.Regions {
		n += g.Len()
	}
	return n
}

// Add appends one element to a message's array, set to its defaults, and returns it. It reuses the
// memory of elements that stood there before a Default or a [:0], their own slices included. Go's zero value of a
// struct is not its default (many defaults are -1): build messages with Add.
func Add[T any, P interface {
	*T
	Default()
}](s *[]T) P {
	if n := len(*s); n < cap(*s) {
		*s = (*s)[:n+1]
	} else {
		var zero T
		*s = append(*s, zero)
	}
	p := P(&(*s)[len(*s)-1])
	p.Default()
	return p
}

// empty is an empty slice that is not nil: nullable arrays use nil for null.
func empty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s[:0]
}
