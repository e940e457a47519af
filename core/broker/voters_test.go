package broker

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/model"
)

// Two of three voters answer. Without one of them the other could commit its going with what it was, and nothing any more.
func TestAVoterIsNotRemovedWhenTooFewOfTheOthersAnswer(t *testing.T) {
	for _, test := range []struct {
		name string
		node model.NodeID
		code int16
	}{
		{"one that answers", 2, kerr.RequestTimedOut.Code},
		{"the one that does not", 3, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			j := newJoiningTicking(t, 50e6)
			j.learn()
			second, third := VoterOf(2, model.DirectoryID{2}), VoterOf(3, model.DirectoryID{3})
			j.change([]model.VoterID{second}, nil)
			j.change([]model.VoterID{second, third}, nil)
			for range 40 {
				j.wait(50e6)
				j.tick(j.w.b)
			}
			if v := j.w.b.voter.log.Voters(); len(v.Now) != 3 || len(v.Before) != 0 {
				t.Fatalf("voters %+v", v)
			}
			j.step(j.w.b, &RemoveVoter{Node: test.node, Directory: model.DirectoryID{byte(test.node)}})
			for range 40 {
				j.wait(50e6)
				j.tick(j.w.b)
			}
			if len(j.changed) != 1 || j.changed[0].Code != test.code {
				t.Fatalf("answered %+v, not with code %d", j.changed, test.code)
			}
			if want := "Not heard: node 3"; test.code != 0 && !strings.HasSuffix(j.changed[0].Message, want) {
				t.Errorf("message %q does not end with %q", j.changed[0].Message, want)
			}
			left := 3
			if test.code == 0 {
				left = 2
			}
			if v := j.w.b.voter.log.Voters(); len(v.Now) != left {
				t.Errorf("voters %+v, not %d", v, left)
			}
		})
	}
}
