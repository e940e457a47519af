package protocol

import (
	"errors"
	"fmt"
)

// Why a frame was refused. Reader.Err wraps one of them in a DecodeError.
var (
	ErrTruncated = errors.New("the bytes end before the message does")
	ErrTrailing  = errors.New("bytes are left after the message")
	ErrLength    = errors.New("a length or count is out of range")
	ErrNull      = errors.New("null stands where the version does not allow it")
	ErrTag       = errors.New("a tagged field's size and content disagree")
	ErrBudget    = errors.New("the message asks for more than the budget of its frame")
	ErrVersion   = errors.New("the version is not one of this message")
)

// DecodeError says why and where a Reader stopped.
type DecodeError struct {
	Reason error // one of the sentinels above
	Offset int   // byte of the frame at which the refused field begins
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("protocol: byte %d: %v", e.Offset, e.Reason)
}

// Unwrap gives the sentinel.
func (e *DecodeError) Unwrap() error { return e.Reason }

// EncodeError says which field could not be written. It is always a mistake of the caller.
type EncodeError struct {
	Field   string // struct and field, or the message
	Version int16
	Reason  string
}

func (e *EncodeError) Error() string {
	return fmt.Sprintf("protocol: %s, version %d: %s", e.Field, e.Version, e.Reason)
}
