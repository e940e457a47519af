//determ:allow runs many worlds beside each other, and is part of none

// Package runner is outside every world.
package runner

import (
	"sync"
	"time"
)

// Run runs.
func Run(worlds []func()) time.Duration {
	start := time.Now()
	var wg sync.WaitGroup
	for _, w := range worlds {
		wg.Add(1)
		go func() { w(); wg.Done() }()
	}
	wg.Wait()
	return time.Since(start)
}
