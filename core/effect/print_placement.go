package effect

import (
	"fmt"
	"strings"
)

// placementString is one line of an answer about replicas, leaders and brokers.
func placementString(body Body) string {
	switch body := body.(type) {
	case *PartitionsReassigned:
		return strings.Join(append([]string{coded(body.Code, body.Message)}, partsStrings(body.Topics)...), "; ")
	case *LeadersElected:
		return strings.Join(append([]string{coded(body.Code, body.Message)}, partsStrings(body.Topics)...), "; ")
	case *ReassignmentsListed:
		parts := []string{coded(body.Code, body.Message)}
		for i := range body.Topics {
			t := &body.Topics[i]
			for k := range t.Parts {
				p := &t.Parts[k]
				parts = append(parts, fmt.Sprintf("%q %d: replicas %v, adding %v, removing %v", t.Name, p.Partition, p.Replicas, p.Adding, p.Removing))
			}
		}
		return strings.Join(parts, "; ")
	case *QuorumDescribed:
		parts := []string{coded(body.Code, body.Message), fmt.Sprintf("leader %d epoch %d, committed to %d", body.Leader, body.LeaderEpoch, body.HighWatermark)}
		for _, m := range body.Voters {
			parts = append(parts, fmt.Sprintf("voter %d has it to %d", m.Node, m.LogEndOffset))
		}
		for _, m := range body.Observers {
			parts = append(parts, fmt.Sprintf("observer %d has it to %d", m.Node, m.LogEndOffset))
		}
		return strings.Join(parts, "; ")
	case *VotersChanged:
		return coded(body.Code, body.Message)
	case *BrokerUnregistered:
		return coded(body.Code, body.Message)
	default:
		panic(fmt.Sprintf("an answer about no replicas: %T", body))
	}
}

func coded(code int16, message string) string {
	return strings.TrimSpace(CodeName(code) + " " + message)
}

func partsStrings(topics []TopicParts) (out []string) {
	for i := range topics {
		for _, p := range topics[i].Parts {
			out = append(out, fmt.Sprintf("%q %d: %s", topics[i].Name, p.Partition, coded(p.Code, p.Message)))
		}
	}
	return out
}
