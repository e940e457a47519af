package session

import (
	"github.com/weirmq/weir/core/broker"
	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

func (s *Session) receiveQuorumMessages(rq *request, out *Out) {
	var in protocol.QuorumMessagesRequest
	if !s.decode(rq, &in, out) {
		return
	}
	ask := effect.QuorumMessages{From: model.VoterID(in.From), To: model.VoterID(in.To), Messages: make([][]byte, 0, len(in.Messages))}
	for i := range in.Messages {
		ask.Messages = append(ask.Messages, in.Messages[i].Data.Bytes)
	}
	out.Events = append(out.Events, &broker.QuorumMessages{To: rq.id, Ask: ask})
}

func respondQuorumMessages(in *effect.QuorumMessagesTaken) protocol.Message {
	r := new(protocol.QuorumMessagesResponse)
	r.Default()
	r.ErrorCode, r.VoterID, r.HasLog = in.Code, int64(in.Voter), in.HasLog
	return r
}
