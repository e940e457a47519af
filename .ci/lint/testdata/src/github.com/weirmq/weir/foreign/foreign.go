// Package foreign breaks a rule of each analyzer that others wrote.
package foreign

import (
	"fmt"
	"os"
)

type colour int

const (
	red colour = iota
	green
)

func name(c colour) string {
	switch c { // want `exhaustive: missing cases in expression switch: green`
	case red:
		return "red"
	}
	return ""
}

func errors(f *os.File) error {
	f.Sync() // want `errcheck: unchecked error; handle it`
	_ = f.Sync()
	defer f.Close()
	fmt.Fprintln(f, name(red))
	f.Sync() //lint:ignore errcheck the file is about to be removed
	//lint:ignore errcheck the file is about to be removed
	f.Sync()
	/* want+1 `errcheck: unchecked error` `has no reason` */
	f.Sync() //lint:ignore errcheck
	return fmt.Errorf("Bad. %d", len("")) // want `ST1005: error strings should not be capitalized`
}

func unusedFunc() {} // want `U1000: func unusedFunc is unused`

func nilDeref(p *colour) colour {
	if p == nil {
		return *p // want `nilness: nil dereference in load`
	}
	return *p
}

func overwritten() string {
	x := name(red) // want `SA4006: this value of x is never used`
	x = name(green)
	return x
}

var _ = []any{errors, nilDeref, overwritten}

type conn struct{}

func (conn) RemoteAddr() string { return "" }
func (conn) Close() error       { return nil }

type compressor struct{}

func (compressor) Close() error { return nil }

func closing(c conn, z compressor) {
	c.Close()
	z.Close() // want `errcheck: unchecked error; handle it`
	defer z.Close()
}

var _ = closing
