package main

import (
	"fmt"
	"time"
)

// progress prints a line a second to people until the returned function is called.
func (a *app) progress(line func() string) (stop func()) {
	if !a.showProgress && !isTerminal(a.stderr) {
		return func() {}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(time.Second)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				_, _ = fmt.Fprintf(a.stderr, "\r%-70s", line())
			case <-quit:
				_, _ = fmt.Fprintf(a.stderr, "\r%-70s\r", "")
				return
			}
		}
	}()
	return func() { close(quit); <-done }
}
