// Package invariant states what must hold in our own code.
//
// A broken invariant panics with a Violation: the process stops rather than serve users' data from a
// state that nobody can explain. Invariants are about our code only. Bytes from the network or the
// disk are validated and refused by the package that reads them, never asserted here.
//
// Check and Checkf cost a comparison and stay on in production, so they guard O(1) conditions. Costly
// conditions live in each machine's Check method, which the simulator calls after every event.
package invariant

import "fmt"

// Violation is the value that a broken invariant panics with.
type Violation struct{ Message string }

// Error makes a recovered Violation print as one.
func (v Violation) Error() string { return "invariant broken: " + v.Message }

// Check panics with a Violation when ok is false. The message says what must hold.
func Check(ok bool, message string) {
	if !ok {
		panic(Violation{Message: message})
	}
}

// Checkf is Check with a formatted message. Its arguments are evaluated even when ok is true: on hot
// paths, put it inside the if that found the breakage.
func Checkf(ok bool, format string, args ...any) {
	if !ok {
		panic(Violation{Message: fmt.Sprintf(format, args...)})
	}
}
