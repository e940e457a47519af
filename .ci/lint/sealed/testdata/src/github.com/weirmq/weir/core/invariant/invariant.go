// Package invariant stands in for the real one.
package invariant

// Checkf panics when ok is false.
func Checkf(ok bool, format string, args ...any) {}
