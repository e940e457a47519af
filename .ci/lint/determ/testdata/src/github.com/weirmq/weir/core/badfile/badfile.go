//determ:allow the whole file is special // want `for a whole file is not permitted here`

// Package badfile tries to excuse itself from the core's rules.
package badfile

func f() {
	go f() // want `goroutine: `
}
