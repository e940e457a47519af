package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/weirmq/weir/core/storage"
	"github.com/weirmq/weir/node/disk"
)

// failure is an error as a user reads it: a stable code, what failed and why, and what to do.
type failure struct {
	code string
	err  error
	fix  string
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// fail makes a failure.
func fail(code, fix string, err error) error { return &failure{code: code, err: err, fix: fix} }

// explain finds the code and the cure of errors that come from below.
func explain(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return &failure{code: f.code, err: err, fix: f.fix}
	}
	var u *usageError
	switch {
	case errors.As(err, &u):
		return &failure{code: "usage", err: err}
	case errors.Is(err, disk.ErrInUse):
		return &failure{code: "data-in-use", err: err, fix: "stop the other process, or choose another directory with --data"}
	case errors.Is(err, syscall.EADDRINUSE):
		return &failure{code: "address-in-use", err: err, fix: "stop what listens there, or choose other addresses with --listen and --http"}
	case errors.Is(err, storage.ErrIdentity):
		return &failure{code: "wrong-data", err: err, fix: "give the directory of this node, or an empty one"}
	case errors.Is(err, storage.ErrFull):
		return &failure{code: "disk-full", err: err, fix: "free space on the disk of the data directory, then start again"}
	case errors.Is(err, storage.ErrStopped):
		return &failure{code: "disk-failed", err: err, fix: "look at the system's log for errors of the disk; what was acknowledged before is on it"}
	}
	return &failure{code: "failed", err: err}
}

func (a *app) printError(err error) {
	f := explain(err)
	if a.json() {
		b, _ := json.Marshal(map[string]any{"error": map[string]string{"code": f.code, "message": f.Error(), "fix": f.fix}})
		_, _ = fmt.Fprintf(a.stderr, "%s\n", b)
		return
	}
	_, _ = fmt.Fprintf(a.stderr, "error %s: %s\n", f.code, strings.TrimSpace(f.Error()))
	if f.fix != "" {
		_, _ = fmt.Fprintf(a.stderr, "  fix: %s\n", f.fix)
	}
}
