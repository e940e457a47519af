//go:build !linux

// Package openloop keeps a pace: it says when the next thing is due, whether or not the last one has been answered.
package openloop

import "time"

// Pace calls send for each thing that is due, at its time or as soon after it as can be, until send says that it
// was the last: thing i is due at begin + i*interval.
func Pace(begin time.Time, interval time.Duration, send func(due time.Time) bool) error {
	for due := begin; ; due = due.Add(interval) {
		time.Sleep(time.Until(due))
		if !send(due) {
			return nil
		}
	}
}
