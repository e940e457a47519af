package workload

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/client"
	"github.com/weirmq/weir/core/model"
)

// setup creates a load's topics, and tries until they exist.
type setup struct {
	g     *group
	line  Line
	admin *client.Admin
	next  int  // topics[next] is to be created
	busy  bool // a request is under way
	at    model.Time
}

func newSetup(g *group) *setup {
	r := g.Root.Stream("setup", uint64(g.spec.ID))
	cfg := client.NewAdminConfig(g.spec.Addrs...)
	g.timeouts(&cfg.Config, r)
	s := &setup{g: g, admin: client.NewAdmin(cfg), at: 1}
	s.line.Machine = s.admin
	return s
}

func (s *setup) Name() string   { return fmt.Sprintf("setup%d", s.g.spec.ID) }
func (s *setup) Lines() []*Line { return []*Line{&s.line} }

func (s *setup) Wake(now model.Time) {
	s.at = 0
	if s.busy || s.next >= len(s.g.topics) {
		return
	}
	s.busy = true
	s.admin.CreateTopics(now, []client.NewTopic{{
		Name: s.g.topics[s.next], PartitionCount: int32(s.g.spec.Partitions), ReplicationFactor: s.g.replicas(), Configs: s.g.configs,
	}}, false, &s.line.Out)
}

func (s *setup) After(now model.Time, line *Line) {
	for _, a := range line.Out.Answers {
		s.busy = false
		s.at = now + 20*millisecond
		for _, t := range a.Topics {
			if t.OK() || t.Code == kerr.TopicAlreadyExists.Code {
				s.next++
				s.g.created = s.next
				s.at = now
			}
		}
	}
}

func (s *setup) WakeAt() model.Time { return s.at }
func (s *setup) Settle(model.Time)  {}

func (s *setup) Waiting() string {
	if s.next < len(s.g.topics) {
		return "topic " + s.g.topics[s.next] + " is not created"
	}
	return ""
}
