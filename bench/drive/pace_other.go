//go:build !linux

package drive

import "time"

// pace calls send for each thing that is due, at its time, until send says that it was the last.
func pace(interval time.Duration, send func(due time.Time) bool) error {
	for due := time.Now(); ; due = due.Add(interval) {
		time.Sleep(time.Until(due))
		if !send(due) {
			return nil
		}
	}
}
