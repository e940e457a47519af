package broker

import (
	"testing"

	"github.com/weirmq/weir/core/effect"
)

// A controller that died would be waited for until time is up, while the next one takes this broker for dead.
func TestWhatADeposedControllerWasAskedIsGivenUp(t *testing.T) {
	f := newFollows(t)
	f.b.hint = 2
	f.b.voter = nil
	var answers []effect.Answer
	var out effect.Set
	id := f.b.askController(effect.LaneControl, heartbeatTimeout, &effect.CreateMissing{}, &out, func(a *effect.Answer, _ *effect.Set) {
		answers = append(answers, *a)
	})
	if len(out.Calls) != 1 || out.Calls[0].To != 2 {
		t.Fatalf("node 2 is asked: %v", out.Calls)
	}
	f.b.controllerKnown(2)
	f.b.settleCalls(&out)
	if len(answers) != 0 {
		t.Fatal("it is the controller still")
	}
	f.b.controllerKnown(3)
	f.b.settleCalls(&out)
	if len(answers) != 1 || answers[0].Failure == effect.CallOK {
		t.Fatalf("answers: %v", answers)
	}
	f.b.answered(&effect.Answer{From: 2, ID: id, Failure: effect.CallTimedOut}, &out)
	if len(answers) != 1 {
		t.Error("the answer that came late counts")
	}
}
