package metadata

import (
	"fmt"
	"slices"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// registerBroker takes in a broker, in the place of what it was before. A broker's epochs ascend.
func (d *Draft) registerBroker(rec *protocol.RegisterBrokerRecord) error {
	b := brokerOf(rec)
	switch old := d.image.Broker(b.ID); {
	case b.ID < 0:
		return fmt.Errorf("broker %d registers", b.ID)
	case rec.IsMigratingZkBroker:
		return fmt.Errorf("broker %d registers from a cluster of another kind", b.ID)
	case old != nil && b.Epoch <= old.Epoch:
		return fmt.Errorf("broker %d of epoch %d registers again with epoch %d", b.ID, old.Epoch, b.Epoch)
	}
	d.putBroker(b)
	return nil
}

// changeBroker replaces a registration by what a change makes of it.
func (d *Draft) changeBroker(rec *protocol.BrokerRegistrationChangeRecord) error {
	old, err := d.registered(rec.BrokerID, rec.BrokerEpoch)
	if err != nil {
		return err
	}
	b := *old
	switch rec.Fenced {
	case -1:
		b.Fenced = false
	case 0:
	case 1:
		b.Fenced = true
	default:
		return fmt.Errorf("a change of broker %d fences it by %d", b.ID, rec.Fenced)
	}
	switch rec.InControlledShutdown {
	case 0:
	case 1: // there is no way back but to register again
		b.InControlledShutdown = true
	default:
		return fmt.Errorf("a change of broker %d shuts it down by %d", b.ID, rec.InControlledShutdown)
	}
	if len(rec.LogDirs) > 0 {
		b.Directories = directories(rec.LogDirs)
	}
	if rec.CordonedLogDirs != nil {
		b.Cordoned = directories(rec.CordonedLogDirs)
	}
	d.putBroker(&b)
	return nil
}

func (d *Draft) unregisterBroker(rec *protocol.UnregisterBrokerRecord) error {
	b, err := d.registered(rec.BrokerID, rec.BrokerEpoch)
	if err != nil {
		return err
	}
	d.image.brokers.Delete(b.ID)
	d.touchBroker(b.ID)
	return nil
}

// registered is a broker as a record means it: of an epoch.
func (d *Draft) registered(id int32, epoch int64) (*Broker, error) {
	b := d.image.Broker(model.NodeID(id))
	if b == nil {
		return nil, fmt.Errorf("a record is about broker %d, which is not registered", id)
	}
	if b.Epoch != model.BrokerEpoch(epoch) {
		return nil, fmt.Errorf("a record is about broker %d of epoch %d, which has epoch %d", id, epoch, b.Epoch)
	}
	return b, nil
}

func (d *Draft) putBroker(b *Broker) {
	d.image.brokers.Set(b.ID, b)
	d.touchBroker(b.ID)
}

func (d *Draft) touchBroker(id model.NodeID) {
	if !slices.Contains(d.brokers, id) {
		d.brokers = append(d.brokers, id)
	}
}
