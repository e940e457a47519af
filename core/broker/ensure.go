package broker

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

// expectation is somebody who waits until topics are in this node's image, which may be behind the controller's.
type expectation struct {
	names    []string
	deadline model.Time
	then     func(out *effect.Set)
}

const (
	ensureTimeout model.Time = 5e9
	expectTimeout model.Time = 2e9
)

// ensure has the controller create topics, and goes on when they are here, or when it is known that they will not be.
func (b *Broker) ensure(names []string, out *effect.Set, then func(out *effect.Set)) {
	b.askController(effect.LaneForward, ensureTimeout, &effect.CreateMissing{Names: names, Timeout: ensureTimeout}, out, func(a *effect.Answer, out *effect.Set) {
		body, _ := a.Body.(*effect.TopicsCreated)
		var made []string
		if a.Failure == effect.CallOK {
			for _, t := range body.Topics {
				switch t.Code {
				case 0:
					made = append(made, t.Name)
				case kerr.NotController.Code:
					b.controllerUnknown()
				}
			}
		} else {
			b.controllerUnknown()
		}
		b.expect(made, out, then)
	})
}

// expect goes on when topics are in the image.
func (b *Broker) expect(names []string, out *effect.Set, then func(out *effect.Set)) {
	e := &expectation{names: names, deadline: b.now + expectTimeout, then: then}
	if b.fulfilled(e) {
		then(out)
		return
	}
	b.expectations = append(b.expectations, e)
}

func (b *Broker) fulfilled(e *expectation) bool {
	return !slices.ContainsFunc(e.names, func(name string) bool { return b.view.Named(name) == nil })
}

// expected lets those go on whose topics have come, or whose time is over.
func (b *Broker) expected(out *effect.Set) {
	if len(b.expectations) == 0 {
		return
	}
	waiting := b.expectations
	b.expectations = nil
	for _, e := range waiting {
		if b.now >= e.deadline || b.fulfilled(e) {
			e.then(out)
			continue
		}
		b.expectations = append(b.expectations, e)
	}
}

func (b *Broker) expectationsDeadline() model.Time {
	d := model.Time(0)
	for _, e := range b.expectations {
		if d == 0 || e.deadline < d {
			d = e.deadline
		}
	}
	return d
}
