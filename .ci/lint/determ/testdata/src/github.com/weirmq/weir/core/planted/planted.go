// Package planted breaks every rule once, so that no rule can stop working unnoticed.
package planted

import (
	"context"           // want `import: context is out of bounds`
	crand "crypto/rand" // want `random: crypto/rand is out of bounds`
	"fmt"
	"hash/maphash" // want `random: hash/maphash is out of bounds`
	"io"
	"iter"
	"log"  // want `import: log is out of bounds`
	"maps" // want `map-range: maps is out of bounds`
	"math"
	"math/rand"           // want `random: math/rand is out of bounds`
	randv2 "math/rand/v2" // want `random: math/rand/v2 is out of bounds`
	"net"                 // want `import: net is out of bounds`
	"net/http"            // want `import: net/http is out of bounds`
	"os"                  // want `import: os is out of bounds`
	"reflect"             // want `import: reflect is out of bounds`
	"runtime"             // want `import: runtime is out of bounds`
	"slices"
	"sync"        // want `import: sync is out of bounds`
	"sync/atomic" // want `import: sync/atomic is out of bounds`
	"time"
	"unique" // want `import: unique is out of bounds`
	"unsafe" // want `import: unsafe is out of bounds`
)

type machine struct {
	parked map[int]string
	order  []int
	ch     chan int // want `channel: channels belong`
	rate   float64  // want `float: core computes`
	addr   uintptr  // want `pointer-id: uintptr`
}

func (m *machine) mapRanges() {
	for k := range m.parked { // want `map-range: the order is random`
		m.order = append(m.order, k)
	}
	for _, v := range m.parked { // want `map-range: the order is random`
		_ = v
	}
	for k, v := range m.parked { // want `map-range: the order is random`
		_, _ = k, v
	}
	for k := range m.parked { // want `map-range: the order is random`
		m.order = append(m.order, k)
	}
	m.order = append(m.order, 1)
	slices.Sort(m.order)
	for k := range m.parked { // want `map-range: the order is random`
		m.order = append(m.order, k)
		m.rate++ // want `float: `
	}
	slices.Sort(m.order)
	var other []int
	for k := range m.parked { // want `map-range: the order is random`
		m.order = append(m.order, k)
	}
	slices.Sort(other)
	for range maps.Keys(m.parked) { // want `map-range: maps.Keys is in random order`
	}
	_ = slices.Collect(maps.Values(m.parked)) // want `map-range: maps.Values`
	all := maps.All[map[int]string]           // want `map-range: maps.All`
	_ = all
	_ = reflect.ValueOf(m.parked).MapRange() // want `map-range: reflect's MapRange`
	_ = reflect.ValueOf(m.parked).MapKeys()  // want `map-range: reflect's MapKeys`
}

func generic[M ~map[K]V, K comparable, V any](m M) {
	for k := range m { // want `map-range: the order is random`
		_ = k
	}
}

func concurrency(in chan int) { // want `channel: `
	go func() {}() // want `goroutine: `
	in <- 1        // want `channel: `
	<-in           // want `channel: `
	close(in)      // want `channel: `
	for range in { // want `channel: `
	}
	select { // want `select: `
	default:
	}
	var s iter.Seq[int]
	next, stop := iter.Pull(s) // want `goroutine: iter.Pull`
	_, _ = next, stop
}

func floats(d time.Duration, n int64) int64 {
	x := float32(n) // want `float: `
	y := n * 1e9
	const half = 0.5 // want `float: a float literal`
	z := d.Seconds() // want `float: the call returns a float`
	z *= z           // want `float: `
	w := math.Pi     // want `float: `
	_ = w
	if z < z { // want `float: `
		return y
	}
	return int64(x)
}

var (
	counter   int
	table     = [4]int{1, 2, 3, 4}
	names     = map[string]int{"a": 1}
	list      = []int{2, 1}
	scratch   [64]byte
	state     struct{ n int }
	pointer   = &state  // want `global: package-level variable pointer is a pointer`
	writer    io.Writer // want `global: package-level variable writer is an interface`
	queue     chan int  // want `global: package-level variable queue is a channel` `channel: `
	mutex     sync.Mutex
	sentinels = fmt.Errorf("fine: an error")
)

func globals(f func(*int), g func([]byte)) {
	counter = 1             // want `global: package-level variable counter is assigned`
	counter++               // want `global: package-level variable counter is changed`
	counter += 2            // want `global: package-level variable counter is assigned`
	table[0] = 2            // want `global: package-level variable table is assigned`
	names["b"] = 2          // want `global: package-level variable names is assigned`
	state.n = 3             // want `global: package-level variable state is assigned`
	(state).n--             // want `global: package-level variable state is changed`
	f(&counter)             // want `global: package-level variable counter has its address taken`
	f(&table[1])            // want `global: package-level variable table has its address taken`
	g(scratch[:])           // want `global: package-level variable scratch is sliced`
	delete(names, "a")      // want `global: package-level variable names is changed by delete`
	clear(names)            // want `global: package-level variable names is changed by clear`
	copy(list, list)        // want `global: package-level variable list is changed by copy`
	_ = append(list[:1], 9) // want `global: package-level variable list is changed by append`
	slices.Sort(list)       // want `global: package-level variable list is changed by slices.Sort`
	mutex.Lock()            // want `global: package-level variable mutex has its address taken by Lock`
	for counter = range 3 { // want `global: package-level variable counter is assigned`
	}
	io.EOF = nil // want `global: package-level variable EOF is assigned`
}

func init() { // want `init: runs before any input`
	names = nil // want `global: package-level variable names is assigned`
}

func clocks() {
	_ = time.Now()        // want `clock: time.Now`
	now := time.Now       // want `clock: time.Now`
	_ = time.Since(now()) // want `clock: time.Since`
	time.Sleep(1)         // want `clock: time.Sleep`
	<-time.After(1)       // want `clock: time.After` `channel: `
	_ = time.NewTimer(1)  // want `clock: time.NewTimer`
	var t *time.Ticker    // want `clock: time.Ticker`
	_ = t
	_ = time.UnixMilli(0) // want `clock: time.UnixMilli: core uses package time for durations only`
	var at time.Time      // want `clock: time.Time: core uses`
	_ = at
}

func chance() {
	_ = rand.Int()      // want `random: math/rand.Int`
	pick := randv2.IntN // want `random: math/rand/v2.IntN`
	_ = pick
	_, _ = crand.Read(nil) // want `random: crypto/rand.Read`
	_ = maphash.MakeSeed() // want `random: hash/maphash.MakeSeed`
}

func addresses(m *machine) string {
	_ = unsafe.Sizeof(1)
	_ = uintptr(1)                      // want `pointer-id: uintptr`
	return fmt.Sprintf("%d %-8p", 1, m) // want `pointer-id: %p prints an address`
}

func output() {
	fmt.Println()  // want `output: fmt.Println`
	fmt.Printf("") // want `output: fmt.Printf`
	println()      // want `output: `
	println("x")   // want `output: the core has no streams`
	log.Print()
}

func directives(m map[int]int) {
	for k := range m { //determ:allow // want `needs a reason` `map-range: the order is random`
		_ = k
	}
	for k := range m { //determ:ignore it commutes // want `unknown directive //determ:ignore` `map-range: the order is random`
		_ = k
	}
	//determ:allow nothing is wrong below // want `excuses nothing here`
	_ = m
	//determ:allow two lines above the finding // want `excuses nothing here`

	for k := range m { // want `map-range: the order is random`
		_ = k
	}
}

var (
	_ context.Context
	_ net.Addr
	_ http.Header
	_ os.File
	_ = runtime.NumCPU
	_ atomic.Int32
	_ unique.Handle[int]
)
