package cluster

import (
	"errors"
	"testing"
)

// Whoever gives up while nodes are started leaves no process behind.
func TestNothingIsStartedOnceAClusterIsClosed(t *testing.T) {
	c, err := New(Options{Binary: "no binary", Dir: t.TempDir(), ClusterID: "c", Nodes: 3, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Nodes {
		if err := n.Start(); !errors.Is(err, ErrClosed) {
			t.Errorf("node %d: %v", n.ID, err)
		}
	}
}
