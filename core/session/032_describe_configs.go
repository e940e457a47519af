package session

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/protocol"
)

// configsAsked is how much of each configuration a client wants to hear.
type configsAsked struct{ synonyms, docs bool }

func (s *Session) receiveDescribeConfigs(rq *request, out *Out) {
	var in protocol.DescribeConfigsRequest
	if !s.decodeWhole(rq, &in, out) {
		return
	}
	rq.slot.asked = configsAsked{synonyms: in.IncludeSynonyms, docs: in.IncludeDocumentation}
	ev := &broker.DescribeConfigs{To: rq.id}
	for i := range in.Resources {
		r := &in.Resources[i]
		ev.Resources = append(ev.Resources, broker.ConfigResource{Type: r.ResourceType, Name: r.ResourceName, Keys: r.ConfigurationKeys})
	}
	out.Events = append(out.Events, ev)
}

func respondDescribeConfigs(sl *slot, in *effect.ConfigsDescribed) protocol.Message {
	asked := sl.asked.(configsAsked)
	r := new(protocol.DescribeConfigsResponse)
	r.Default()
	for i := range in.Resources {
		d := &in.Resources[i]
		to := protocol.Add(&r.Results)
		to.ErrorCode, to.ResourceType, to.ResourceName = d.Code, d.Type, d.Name
		to.ErrorMessage = messageOf(d.Message)
		for k := range d.Entries {
			e := &d.Entries[k]
			at := protocol.Add(&to.Configs)
			at.Name, at.Value, at.ReadOnly = e.Name, protocol.String(e.Value), e.ReadOnly
			at.ConfigSource, at.ConfigType = int8(e.Source), int8(e.Type)
			if asked.docs {
				at.Documentation = protocol.String(e.Doc)
			}
			if !asked.synonyms {
				continue
			}
			for _, y := range e.Synonyms {
				also := protocol.Add(&at.Synonyms)
				also.Name, also.Value, also.Source = y.Name, protocol.String(y.Value), int8(y.Source)
			}
		}
	}
	return r
}

// messageOf is a message for people, null if there is nothing to say.
func messageOf(s string) protocol.NullString { return protocol.NullString{Value: s, Valid: s != ""} }
