package metalog

import (
	"testing"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

func TestAnImageThatNobodyComesForMakesRoom(t *testing.T) {
	const s = model.Time(1e9)
	id := func(end model.Offset) effect.ImageID { return effect.ImageID{EndOffset: end, Epoch: 1} }
	var o Outgoing
	hold := func(end model.Offset, at model.Time) bool {
		_, ok := o.Hold(id(end), 0, 2, at, func() []byte { return []byte("image") })
		return ok
	}
	if !hold(10, 0) || !hold(20, 1*s) {
		t.Fatal("there is room for two")
	}
	if _, _, ok := o.Piece(id(10), 0, 3, 2*s); !ok {
		t.Fatal("the first is not held")
	}
	if hold(30, 3*s) {
		t.Error("an image makes room that somebody came for two seconds ago")
	}
	if !hold(30, 4*s) || o.Holds(id(20), 4*s) || !o.Holds(id(10), 4*s) {
		t.Error("the image that nobody came for for longest does not make room")
	}
	if o.Tick(14 * s); o.Count() != 2 {
		t.Error("images go before ten seconds have passed")
	}
	if o.Tick(14*s + 1); o.Count() != 0 {
		t.Error("images stay that nobody comes for")
	}
}
