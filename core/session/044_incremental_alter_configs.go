package session

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/controller"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/protocol"
)

func (s *Session) receiveIncrementalAlterConfigs(rq *request, out *Out) {
	var in protocol.IncrementalAlterConfigsRequest
	if !s.decode(rq, &in, out) {
		return
	}
	ev := &broker.AlterConfigs{To: rq.id, Origin: s.origin(rq), ValidateOnly: in.ValidateOnly}
	for i := range in.Resources {
		r := &in.Resources[i]
		a := controller.AlterResource{Type: r.ResourceType, Name: r.ResourceName}
		for k := range r.Configs {
			c := &r.Configs[k]
			a.Ops = append(a.Ops, controller.AlterOp{
				Kind:    controller.OpKind(c.ConfigOperation),
				Setting: metadata.ConfigSetting{Name: c.Name, Value: c.Value.Value, Null: !c.Value.Valid},
			})
		}
		ev.Resources = append(ev.Resources, a)
	}
	out.Events = append(out.Events, ev)
}

func respondIncrementalAlterConfigs(in *effect.ConfigsAltered) protocol.Message {
	r := new(protocol.IncrementalAlterConfigsResponse)
	r.Default()
	for i := range in.Resources {
		a := &in.Resources[i]
		to := protocol.Add(&r.Responses)
		to.ErrorCode, to.ErrorMessage, to.ResourceType, to.ResourceName = a.Code, messageOf(a.Message), a.Type, a.Name
	}
	return r
}
