package broker

import "syscall"

// attributes are of the process: the kernel ends it when the one that started it is gone.
func attributes(ownGroup bool) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: ownGroup, Pdeathsig: syscall.SIGKILL}
}
