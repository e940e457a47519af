// Package openloop keeps a pace: it says when the next thing is due, whether or not the last one has been answered.
package openloop

import (
	"errors"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Pace calls send for each thing that is due, at its time or as soon after it as can be, until send says that it
// was the last: thing i is due at begin + i*interval. It keeps a thread of its own: the runtime's timers are
// too coarse below a millisecond.
func Pace(begin time.Time, interval time.Duration, send func(due time.Time) bool) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for due := begin; ; due = due.Add(interval) {
		for wait := time.Until(due); wait > 0; wait = time.Until(due) {
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
