package metadata

import (
	"fmt"
	"strconv"

	"github.com/weirmq/weir/core/protocol"
)

// configure sets one configuration of a topic or a node, or takes it out.
func (d *Draft) configure(rec *protocol.ConfigRecord) error {
	switch rec.ResourceType {
	case TopicResource:
		return d.configureTopic(rec)
	case NodeResource:
		return d.configureNode(rec)
	}
	return fmt.Errorf("configuration of a resource of type %d", rec.ResourceType)
}

func (d *Draft) configureTopic(rec *protocol.ConfigRecord) error {
	t := d.image.Named(rec.ResourceName)
	if t == nil {
		return fmt.Errorf("configuration of a topic that does not exist: %q", rec.ResourceName)
	}
	settings := ChangeSetting(t.Settings, rec.Name, rec.Value.Value, rec.Value.Valid)
	if _, err := DefaultTopicConfig().With(settings); err != nil {
		return err
	}
	e := d.edit(t)
	e.After.Settings, e.Configured = settings, true
	return nil
}

func (d *Draft) configureNode(rec *protocol.ConfigRecord) error {
	name := rec.ResourceName
	if id, err := strconv.ParseInt(name, 10, 32); name != "" && (err != nil || id < 0 || strconv.FormatInt(id, 10) != name) {
		return fmt.Errorf("configuration of a node that is called %q", Shown(name))
	}
	settings := ChangeSetting(d.image.NodeSettings(name), rec.Name, rec.Value.Value, rec.Value.Valid)
	if _, err := DefaultNodeConfig().With(settings); err != nil {
		return err
	}
	if len(settings) == 0 {
		d.image.settings.Delete(name)
	} else {
		d.image.settings.Set(name, settings)
	}
	d.nodes = once(d.nodes, name)
	return nil
}
