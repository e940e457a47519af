//go:build !linux

package system

import "syscall"

func dieWithParent() *syscall.SysProcAttr { return nil }
