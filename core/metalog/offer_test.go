package metalog

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
)

func drawID(t *rapid.T) effect.ImageID {
	return effect.ImageID{
		EndOffset: model.Offset(rapid.Int64Min(1).Draw(t, "end")), Epoch: model.LeaderEpoch(rapid.Int32Min(0).Draw(t, "epoch")),
	}
}

func TestAnOfferReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Offer{ID: drawID(t), SizeBytes: rapid.Int64Range(0, imageBytesMax).Draw(t, "size"), Sum: rapid.Uint64().Draw(t, "sum")}
		b := want.write()
		if got, err := readOffer(b); err != nil || got != want {
			t.Fatalf("%+v, %v, want %+v", got, err, want)
		}
		for _, other := range [][]byte{b[:rapid.IntRange(0, len(b)-1).Draw(t, "cut")], append(b, 0)} {
			if _, err := readOffer(other); err == nil {
				t.Fatalf("%d bytes can be read", len(other))
			}
		}
	})
}

func TestAnOfferOfNothingIsRefused(t *testing.T) {
	for name, o := range map[string]Offer{
		"nothing":                         {},
		"less than nothing":               {ID: effect.ImageID{EndOffset: 1}, SizeBytes: -1},
		"an epoch that there cannot be":   {ID: effect.ImageID{EndOffset: 1, Epoch: -1}},
		"an image larger than memory":     {ID: effect.ImageID{EndOffset: 1}, SizeBytes: imageBytesMax + 1},
		"an image of before the log":      {ID: effect.ImageID{EndOffset: -1}},
		"an image that is nowhere at all": {ID: effect.ImageID{EndOffset: 0, Epoch: 1}, SizeBytes: 1},
	} {
		if _, err := readOffer(o.write()); err == nil {
			t.Errorf("an offer of %s can be read", name)
		}
	}
}

// Whatever the sizes are and whatever is lost, an image comes whole, in its order, and in pieces no larger than was asked for.
func TestAnImageComesWholeInPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := drawID(t)
		image := rapid.SliceOfN(rapid.Byte(), 0, 500).Draw(t, "image")
		var out Outgoing
		offer, _ := out.Hold(id, 0, 1, 1, func() []byte { return image })
		most := rapid.Int32Range(1, 200).Draw(t, "most")
		size := rapid.SampledFrom([]int64{-1, offer.SizeBytes}).Draw(t, "known")
		in := NewIncoming(id, size, most)
		for !in.Whole() {
			position, bytesMax := in.Ask()
			if bytesMax < 1 || bytesMax > most {
				t.Fatalf("%d bytes are asked for", bytesMax)
			}
			if why := rapid.SampledFrom([]effect.CallFailure{effect.CallOK, effect.CallTimedOut, effect.CallLost}).Draw(t, "fate"); why != effect.CallOK {
				in.Miss(why)
				continue
			}
			piece, sizeBytes, held := out.Piece(id, position, bytesMax, 1)
			if !held || len(piece) > int(bytesMax) {
				t.Fatalf("%d bytes are given (held %t), %d were asked for", len(piece), held, bytesMax)
			}
			if err := in.Take(&effect.ImageFetched{ID: id, Position: position, SizeBytes: sizeBytes, Bytes: piece}); err != nil {
				t.Fatal(err)
			}
		}
		if got := in.Image(); !bytes.Equal(got, image) || offer.check(got) != nil {
			t.Fatalf("%x comes, %x was sent", got, image)
		}
	})
}

// On a line that is slow smaller pieces are asked for, and larger ones when it is not any more.
func TestPiecesAreAsLargeAsTheLineBears(t *testing.T) {
	id := effect.ImageID{EndOffset: 1}
	in := NewIncoming(id, -1, 1<<20)
	for want := int32(1 << 20); want > pieceBytesMin; want /= 2 {
		if _, got := in.Ask(); got != want {
			t.Fatalf("%d bytes are asked for, want %d", got, want)
		}
		if _, again := in.Miss(effect.CallTimedOut); again != (want > 2*pieceBytesMin) {
			t.Fatalf("at %d bytes: asked for again %t", want, again)
		}
	}
	in.Miss(effect.CallTimedOut)
	if _, got := in.Ask(); got != pieceBytesMin {
		t.Fatalf("%d bytes are asked for", got)
	}
	if err := in.Take(&effect.ImageFetched{ID: id, SizeBytes: 1 << 30, Bytes: make([]byte, 10)}); err != nil {
		t.Fatal(err)
	}
	if _, got := in.Ask(); got != 2*pieceBytesMin {
		t.Fatalf("%d bytes are asked for when they come again", got)
	}
}

// What is held for nobody makes room, and what the log does not go on from as soon as there is none.
func TestImagesAreHeldForWhoComesForThem(t *testing.T) {
	var out Outgoing
	hold := func(end, logStart model.Offset, now model.Time) bool {
		_, ok := out.Hold(effect.ImageID{EndOffset: end}, logStart, 2, now, func() []byte { return []byte{byte(end)} })
		return ok
	}
	if !hold(5, 1, 1) || !hold(6, 1, 1) || hold(7, 1, 1) || !hold(5, 1, 1) {
		t.Fatal("two images are held")
	}
	if id, ok := out.Newest(6, 1); !ok || id.EndOffset != 6 {
		t.Errorf("the newest is %+v (%t)", id, ok)
	}
	if _, ok := out.Newest(7, 1); ok {
		t.Error("an image is named that the log does not go on from")
	}
	if !hold(7, 6, 1) || out.Holds(effect.ImageID{EndOffset: 5}, 1) || !out.Holds(effect.ImageID{EndOffset: 6}, 1) {
		t.Error("an image that the log does not go on from keeps its place")
	}
	out.Piece(effect.ImageID{EndOffset: 7}, 0, 1, heldMin)
	if out.Tick(heldMin + 2); out.Count() != 1 || !out.Holds(effect.ImageID{EndOffset: 7}, heldMin) {
		t.Errorf("%d images are held, one of them for somebody", out.Count())
	}
}
