package session

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/protocol"
)

// receiveAlterConfigs replaces all settings of a resource, which is why KIP-339 has another key.
func (s *Session) receiveAlterConfigs(rq *request, out *Out) {
	var in protocol.AlterConfigsRequest
	if !s.decode(rq, &in, out) {
		return
	}
	ev := &broker.AlterConfigs{To: rq.id, Origin: s.origin(rq), ValidateOnly: in.ValidateOnly}
	for i := range in.Resources {
		r := &in.Resources[i]
		a := controller.AlterResource{Type: r.ResourceType, Name: r.ResourceName, Replace: true}
		for k := range r.Configs {
			c := &r.Configs[k]
			a.Ops = append(a.Ops, controller.AlterOp{
				Kind: controller.OpSet, Setting: metadata.ConfigSetting{Name: c.Name, Value: c.Value.Value, Null: !c.Value.Valid},
			})
		}
		ev.Resources = append(ev.Resources, a)
	}
	out.Events = append(out.Events, ev)
}

func respondAlterConfigs(in *effect.ConfigsAltered) protocol.Message {
	r := new(protocol.AlterConfigsResponse)
	r.Default()
	for i := range in.Resources {
		a := &in.Resources[i]
		to := protocol.Add(&r.Responses)
		to.ErrorCode, to.ErrorMessage, to.ResourceType, to.ResourceName = a.Code, messageOf(a.Message), a.Type, a.Name
	}
	return r
}
