package metadata

import (
	"strconv"

	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
)

// View is an image as one node goes by it: the image is the same on all nodes, and what a setting comes to depends
// on what a node was started with and on what was set for it alone. It never changes.
type View struct {
	*Image
	node   model.NodeID
	static NodeConfig // what the node was started with
	config NodeConfig // what follows for it
}

// NewView is an image as a node goes by it that was started with a configuration.
func NewView(image *Image, node model.NodeID, static NodeConfig) *View {
	v := &View{Image: image, node: node, static: static, config: static}
	v.lay(image.NodeSettings(""))
	v.lay(image.NodeSettings(strconv.Itoa(int(node))))
	return v
}

// lay puts settings over what counts so far.
func (v *View) lay(settings []ConfigSetting) {
	config, err := v.config.With(settings)
	if err != nil {
		invariant.Checkf(false, "an image has settings of a node that cannot be taken: %v", err)
	}
	v.config = config
}

// Of is another image as the same node goes by it.
func (v *View) Of(image *Image) *View {
	if own := strconv.Itoa(int(v.node)); sameSettings(v.NodeSettings(""), image.NodeSettings("")) && sameSettings(v.NodeSettings(own), image.NodeSettings(own)) {
		n := *v
		n.Image = image
		return &n
	}
	return NewView(image, v.node, v.static)
}

// NodeID is the node that the view is of.
func (v *View) NodeID() model.NodeID { return v.node }

// Node is the node's configuration as it is now.
func (v *View) Node() *NodeConfig { return &v.config }

// Static is what the node was started with.
func (v *View) Static() *NodeConfig { return &v.static }

// TopicConfig is what a topic's settings come to on the node.
func (v *View) TopicConfig(t *Topic) TopicConfig {
	if len(t.Settings) == 0 {
		return v.config.Topic
	}
	config, err := v.config.Topic.With(t.Settings)
	if err != nil {
		invariant.Checkf(false, "an image has settings of topic %q that cannot be taken: %v", t.Name, err)
	}
	return config
}
