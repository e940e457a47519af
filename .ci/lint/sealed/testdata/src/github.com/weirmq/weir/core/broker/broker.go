// Package broker declares a sealed sum and switches over it.
package broker

import (
	"fmt"

	"github.com/weirmq/weir/core/invariant"
)

// Event is sealed.
type Event interface{ event() }

// Produce, Fetch and Tick are events; Ticks groups some of them.
type (
	Produce struct{}
	Fetch   struct{}
	Tick    struct{}
	Ticks   interface {
		Event
		tick()
	}
	other struct{}
)

func (Produce) event() {}
func (*Fetch) event()  {}
func (Tick) event()    {}
func (Tick) tick()     {}
func (other) event(int) {}

// Open is not sealed.
type Open interface{ Open() }

func step(e Event, o Open, a any) {
	switch e := e.(type) { // complete
	case Produce, *Fetch:
		_ = e
	case Tick:
	}
	switch e.(type) { // complete by a group
	case Produce, *Fetch, Ticks:
	}
	switch e.(type) { // want `the switch over Event misses Fetch, Tick; list them`
	case Produce:
	}
	switch e.(type) { // want `misses Fetch, Tick`
	case Produce:
	default:
		fmt.Println("swallowed")
	}
	switch e.(type) { // a default that panics
	case Produce:
	default:
		panic(fmt.Sprintf("unexpected %T", e))
	}
	switch e.(type) { // a default that asserts
	case Produce:
	default:
		invariant.Checkf(false, "unexpected %T", e)
	}
	switch e.(type) { //sealed:allow only produces matter here
	case Produce:
	}
	switch e.(type) { //sealed:allow // want `needs a reason` `misses Fetch, Tick`
	case Produce:
	}
	switch e.(type) { //sealed:allow complete already // want `excuses nothing`
	case Produce, *Fetch, Tick:
	}
	switch o.(type) { // not sealed
	}
	switch a.(type) {
	case Produce:
	}
}
