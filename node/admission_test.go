package node

import "testing"

func TestSegmentsAreHeldOpenAsFarAsTheLimitHasRoom(t *testing.T) {
	for _, c := range []struct {
		limit, connections uint64
		want               int32
	}{
		{256, 10_000, 1024}, // connections are lowered, or the node refuses to start
		{10_000, 10_000, 1024},
		{20_000, 10_000, 20_000 - 10_000 - descriptorsKept},
		{1 << 20, 10_000, openFilesAuto},
		{1 << 62, 10, openFilesAuto},
	} {
		if got := openFilesFor(c.limit, c.connections); got != c.want {
			t.Errorf("limit %d, %d connections: %d segments, want %d", c.limit, c.connections, got, c.want)
		}
	}
}
