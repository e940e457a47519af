package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
)

// What was certainly not decided is said to be so, and its client asks again, elsewhere. What may have been decided is not.
func TestARequestThatTheControllerDoesNotTakeIsRefused(t *testing.T) {
	for _, test := range []struct {
		name     string
		answer   effect.Answer
		answered bool
	}{
		{"it is not reached", effect.Answer{Failure: effect.CallUnreachable}, true},
		{"it is not the controller", effect.Answer{Body: &effect.Forwarded{Code: kerr.NotController.Code}}, true},
		{"it does not answer", effect.Answer{Failure: effect.CallTimedOut}, false},
		{"it is lost", effect.Answer{Failure: effect.CallLost}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFollows(t)
			var out effect.Set
			f.b.controller.Resign(&out)
			f.b.hint, f.b.voter, out = 2, nil, effect.Set{}
			f.b.Step(2, &CreateTopics{
				To: effect.RequestID{Conn: 1, Request: 5}, Origin: Origin{Frame: []byte{1}}, Topics: []controller.CreateTopic{{Name: "orders"}},
			}, &out)
			if len(out.Calls) != 1 || out.Calls[0].To != 2 || len(out.Replies) > 0 {
				t.Fatalf("node 2 is asked: %v, %v", out.Calls, out.Replies)
			}
			test.answer.From, test.answer.ID = 2, out.Calls[0].ID
			out = effect.Set{}
			f.b.Step(3, &Answered{test.answer}, &out)
			if len(out.Replies) != 1 {
				t.Fatalf("%d replies", len(out.Replies))
			}
			switch body := out.Replies[0].Body.(type) {
			case *effect.TopicsCreated:
				if !test.answered || body.Topics[0].Code != kerr.NotController.Code {
					t.Errorf("%+v", body)
				}
			case *effect.Forwarded:
				if test.answered || body.Response != nil {
					t.Errorf("%+v", body)
				}
			default:
				t.Errorf("%T", body)
			}
		})
	}
}
