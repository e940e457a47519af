package controller

import (
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/protocol"
)

// Settle asks for a record that says nothing to be committed; the answer is an effect.VotersChanged. Voters that have
// committed it know of every change of the voters before it.
func (c *Controller) Settle(to effect.RequestID, out *effect.Set) {
	c.ask(&request{
		to: to,
		decide: func(t *turn) effect.Body {
			t.record(&protocol.NoOpRecord{}, 0)
			return &effect.VotersChanged{}
		},
		refuse: func(code int16, why string) effect.Body { return &effect.VotersChanged{Code: code, Message: why} },
	}, out)
}
