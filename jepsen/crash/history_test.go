package main

import (
	"testing"

	"github.com/weirmq/weir/sim/check"
)

func TestOperationIsUnknownUntilItIsAnswered(t *testing.T) {
	r := newRecorder()
	n := r.call(check.Op{F: check.Send, Values: []int64{1}, Offset: -1})
	before := r.snapshot()
	r.ok(n, func(op *check.Op) { op.Offset = 5 })
	after := r.snapshot()
	if op := before.Ops[0]; op.Outcome != check.Info || op.Return != check.Never || op.Offset != -1 || op.Call == 0 {
		t.Errorf("before the answer: %v", &op)
	}
	if op := after.Ops[0]; op.Outcome != check.OK || op.Return < op.Call || op.Offset != 5 {
		t.Errorf("after the answer: %v", &op)
	}
	if r.ackedCount() != 1 {
		t.Errorf("%d acknowledged", r.ackedCount())
	}
}
