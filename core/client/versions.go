package client

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/protocol"
)

// apiVersionsFirst is the version that negotiation begins with. 3 and 4 look alike to us; 4 tells the
// broker that its feature levels may begin at 0 (KAFKA-17011). 5 asks whether the cluster is the one that
// we expect (KIP-1242), which we do not.
const apiVersionsFirst = 4

// softwareName and softwareVersion tell brokers who is connected (KIP-511).
const (
	softwareName    = "weir"
	softwareVersion = "1"
)

// versionsCall negotiates versions on a new connection. A broker that does not know the version asked
// for answers with version 0 and UNSUPPORTED_VERSION, naming its own range (KIP-511).
type versionsCall struct {
	cluster *cluster
	conn    *conn
	retried bool
}

func (q *versionsCall) key() protocol.Key        { return protocol.KeyAPIVersions }
func (q *versionsCall) misplaced() bool          { return false }
func (q *versionsCall) versions() (int16, int16) { return 0, math.MaxInt16 }

func (q *versionsCall) encode(w *protocol.Writer, version int16) {
	var m protocol.APIVersionsRequest
	m.Default()
	if version >= 3 {
		m.ClientSoftwareName, m.ClientSoftwareVersion = softwareName, softwareVersion
	}
	m.Encode(w, version)
}

func (q *versionsCall) answered(now model.Time, version int16, r *protocol.Reader, out *Out) error {
	refused := false
	body := *r
	var m protocol.APIVersionsResponse
	m.Decode(r, version)
	if r.Finish() != nil && version != 0 {
		// Perhaps a refusal, which is always version 0.
		m.Default()
		m.Decode(&body, 0)
		if err := body.Finish(); err != nil {
			return err
		}
		refused = true
	} else if err := r.Err(); err != nil {
		return err
	}
	if m.ErrorCode == kerr.UnsupportedVersion.Code || refused {
		if m.ErrorCode != kerr.UnsupportedVersion.Code || q.retried || version == 0 {
			return fmt.Errorf("version negotiation failed with code %d", m.ErrorCode)
		}
		next := int16(0)
		for i := range m.APIKeys {
			if k := &m.APIKeys[i]; protocol.Key(k.APIKey) == protocol.KeyAPIVersions && k.MaxVersion < version {
				next = max(0, k.MaxVersion)
			}
		}
		q.conn.endpoint.apiVersions = next + 1
		q.cluster.transmit(now, q.conn, &versionsCall{cluster: q.cluster, conn: q.conn, retried: true}, next, q.cluster.cfg.DialTimeout, out)
		return nil
	}
	if m.ErrorCode != 0 {
		return fmt.Errorf("version negotiation failed with code %d", m.ErrorCode)
	}
	versions := make([]versionRange, 0, len(m.APIKeys))
	for i := range m.APIKeys {
		k := &m.APIKeys[i]
		versions = append(versions, versionRange{key: protocol.Key(k.APIKey), min: k.MinVersion, max: k.MaxVersion})
	}
	slices.SortStableFunc(versions, func(a, b versionRange) int { return cmp.Compare(a.key, b.key) })
	q.cluster.negotiated(now, q.conn, versions, out)
	return nil
}

func (q *versionsCall) failed(model.Time, Reason, bool, *Out) {}
