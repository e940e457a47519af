package link

import (
	"errors"
	"fmt"
	"slices"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/invariant"
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// dial asks for a connection.
func (l *Link) dial(now model.Time, out *Out) {
	l.state, l.connectBy = dialling, now+l.config.ConnectTimeout
	out.Dial, out.Address = true, l.address
}

// Connected says that the connection is there: it is greeted.
func (l *Link) Connected(now model.Time, out *Out) {
	invariant.Checkf(l.state == dialling, "connected while %v", l.state)
	l.state, l.receivedAt, l.greeted, l.correlation = greeting, now, 0, 0
	l.versions = [protocol.KeyPlaceCount]versionRange{}

	versions := protocol.NewRequest(protocol.KeyAPIVersions).(*protocol.APIVersionsRequest)
	versions.ClientSoftwareName, versions.ClientSoftwareVersion = "weir", l.config.Version
	l.send(versions, apiVersionsVersion, out)
	hello := protocol.NewRequest(protocol.KeyNodeHello).(*protocol.NodeHelloRequest)
	hello.ClusterID, hello.NodeID, hello.IncarnationID, hello.ToNodeID = l.config.ClusterID, int32(l.config.Self), l.config.Incarnation, int32(l.config.To)
	l.send(hello, helloVersion, out)
}

// The versions of the greetings: ApiVersions from 3 on tells the other node what we are, and every node takes NodeHello 0.
const (
	apiVersionsVersion = 3
	helloVersion       = 0
)

// greet takes in an answer to a greeting. The other end may be anything.
func (l *Link) greet(now model.Time, frame []byte, out *Out) {
	l.reader.Reset(frame, protocol.BudgetForStrangers())
	var err error
	if l.greeted == 0 {
		err = l.readAPIVersions(0)
	} else {
		err = l.readHello(1)
	}
	out.Free = append(out.Free, frame)
	var refused refusal
	switch {
	case errors.As(err, &refused):
		// The greeting is all that was sent, so nothing was asked of the wrong node.
		l.refuseWaiting(effect.CallRefused, refused.Error(), out)
		l.failures = backoffShiftMax
		l.drop(now, refused.Error(), out)
		out.Refused = true
	case err != nil:
		l.drop(now, "the answer to the greeting cannot be read: "+err.Error(), out)
	default:
		if l.greeted++; l.greeted == 2 {
			l.state, l.readySince, l.trouble = ready, now, ""
			l.usedAt = now
			l.sendWaiting(now, out)
		}
	}
}

// refusal says that the other end is not who is meant.
type refusal string

func (r refusal) Error() string { return string(r) }

func refusef(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

func (l *Link) readAPIVersions(correlation int32) error {
	if id := protocol.ReadResponseHeader(&l.reader, protocol.KeyAPIVersions, apiVersionsVersion); id != correlation {
		return fmt.Errorf("it answers request %d and not %d", id, correlation)
	}
	var r protocol.APIVersionsResponse
	r.Decode(&l.reader, apiVersionsVersion)
	if err := l.reader.Finish(); err != nil {
		return err
	}
	if r.ErrorCode != 0 {
		return refusef("the other end refuses ApiVersions: %s", effect.CodeName(r.ErrorCode))
	}
	return nil
}

func (l *Link) readHello(correlation int32) error {
	if id := protocol.ReadResponseHeader(&l.reader, protocol.KeyNodeHello, helloVersion); id != correlation {
		return fmt.Errorf("it answers request %d and not %d", id, correlation)
	}
	var r protocol.NodeHelloResponse
	r.Decode(&l.reader, helloVersion)
	if err := l.reader.Finish(); err != nil {
		return err
	}
	switch {
	case r.ErrorCode != 0:
		return refusef("it does not take this node for one of its cluster, %s: %s", effect.CodeName(r.ErrorCode), r.ErrorMessage.Value)
	case r.ClusterID != l.config.ClusterID:
		return refusef("it is of cluster %q, not of %q", r.ClusterID, l.config.ClusterID)
	case model.NodeID(r.NodeID) != l.config.To:
		return refusef("it is node %d, not node %d", r.NodeID, l.config.To)
	}
	for i := range r.APIKeys {
		if k := &r.APIKeys[i]; k.APIKey.Place() >= 0 {
			l.versions[k.APIKey.Place()] = versionRange{known: true, min: k.MinVersion, max: k.MaxVersion}
		}
	}
	return nil
}

// Lost says that the connection is gone, or could not be made, and why.
func (l *Link) Lost(now model.Time, why string, out *Out) {
	switch l.state {
	case dialling, greeting, ready:
		l.lose(now, why, out)
	case idle, backingOff:
		invariant.Checkf(false, "a connection is lost while %v", l.state)
	}
	l.advance(now, out)
}

// drop closes the connection.
func (l *Link) drop(now model.Time, why string, out *Out) {
	l.lose(now, why, out)
	out.close(why)
	for _, f := range out.Frames {
		l.Recycle(f)
	}
	clear(out.Frames)
	out.Frames = out.Frames[:0]
}

// lose takes in that there is no connection any more. What was not sent waits for the next, unless there was none to
// begin with.
func (l *Link) lose(now model.Time, why string, out *Out) {
	was := l.state
	if was == greeting {
		why = "the other end has not said that it is node " + fmt.Sprint(l.config.To) + ": " + why
	}
	l.trouble = why
	if was != ready {
		l.refuseWaiting(effect.CallUnreachable, why, out)
	}
	for _, k := range l.sent {
		if !k.answered {
			l.answer(k.id, effect.CallLost, why, nil, out)
		}
		l.forget(k)
	}
	clear(l.sent)
	l.sent, l.sentBytes = l.sent[:0], 0
	if was == ready && now-l.readySince >= l.config.BackoffMax {
		l.failures = 0
	}
	l.retryAt = now + min(l.config.BackoffMin<<min(l.failures, backoffShiftMax), l.config.BackoffMax)
	l.failures++
	l.state = backingOff
}

// backoffShiftMax is how often the wait is doubled at most.
const backoffShiftMax = 16

// refuseWaiting answers every call that waits.
func (l *Link) refuseWaiting(failure effect.CallFailure, why string, out *Out) {
	for _, k := range l.waiting {
		l.answer(k.id, failure, why, nil, out)
		l.forget(k)
	}
	clear(l.waiting)
	l.waiting, l.waitingBytes = l.waiting[:0], 0
}

// check verifies what must hold between two inputs.
func (l *Link) check() error {
	size := 0
	for _, k := range l.sent {
		size += k.bytes
	}
	waiting := 0
	for _, k := range l.waiting {
		waiting += k.bytes
	}
	switch {
	case size != l.sentBytes || waiting != l.waitingBytes:
		return fmt.Errorf("%d bytes were sent and %d wait, the link knows of %d and %d", size, waiting, l.sentBytes, l.waitingBytes)
	case len(l.sent) > l.config.InFlightMax || len(l.sent) > 1 && size > l.config.InFlightBytesMax:
		return fmt.Errorf("%d calls of %d bytes are in flight", len(l.sent), size)
	case len(l.sent) > 0 && l.state != ready:
		return fmt.Errorf("%d calls were sent while %v", len(l.sent), l.state)
	case l.state == idle && len(l.waiting) > 0:
		return fmt.Errorf("%d calls wait and nothing is done for them", len(l.waiting))
	case l.Pending() > 0 && l.expires == 0:
		return errors.New("calls have no deadline")
	case !slices.IsSortedFunc(l.sent, func(a, b *call) int { return int(a.correlation - b.correlation) }):
		return errors.New("calls were sent out of order")
	}
	return nil
}
