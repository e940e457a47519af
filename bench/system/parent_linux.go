package system

import "syscall"

// dieWithParent makes the kernel end a process when the one that started it is gone.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
