package effect

import (
	"fmt"
	"strings"
)

// groupBodyString prints the answers of group coordinators.
func groupBodyString(body Body) string {
	var parts []string
	add := func(format string, args ...any) {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf(format, args...)))
	}
	switch body := body.(type) {
	case *CoordinatorsFound:
		for _, c := range body.Coordinators {
			add("coordinator of %q: %s node %d %s", c.Key, CodeName(c.Code), c.Node.ID, c.Message)
		}
	case *GroupJoined:
		add("joined: %s generation %d protocol %q leader %q member %q", CodeName(body.Code), body.Generation, body.Protocol, body.Leader, body.Member)
		if body.SkipAssignment {
			add("skip assignment")
		}
		for _, m := range body.Members {
			add("with %q%s: %d bytes", m.Member, instanceString(m.Instance), len(m.Metadata))
		}
	case *GroupSynced:
		add("synced: %s protocol %q assignment %q", CodeName(body.Code), body.Protocol, body.Assignment)
	case *HeartbeatAnswered:
		add("heartbeat: %s", CodeName(body.Code))
	case *GroupLeft:
		add("left: %s", CodeName(body.Code))
		for _, m := range body.Members {
			add("%q%s %s", m.Member, instanceString(m.Instance), CodeName(m.Code))
		}
	case *OffsetsCommitted:
		for i, code := range body.Codes {
			add("committed part %d: %s", i, CodeName(code))
		}
	case *OffsetsFetched:
		for _, g := range body.Groups {
			add("offsets of %q: %s", g.Group, CodeName(g.Code))
			for _, t := range g.Topics {
				for _, p := range t.Partitions {
					add("%s/%d %s %d epoch %d %q", t.Name, p.Partition, CodeName(p.Code), p.Offset, p.LeaderEpoch, p.Metadata)
				}
			}
		}
	case *GroupsDescribed:
		for _, g := range body.Groups {
			add("group %q: %s %s protocol %q %q", g.Group, CodeName(g.Code), g.State, g.ProtocolType, g.Protocol)
			for _, m := range g.Members {
				add("member %q%s of %s at %s: %d bytes, assignment %q", m.Member, instanceString(m.Instance), m.ClientID, m.ClientHost, len(m.Metadata), m.Assignment)
			}
		}
	case *GroupsListed:
		add("listed: %s", CodeName(body.Code))
		for _, g := range body.Groups {
			add("%q %s %q %s", g.Group, g.State, g.ProtocolType, g.Type)
		}
	case *GroupsDeleted:
		for _, g := range body.Results {
			add("deleted %q: %s %s", g.Group, CodeName(g.Code), g.Message)
		}
	case *OffsetsDeleted:
		add("offsets deleted: %s", CodeName(body.Code))
		for i, code := range body.Codes {
			add("part %d: %s", i, CodeName(code))
		}
	default:
		panic(fmt.Sprintf("an answer of no group coordinator: %T", body))
	}
	return strings.Join(parts, "; ")
}

func instanceString(instance string) string {
	if instance == "" {
		return ""
	}
	return fmt.Sprintf(" (instance %q)", instance)
}
