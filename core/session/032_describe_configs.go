package session

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/metadata"
	"github.com/weirmq/weir/core/protocol"
)

// receiveDescribeConfigs answers from what is published. Every resource is described once, however often it is named:
// a few bytes of a request must not ask for a list of everything each.
func (s *Session) receiveDescribeConfigs(rq *request, out *Out) {
	var in protocol.DescribeConfigsRequest
	if !s.decodeWhole(rq, &in, out) {
		return
	}
	type resource struct {
		kind int8
		name string
	}
	named := make(map[resource]bool, len(in.Resources))
	r := new(protocol.DescribeConfigsResponse)
	r.Default()
	for i := range in.Resources {
		of := &in.Resources[i]
		if this := (resource{of.ResourceType, of.ResourceName}); !named[this] {
			named[this] = true
			s.describeConfigs(protocol.Add(&r.Results), of, &in)
		}
	}
	s.answer(rq.slot, r, out)
}

func (s *Session) describeConfigs(to *protocol.DescribeConfigsResponseResult, of *protocol.DescribeConfigsRequestResource, in *protocol.DescribeConfigsRequest) {
	to.ResourceType, to.ResourceName = of.ResourceType, of.ResourceName
	entries, code, why := s.configsOf(of.ResourceType, of.ResourceName)
	to.ErrorCode, to.ErrorMessage = code, messageOf(why)
	for k := range entries {
		e := &entries[k]
		if len(of.ConfigurationKeys) > 0 && !slices.Contains(of.ConfigurationKeys, e.Name) {
			continue
		}
		at := protocol.Add(&to.Configs)
		at.Name, at.Value, at.ReadOnly = e.Name, protocol.String(e.Value), e.ReadOnly
		at.ConfigSource, at.ConfigType = int8(e.Source), int8(e.Type)
		if in.IncludeDocumentation {
			at.Documentation = protocol.String(e.Doc)
		}
		if !in.IncludeSynonyms {
			continue
		}
		for _, y := range e.Synonyms {
			also := protocol.Add(&at.Synonyms)
			also.Name, also.Value, also.Source = y.Name, protocol.String(y.Value), int8(y.Source)
		}
	}
}

// configsOf lists the configurations of a resource, or says why it cannot.
func (s *Session) configsOf(kind int8, name string) (entries []effect.ConfigEntry, code int16, why string) {
	view := s.published.View
	switch kind {
	case metadata.TopicResource:
		if why := metadata.NameProblem(name); why != "" {
			return nil, kerr.InvalidTopicException.Code, "the topic name " + why
		}
		t := view.Named(name)
		if t == nil {
			return nil, kerr.UnknownTopicOrPartition.Code, fmt.Sprintf("topic %q does not exist", name)
		}
		return view.DescribeTopic(t), 0, ""
	case metadata.NodeResource:
		if why := metadata.NodeProblem(name, s.config.NodeID); why != "" {
			return nil, kerr.InvalidRequest.Code, why
		}
		if name == "" {
			return view.DescribeEveryNode(), 0, ""
		}
		return view.DescribeNode(s.config.Fixed), 0, ""
	}
	return nil, kerr.InvalidRequest.Code, fmt.Sprintf("resources of type %d have no configuration here; topics (2) and brokers (4) have", kind)
}

// messageOf is a message for people, null if there is nothing to say.
func messageOf(s string) protocol.NullString { return protocol.NullString{Value: s, Valid: s != ""} }
