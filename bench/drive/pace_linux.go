package drive

import (
	"errors"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// pace calls send for each thing that is due, at its time, until send says that it was the last. It keeps a
// thread of its own: the runtime's timers are too coarse below a millisecond.
func pace(interval time.Duration, send func(due time.Time) bool) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for due := time.Now(); ; due = due.Add(interval) {
		for {
			wait := time.Until(due)
			if wait <= 0 {
				break
			}
			ts := unix.NsecToTimespec(int64(wait))
			if err := unix.Nanosleep(&ts, nil); err != nil && !errors.Is(err, unix.EINTR) {
				return err
			}
		}
		if !send(due) {
			return nil
		}
	}
}
