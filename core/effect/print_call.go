package effect

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/weirmq/weir/core/model"
)

// String is "transport://host:port".
func (a Address) String() string { return fmt.Sprintf("%v://%s:%d", a.Transport, a.Host, a.Port) }

// String is one line, for scenarios and traces.
func (c *Call) String() string {
	return fmt.Sprintf("call %d to node %d at %v, %v: %s", c.ID, c.To, c.Address, c.Lane, callString(c.Body))
}

// String is one line, for scenarios and traces.
func (a *Answer) String() string {
	head := fmt.Sprintf("answer to call %d from node %d: ", a.ID, a.From)
	if a.Failure != CallOK {
		return strings.TrimSuffix(head+a.Failure.String()+": "+a.Detail, ": ")
	}
	return head + answerString(a.Body)
}

func callString(body CallBody) string {
	var b strings.Builder
	switch body := body.(type) {
	case *ReplicaFetch:
		fmt.Fprintf(&b, "fetch for node %d epoch %d, session %d.%d", body.Replica, body.BrokerEpoch, body.SessionID, body.SessionEpoch)
		for i := range body.Parts {
			p := &body.Parts[i]
			fmt.Fprintf(&b, "; %v epoch %d from %d after epoch %d", p.Partition, p.CurrentLeaderEpoch, p.Offset, p.LastFetchedEpoch)
		}
		for _, p := range body.Forget {
			fmt.Fprintf(&b, "; forget %v", p)
		}
	case *AlterPartition:
		fmt.Fprintf(&b, "alter partitions for node %d epoch %d", body.Broker, body.BrokerEpoch)
		for i := range body.Parts {
			p := &body.Parts[i]
			fmt.Fprintf(&b, "; %v leader epoch %d, partition epoch %d, in sync", p.Partition, p.LeaderEpoch, p.PartitionEpoch)
			for _, s := range p.ISR {
				fmt.Fprintf(&b, " %d.%d", s.Broker, s.BrokerEpoch)
			}
			b.WriteString(recovering(p.Recovering))
		}
	case *RegisterBroker:
		fmt.Fprintf(&b, "register broker %d of cluster %q, incarnation %s, previous epoch %d", body.Broker, body.ClusterID,
			idString(body.Incarnation), body.PreviousBrokerEpoch)
		for _, l := range body.Listeners {
			fmt.Fprintf(&b, "; %s at %s:%d", l.Name, l.Host, l.Port)
		}
	case *HeartbeatBroker:
		fmt.Fprintf(&b, "heartbeat of broker %d epoch %d, metadata up to %d", body.Broker, body.BrokerEpoch, body.MetadataOffset)
		for _, w := range []struct {
			is   bool
			what string
		}{{body.WantFence, ", wants to be fenced"}, {body.WantShutdown, ", wants to shut down"}} {
			if w.is {
				b.WriteString(w.what)
			}
		}
		for _, d := range body.OfflineDirectories {
			fmt.Fprintf(&b, ", directory %s is offline", idString(d))
		}
	case *AllocateProducerIDs:
		fmt.Fprintf(&b, "allocate producer ids for broker %d epoch %d", body.Broker, body.BrokerEpoch)
	case *ReportDamaged:
		fmt.Fprintf(&b, "damaged replicas of broker %d epoch %d", body.Broker, body.BrokerEpoch)
		for _, p := range body.Parts {
			fmt.Fprintf(&b, "; %v leader epoch %d", p.Partition, p.LeaderEpoch)
		}
	case *QuorumMessages:
		fmt.Fprintf(&b, "%d quorum messages of voter %d for voter %d", len(body.Messages), body.From, body.To)
	case *Forward:
		fmt.Fprintf(&b, "forward %d bytes", len(body.Request))
	case *FetchImage:
		fmt.Fprintf(&b, "fetch image %d-%d from byte %d", body.ID.EndOffset, body.ID.Epoch, body.Position)
	case *CreateMissing:
		fmt.Fprintf(&b, "create topics %q", body.Names)
	}
	return b.String()
}

func answerString(body AnswerBody) string {
	var b strings.Builder
	switch body := body.(type) {
	case *ReplicaFetched:
		fmt.Fprintf(&b, "fetched: %s session %d", CodeName(body.Code), body.SessionID)
		for i := range body.Parts {
			b.WriteString("; ")
			body.Parts[i].print(&b)
		}
	case *PartitionsAltered:
		fmt.Fprintf(&b, "partitions altered: %s", CodeName(body.Code))
		for i := range body.Parts {
			p := &body.Parts[i]
			fmt.Fprintf(&b, "; %v %s leader %d epoch %d, partition epoch %d, in sync %v%s", p.Partition, CodeName(p.Code), p.Leader, p.LeaderEpoch,
				p.PartitionEpoch, p.ISR, recovering(p.Recovering))
		}
	case *BrokerRegistered:
		fmt.Fprintf(&b, "broker registered: %s epoch %d", CodeName(body.Code), body.BrokerEpoch)
	case *BrokerHeartbeatAnswered:
		fmt.Fprintf(&b, "broker heartbeat: %s caught up %t, fenced %t, shut down %t", CodeName(body.Code), body.IsCaughtUp, body.IsFenced, body.ShouldShutdown)
	case *ProducerIDsAllocated:
		fmt.Fprintf(&b, "producer ids: %s %d from %d", CodeName(body.Code), body.Count, body.First)
	case *DamagedReported:
		fmt.Fprintf(&b, "damaged replicas: %s", CodeName(body.Code))
		for _, p := range body.Parts {
			fmt.Fprintf(&b, "; %v %s", p.Partition, CodeName(p.Code))
		}
	case *QuorumMessagesTaken:
		fmt.Fprintf(&b, "quorum messages taken: %s", CodeName(body.Code))
	case *Forwarded:
		fmt.Fprintf(&b, "forwarded: %s, %d bytes", CodeName(body.Code), len(body.Response))
	case *ImageFetched:
		fmt.Fprintf(&b, "image %d-%d: %s %d bytes from byte %d of %d", body.ID.EndOffset, body.ID.Epoch, CodeName(body.Code), len(body.Bytes), body.Position, body.SizeBytes)
	case *TopicsCreated:
		return bodyString(body)
	}
	return b.String()
}

func (p *ReplicaFetchedPart) print(b *strings.Builder) {
	fmt.Fprintf(b, "%v %s", p.Partition, CodeName(p.Code))
	if p.Detail != "" {
		fmt.Fprintf(b, " (%s)", p.Detail)
	}
	fmt.Fprintf(b, " log start %d, high watermark %d", p.LogStartOffset, p.HighWatermark)
	if p.Diverging.Epoch != model.NoLeaderEpoch {
		fmt.Fprintf(b, ", diverging: epoch %d ends at %d", p.Diverging.Epoch, p.Diverging.EndOffset)
	}
	if p.Leader != model.NoNode {
		fmt.Fprintf(b, ", leader %d epoch %d", p.Leader, p.LeaderEpoch)
	}
	if p.Image != NoImage {
		fmt.Fprintf(b, ", image %d-%d", p.Image.EndOffset, p.Image.Epoch)
	}
	for i := range p.Batches {
		h := &p.Batches[i].Header
		fmt.Fprintf(b, ", %d to %d epoch %d", h.BaseOffset, h.LastOffset(), h.LeaderEpoch)
	}
}

func recovering(is bool) string {
	if is {
		return " recovering"
	}
	return ""
}

// idString is Kafka's rendering of 16 bytes.
func idString(id [16]byte) string { return base64.RawURLEncoding.EncodeToString(id[:]) }
