package effect

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

// String prints a set one effect a line, for scenarios and traces. Reading it must suffice to know what
// the world is asked for; bytes are printed by their length.
func (s *Set) String() string {
	var b strings.Builder
	for _, o := range s.Opens {
		fmt.Fprintf(&b, "open %v\n", o.Partition)
	}
	for _, t := range s.Truncates {
		fmt.Fprintf(&b, "truncate %v to %d\n", t.Partition, t.To)
	}
	for _, a := range s.StartAts {
		fmt.Fprintf(&b, "start %v at %d\n", a.Partition, a.Offset)
	}
	for _, a := range s.Appends {
		fmt.Fprintf(&b, "append %v at %d epoch %d: %d bytes", a.Partition, a.BaseOffset, a.LeaderEpoch, len(a.Batch))
		if a.AppendTime >= 0 {
			fmt.Fprintf(&b, " time %d", a.AppendTime)
		}
		b.WriteByte('\n')
	}
	for _, d := range s.Deletes {
		fmt.Fprintf(&b, "delete %v\n", d.Partition)
	}
	for _, r := range s.Retains {
		fmt.Fprintf(&b, "retain %v below %d at %d", r.Partition, r.HighWatermark, r.Wall)
		if r.Below > 0 {
			fmt.Fprintf(&b, ", and nothing below %d", r.Below)
		}
		b.WriteByte('\n')
	}
	for _, l := range s.Lookups {
		fmt.Fprintf(&b, "lookup %v time %d below %d for %v part %d\n", l.Partition, l.Timestamp, l.Limit, l.To, l.Index)
	}
	for _, c := range s.Scans {
		fmt.Fprintf(&b, "scan %v from %d\n", c.Partition, c.From)
	}
	for _, p := range s.Produced {
		fmt.Fprintf(&b, "produced %v part %d: %s", p.To, p.Index, CodeName(p.Code))
		if p.Code == 0 {
			fmt.Fprintf(&b, " at %d", p.BaseOffset)
		}
		if p.AppendTime >= 0 {
			fmt.Fprintf(&b, " time %d", p.AppendTime)
		}
		if p.Message != "" {
			fmt.Fprintf(&b, ": %s", p.Message)
		}
		b.WriteByte('\n')
	}
	for _, r := range s.Reads {
		fmt.Fprintf(&b, "read for %v", r.To)
		if r.Fetch.Code != 0 {
			fmt.Fprintf(&b, ": %s", CodeName(r.Fetch.Code))
		}
		if r.Fetch.SessionID != 0 {
			fmt.Fprintf(&b, ", session %d", r.Fetch.SessionID)
		}
		if r.Fetch.Incremental {
			b.WriteString(", incremental")
		}
		b.WriteByte('\n')
		for _, p := range r.Fetch.Parts {
			if p.Code != 0 {
				fmt.Fprintf(&b, "  part %d: %s\n", p.Index, CodeName(p.Code))
				continue
			}
			fmt.Fprintf(&b, "  part %d: %v from %d to %d, log start %d, high watermark %d\n",
				p.Index, p.Partition, p.From, p.To, p.LogStartOffset, p.HighWatermark)
		}
	}
	for _, r := range s.Replies {
		fmt.Fprintf(&b, "reply %v %s\n", r.To, bodyString(r.Body))
	}
	for _, c := range s.Closes {
		fmt.Fprintf(&b, "close %d: %s\n", c.Conn, c.Cause)
	}
	for i := range s.Calls {
		fmt.Fprintln(&b, s.Calls[i].String())
	}
	for _, n := range s.Notes {
		fmt.Fprintf(&b, "note %v", n.Kind)
		if n.Topic != "" {
			fmt.Fprintf(&b, " %s", n.Topic)
		}
		if n.Group != "" {
			fmt.Fprintf(&b, " %s (%d)", n.Group, n.Count)
		}
		if n.Detail != "" {
			fmt.Fprintf(&b, ": %s", n.Detail)
		}
		b.WriteByte('\n')
	}
	for m := range MarkCount {
		if s.Marks.Has(m) {
			fmt.Fprintf(&b, "mark %v\n", m)
		}
	}
	return b.String()
}

// String is "connection.request".
func (r RequestID) String() string { return fmt.Sprintf("%d.%d", r.Conn, r.Request) }

// CodeName is a protocol error code's name: NONE, UNKNOWN_TOPIC_OR_PARTITION, ...
func CodeName(code int16) string {
	if code == 0 {
		return "NONE"
	}
	if e := kerr.TypedErrorForCode(code); e != nil {
		return e.Message
	}
	return fmt.Sprintf("error %d", code)
}

func bodyString(body Body) string {
	var parts []string
	switch body := body.(type) {
	case *OffsetsListed:
		for _, p := range body.Parts {
			parts = append(parts, fmt.Sprintf("part %d: %s offset %d time %d epoch %d", p.Index, CodeName(p.Code), p.Offset, p.Timestamp, p.LeaderEpoch))
		}
	case *TopicsEnsured:
		parts = append(parts, "topics ensured")
	case *TopicsCreated:
		for _, t := range body.Topics {
			parts = append(parts, strings.TrimSpace(fmt.Sprintf("topic %q: %s %s", t.Name, CodeName(t.Code), t.Message)))
		}
	case *TopicsDeleted:
		for _, t := range body.Topics {
			parts = append(parts, strings.TrimSpace(fmt.Sprintf("topic %q: %s %s", t.Name, CodeName(t.Code), t.Message)))
		}
	case *RecordsDeleted:
		for _, p := range body.Parts {
			parts = append(parts, fmt.Sprintf("part %d: %s low watermark %d", p.Index, CodeName(p.Code), p.LowWatermark))
		}
	case *EpochEndsFound:
		for _, p := range body.Parts {
			parts = append(parts, fmt.Sprintf("part %d: %s epoch %d ends at %d", p.Index, CodeName(p.Code), p.LeaderEpoch, p.EndOffset))
		}
	case *PartitionsCreated:
		for _, t := range body.Topics {
			parts = append(parts, strings.TrimSpace(fmt.Sprintf("topic %q: %s %s", t.Name, CodeName(t.Code), t.Message)))
		}
	case *ConfigsAltered:
		for _, r := range body.Resources {
			parts = append(parts, strings.TrimSpace(fmt.Sprintf("resource %d %q: %s %s", r.Type, r.Name, CodeName(r.Code), r.Message)))
		}
	case *ProducerIDAssigned:
		parts = append(parts, fmt.Sprintf("%s producer id %d epoch %d", CodeName(body.Code), body.ID, body.Epoch))
	case *PartitionsAltered, *BrokerRegistered, *BrokerHeartbeatAnswered, *ProducerIDsAllocated, *DamagedReported, *QuorumMessagesTaken, *ImageFetched, *Forwarded:
		return answerString(body.(AnswerBody))
	case *PartitionsReassigned, *ReassignmentsListed, *LeadersElected, *BrokerUnregistered, *QuorumDescribed, *VotersChanged:
		return placementString(body)
	case *CoordinatorsFound, *GroupJoined, *GroupSynced, *HeartbeatAnswered, *GroupLeft, *OffsetsCommitted, *OffsetsFetched,
		*GroupsDescribed, *GroupsListed, *GroupsDeleted, *OffsetsDeleted:
		return groupBodyString(body)
	}
	return strings.Join(parts, "; ")
}
