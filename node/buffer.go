package node

import (
	"math/bits"
	"sync"
	"unsafe"
)

// Request buffers are pooled by size, in powers of two. What matters is not the collector's work but the
// memory: a buffer that was just used is in the processor's cache, a fresh one must be cleared and is not.
const (
	bufferBitsMin = 10 // 1 KiB
	bufferBitsMax = 22 // 4 MiB; larger ones are left to the collector
)

type bufferPool struct{ classes [bufferBitsMax + 1]sync.Pool }

// bufferClass is the power of two that holds n bytes.
func bufferClass(n int) int { return max(bufferBitsMin, bits.Len(uint(max(n, 1)-1))) }

// get returns n bytes of arbitrary content.
func (p *bufferPool) get(n int) []byte {
	class := bufferClass(n)
	if class > bufferBitsMax {
		return make([]byte, n)
	}
	if first, ok := p.classes[class].Get().(*byte); ok {
		return unsafe.Slice(first, 1<<class)[:n]
	}
	return make([]byte, n, 1<<class)
}

// put takes back what get returned. Nothing may refer to it any more. Pools hold the pointer to the first
// byte, which keeps the whole buffer alive and, unlike a slice, goes into an interface without allocating.
func (p *bufferPool) put(b []byte) {
	class := bufferClass(cap(b))
	if class > bufferBitsMax || cap(b) != 1<<class {
		return
	}
	p.classes[class].Put(unsafe.SliceData(b[:1]))
}
