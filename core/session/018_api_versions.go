package session

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/protocol"
)

func (s *Session) receiveAPIVersions(rq *request, out *Out) {
	var in protocol.APIVersionsRequest
	if !s.decodeWhole(rq, &in, out) {
		return
	}
	r := new(protocol.APIVersionsResponse)
	r.Default()
	switch {
	case rq.version >= 3 && (!softwareName(in.ClientSoftwareName) || !softwareName(in.ClientSoftwareVersion)):
		r.ErrorCode = kerr.InvalidRequest.Code
	case rq.version >= 5 && s.elsewhere(&in):
		r.ErrorCode = kerr.RebootstrapRequired.Code
	default:
		s.SoftwareName, s.SoftwareVersion = in.ClientSoftwareName, in.ClientSoftwareVersion
	}
	for _, a := range apis {
		if a.Peers != Nodes {
			addVersions(r, a)
		}
	}
	if rq.version >= 3 {
		addFeatures(r, apis, rq.version)
	}
	s.answer(rq.slot, r, out)
}

// elsewhere reports whether the client meant to reach another cluster or node (KIP-1242).
func (s *Session) elsewhere(in *protocol.APIVersionsRequest) bool {
	return in.ClusterID.Valid && in.ClusterID.Value != s.config.ClusterID || in.NodeID >= 0 && in.NodeID != int32(s.config.NodeID)
}

// unsupportedAPIVersions answers a version that we do not know in version 0, with our range of this key
// so that the client can ask again (KIP-511).
func unsupportedAPIVersions(sl *slot) protocol.Message {
	sl.version = 0
	r := new(protocol.APIVersionsResponse)
	r.Default()
	r.ErrorCode = kerr.UnsupportedVersion.Code
	a, _ := lookup(protocol.KeyAPIVersions)
	addVersions(r, a)
	return r
}

func addVersions(r *protocol.APIVersionsResponse, a API) {
	to := protocol.Add(&r.APIKeys)
	to.APIKey, to.MinVersion, to.MaxVersion = int16(a.Key), a.VersionMin, a.VersionMax
}

// softwareName is KIP-511's rule for what clients call themselves: letters, digits, and inside also dots
// and hyphens.
func softwareName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		inside := i > 0 && i < len(s)-1 && (c == '.' || c == '-')
		if !letter && !inside {
			return false
		}
	}
	return s != "" && len(s) <= nameBytesMax
}
