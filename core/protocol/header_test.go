package protocol_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weirmq/weir/core/protocol"
)

func TestHeaderVersionsFollowFlexibility(t *testing.T) {
	for _, c := range []struct {
		key                        protocol.Key
		version, request, response int16
	}{
		{protocol.KeyProduce, 8, 1, 0},
		{protocol.KeyProduce, 9, 2, 1},
		{protocol.KeyAPIVersions, 2, 1, 0},
		{protocol.KeyAPIVersions, 3, 2, 0}, // the response header stays at 0
		{protocol.KeyAPIVersions, 99, 2, 0},
		{protocol.KeySaslHandshake, 1, 1, 0}, // never flexible
		{protocol.KeyControlledShutdown, 0, 0, 0},
		{protocol.KeyControlledShutdown, 1, 1, 0},
		{protocol.KeyVote, 0, 2, 1},
		{protocol.Key(9999), 3, 1, 0},
		{protocol.Key(-1), 3, 1, 0},
	} {
		if got := protocol.RequestHeaderVersion(c.key, c.version); got != c.request {
			t.Errorf("request %v v%d: header %d, not %d", c.key, c.version, got, c.request)
		}
		if got := protocol.ResponseHeaderVersion(c.key, c.version); got != c.response {
			t.Errorf("response %v v%d: header %d, not %d", c.key, c.version, got, c.response)
		}
	}
}

func TestKeysAgreeWithKmsg(t *testing.T) {
	for k := protocol.Key(0); k < protocol.KeyCount; k++ {
		theirs := kmsg.RequestForKey(int16(k))
		if (theirs == nil) || protocol.NewRequest(k) == nil {
			if k >= 4 && k <= 7 && protocol.NewRequest(k) == nil && protocol.NewResponse(k) == nil && protocol.MaxVersion(k) < protocol.MinVersion(k) {
				continue // retired
			}
			t.Errorf("%v: kmsg has %v, we have %v", k, theirs, protocol.NewRequest(k))
			continue
		}
		if protocol.NewRequest(k).Key() != k || protocol.NewResponse(k).Key() != k {
			t.Errorf("%v: a message of another key", k)
		}
		for v := protocol.MinVersion(k); v <= protocol.MaxVersion(k); v++ {
			theirs.SetVersion(v)
			if ours := v >= protocol.FlexibleFrom(k); ours != theirs.IsFlexible() {
				t.Errorf("%v v%d: flexible %t", k, v, ours)
			}
		}
	}
	if protocol.NewRequest(protocol.KeyCount) != nil || protocol.NewResponse(-1) != nil || protocol.MaxVersion(protocol.KeyCount) != -1 || protocol.MaxVersion(-1) != -1 {
		t.Error("keys that do not exist have messages")
	}
	for place := range protocol.KeyPlaceCount {
		if k := protocol.KeyAt(place); k.Place() != place || place >= protocol.KeyCount && (protocol.NewRequest(k).Key() != k || protocol.NewResponse(k).Key() != k) {
			t.Errorf("place %d has key %v, which is at %d", place, k, k.Place())
		}
	}
	for _, k := range []protocol.Key{-1, protocol.KeyCount, protocol.FirstOwnKey - 1, protocol.FirstOwnKey + protocol.OwnKeyCount} {
		if k.Place() != -1 || protocol.NewRequest(k) != nil || protocol.MaxVersion(k) != -1 {
			t.Errorf("%v has a place", k)
		}
	}
	if s := protocol.KeyInitProducerID.String() + protocol.Key(777).String(); s != "InitProducerIdKey(777)" {
		t.Error(s)
	}
	if protocol.MaxVersion(protocol.KeyInitProducerID) != 5 || protocol.MaxUnstableVersion(protocol.KeyInitProducerID) != 6 {
		t.Error("the unstable version of InitProducerId passes for stable")
	}
}

func TestRequestFramesAreKmsgs(t *testing.T) {
	for _, c := range []struct {
		ours   protocol.Message
		theirs kmsg.Request
		v      int16
	}{
		{&protocol.HeartbeatRequest{GroupID: "g", MemberID: "m"}, &kmsg.HeartbeatRequest{Group: "g", MemberID: "m"}, 0},
		{&protocol.HeartbeatRequest{GroupID: "g", MemberID: "m"}, &kmsg.HeartbeatRequest{Group: "g", MemberID: "m"}, 4},
		{&protocol.SaslHandshakeRequest{Mechanism: "PLAIN"}, &kmsg.SASLHandshakeRequest{Mechanism: "PLAIN"}, 1},
	} {
		c.theirs.SetVersion(c.v)
		want := kmsg.NewRequestFormatter(kmsg.FormatterClientID("me")).AppendRequest(nil, c.theirs, 77)
		var w protocol.Writer
		h := protocol.RequestHeader{Key: c.ours.Key(), Version: c.v, CorrelationID: 77, ClientID: protocol.String("me")}
		w.BeginRequest(&h)
		c.ours.Encode(&w, c.v)
		w.EndFrame()
		got, err := w.AppendTo(nil)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v v%d (%v)\n%x\n%x", c.ours.Key(), c.v, err, got, want)
		}
		r := protocol.NewReader(got[4:], plenty)
		var back protocol.RequestHeader
		protocol.ReadRequestHeader(&r, &back)
		if back != h || r.Err() != nil {
			t.Errorf("read back %+v: %v", back, r.Err())
		}
	}
}

func TestUnknownRequestsStillNameTheirCorrelationID(t *testing.T) {
	head := func(key, version int16, rest ...byte) []byte {
		b := binary.BigEndian.AppendUint16(nil, uint16(key))
		b = binary.BigEndian.AppendUint16(b, uint16(version))
		b = binary.BigEndian.AppendUint32(b, 4242)
		return append(b, rest...)
	}
	for _, c := range []struct {
		name   string
		frame  []byte
		client protocol.NullString
		want   error
	}{
		{"unknown key", head(12000, 1, 0, 2, 'm', 'e', 0xde, 0xad), protocol.String("me"), nil},
		{"version from the future", head(18, 90, 0, 2, 'm', 'e', 0, 0xde, 0xad), protocol.String("me"), nil},
		{"null client", head(0, 3, 0xff, 0xff), protocol.NullString{}, nil},
		{"client longer than the frame", head(0, 3, 0, 9, 'm'), protocol.NullString{Valid: true}, protocol.ErrTruncated},
		{"no tags where there must be", head(0, 13, 0, 2, 'm', 'e'), protocol.String("me"), protocol.ErrTruncated},
		{"retired, no client id", head(7, 0), protocol.NullString{}, nil},
	} {
		h := protocol.RequestHeader{ClientID: protocol.String("earlier")}
		r := protocol.NewReader(c.frame, protocol.BudgetForStrangers())
		protocol.ReadRequestHeader(&r, &h)
		if h.CorrelationID != 4242 || h.ClientID != c.client || !errors.Is(r.Err(), c.want) {
			t.Errorf("%s: %+v, %v", c.name, h, r.Err())
		}
	}
	for n := range 8 {
		var h protocol.RequestHeader
		r := protocol.NewReader(head(3, 1)[:n], plenty)
		protocol.ReadRequestHeader(&r, &h)
		if !errors.Is(r.Err(), protocol.ErrTruncated) {
			t.Errorf("a header of %d bytes: %v", n, r.Err())
		}
	}
}

func TestResponseFramesSpliceRecordsAndCountThem(t *testing.T) {
	var m protocol.FetchResponse
	large, small := bytes.Repeat([]byte{7}, 512), bytes.Repeat([]byte{8}, 511)
	m.Default()
	topic := protocol.Add(&m.Responses)
	for range 3 {
		protocol.Add(&topic.Partitions)
	}
	region := &file{1 << 20}
	topic.Partitions[0].Records.Bytes = large
	topic.Partitions[1].Records.Bytes = small
	topic.Partitions[2].Records.Regions = []protocol.Region{region, region}

	var w protocol.Writer
	for range 2 { // two frames in one writer
		w.BeginResponse(9, protocol.KeyFetch, 16)
		m.Encode(&w, 16)
		w.EndFrame()
	}
	if w.Err() != nil {
		t.Fatal(w.Err())
	}
	var flat []byte // with zeroes for the regions
	spliced, regions, total := 0, 0, 0
	for _, p := range w.Pieces() {
		total += p.Len()
		switch {
		case p.Region != nil:
			regions++
			flat = append(flat, make([]byte, p.Len())...)
		case &p.Bytes[0] == &large[0]:
			spliced++
			flat = append(flat, p.Bytes...)
		default:
			flat = append(flat, p.Bytes...)
		}
	}
	if spliced != 2 || regions != 4 || total != w.Len() {
		t.Errorf("%d slices and %d regions spliced, %d bytes of %d", spliced, regions, total, w.Len())
	}
	for range 2 {
		size := int(binary.BigEndian.Uint32(flat))
		r := protocol.NewReader(flat[4:4+size], plenty)
		if id := protocol.ReadResponseHeader(&r, protocol.KeyFetch, 16); id != 9 {
			t.Errorf("correlation id %d", id)
		}
		var back protocol.FetchResponse
		back.Decode(&r, 16)
		if err := r.Finish(); err != nil {
			t.Fatal(err)
		}
		p := back.Responses[0].Partitions
		if !bytes.Equal(p[0].Records.Bytes, large) || !bytes.Equal(p[1].Records.Bytes, small) || p[2].Records.Len() != 2<<20 {
			t.Error("the records came back otherwise")
		}
		flat = flat[4+size:]
	}
	if len(flat) != 0 {
		t.Errorf("%d bytes after both frames", len(flat))
	}
	if _, err := w.AppendTo(nil); err == nil {
		t.Error("regions became bytes")
	}
	w.Reset()
	if w.Len() != 0 || len(w.Pieces()) != 0 {
		t.Error("a reset writer is not empty")
	}
}

func TestEncodeRefusesWhatAVersionCannotSay(t *testing.T) {
	var fetch protocol.FetchRequest
	fetch.Default()
	fetch.ReplicaID = 3
	var create protocol.MetadataRequest
	create.Default()
	create.Topics = nil
	var zero protocol.JoinGroupResponse // ProtocolName null
	for _, c := range []struct {
		m       protocol.Message
		version int16
		field   string // "" if it encodes
	}{
		{&fetch, 14, ""},
		{&fetch, 15, "FetchRequest.ReplicaID"},
		{&create, 0, "MetadataRequest.Topics"},
		{&create, 1, ""},
		{&zero, 6, "JoinGroupResponse.ProtocolName"},
		{&zero, 7, ""},
		{&protocol.HeartbeatRequest{GroupInstanceID: protocol.String("static")}, 2, "HeartbeatRequest.GroupInstanceID"},
		{&protocol.FetchResponse{SessionID: 5}, 6, "FetchResponse.SessionID"},
		{&protocol.FetchRequest{SessionID: 5, ReplicaState: protocol.FetchRequestReplicaState{ReplicaID: -1, ReplicaEpoch: -1}}, 6, ""}, // ignorable
		{&protocol.SaslHandshakeRequest{Mechanism: string(make([]byte, 1<<15))}, 0, "length"},
	} {
		_, err := encode(c.m, c.version)
		var refused *protocol.EncodeError
		switch {
		case c.field == "" && err != nil:
			t.Errorf("%T v%d: %v", c.m, c.version, err)
		case c.field != "" && (!errors.As(err, &refused) || refused.Field != c.field):
			t.Errorf("%T v%d: %v, not about %s", c.m, c.version, err, c.field)
		}
	}
}
