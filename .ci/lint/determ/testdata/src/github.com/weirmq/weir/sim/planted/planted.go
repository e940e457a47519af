// Package planted breaks every rule that holds in the simulator.
package planted

import (
	"context"
	"fmt"
	"maps"
	"math/rand" // want `random: math/rand is out of bounds`
	"os"
	"reflect"
	"slices"
	"sync" // want `import: sync is out of bounds`
	"time"
	"unsafe" // want `import: unsafe is out of bounds`
)

var count int

var _ sync.Mutex

func world(m map[int]int, c chan int) { // want `channel: `
	go world(m, c) // want `goroutine: `
	select {       // want `select: `
	default:
	}
	for k := range m { // want `map-range: `
		_ = k
	}
	for range maps.Values(m) { // want `map-range: maps.Values`
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		_ = k
	}
	count++                           // want `global: `
	_ = time.Now()                    // want `clock: time.Now`
	_ = rand.Int()                    // want `random: math/rand.Int`
	_ = fmt.Sprintf("%p", m)          // want `pointer-id: `
	_ = reflect.ValueOf(m).MapRange() // want `map-range: `
	_ = unsafe.Sizeof(m)
}

// What the simulator may do and the core may not.
func shell(ctx context.Context) {
	fmt.Println(0.5, os.Args, time.UnixMilli(0), ctx)
}

func init() {}
