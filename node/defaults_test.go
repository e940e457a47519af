package node

import (
	"testing"

	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/node/config"
)

// A topic's defaults are the controller's where no property of the node sets them: a default that is lost on the
// way turns a topic's own flush.messages off, too.
func TestTopicDefaultsThatNoPropertySetsAreKept(t *testing.T) {
	n := &Node{config: config.Default()}
	got, want := n.topicDefaults().Log, metadata.DefaultTopicConfig().Log
	if got.FlushMessages != want.FlushMessages || got.FlushMs != want.FlushMs || got.IndexBytesMax != want.IndexBytesMax {
		t.Errorf("defaults are %+v, the controller's %+v", got, want)
	}
}
