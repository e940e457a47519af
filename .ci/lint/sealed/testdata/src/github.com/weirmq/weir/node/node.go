// Package node switches over a sum that another package seals.
package node

import "github.com/weirmq/weir/core/broker"

func observe(e broker.Event) {
	switch e.(type) { // want `the switch over Event misses Fetch; list them`
	case broker.Produce, broker.Tick:
	}
}
