package main

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/weirmq/weir/core/storage"
	"github.com/weirmq/weir/node"
	"github.com/weirmq/weir/node/disk"
	"github.com/weirmq/weir/node/explain"
)

// failure is an error as a user reads it: a stable code of the catalogue, what failed and why, what to do.
type failure struct {
	code explain.Code
	err  error
	fix  string // empty: the catalogue's
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// fail makes a failure. Without a fix it has the one of the catalogue.
func fail(code explain.Code, fix string, err error) error {
	return &failure{code: code, err: err, fix: fix}
}

// diagnose finds the code of an error that comes from below, and what to do about it.
func diagnose(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		f = &failure{code: f.code, err: err, fix: f.fix}
	} else {
		f = &failure{code: codeOf(err), err: err}
	}
	if f.fix == "" && f.code != explain.Failed && f.code != explain.Usage {
		f.fix = explain.Of(f.code).Fix
	}
	return f
}

// codeOf classifies errors that nobody has given a code on the way.
func codeOf(err error) explain.Code {
	var u *usageError
	switch {
	case errors.As(err, &u):
		return explain.Usage
	case errors.Is(err, disk.ErrInUse):
		return explain.DataInUse
	case errors.Is(err, syscall.EADDRINUSE):
		return explain.AddressInUse
	case errors.Is(err, node.ErrDamaged):
		return explain.NodeDamaged
	case errors.Is(err, storage.ErrIdentity):
		return explain.WrongData
	case errors.Is(err, storage.ErrFull):
		return explain.DiskFull
	case errors.Is(err, storage.ErrStopped):
		return explain.DiskFailed
	case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ENOSPC):
		return explain.OutputFailed
	}
	return explain.Failed
}

func (a *app) printError(err error) {
	f := diagnose(err)
	if a.json() {
		_ = newLineEncoder(a.stderr).Encode(map[string]any{"error": errorJSON{f.code, strings.TrimSpace(f.Error()), f.fix}})
		return
	}
	_, _ = fmt.Fprintf(a.stderr, "error %s: %s\n", f.code, strings.TrimSpace(f.Error()))
	if f.fix != "" {
		lines := wrap(f.fix, 110)
		_, _ = fmt.Fprintf(a.stderr, "  fix: %s\n", strings.Join(lines, "\n       "))
	}
}

// errorJSON is an error in the output of --output json.
type errorJSON struct {
	Code    explain.Code `json:"code"`
	Message string       `json:"message"`
	Fix     string       `json:"fix,omitempty"`
}
