package group

// Memory bounds what the groups of a node may hold: members and what they say of themselves, member ids that were
// given out, committed offsets. Coordinators of one loop share it. What clients ask for beyond it is refused with
// COORDINATOR_NOT_AVAILABLE, which they try again.
type Memory struct {
	BytesMax  int64
	usedBytes int64
	// idCount is of the member ids that all of them made: a node that coordinates a group again makes others than before.
	idCount uint64
}

// UsedBytes is about how much is held.
func (m *Memory) UsedBytes() int64 { return m.usedBytes }

// room reports whether so many bytes more can be held. Who takes no more than before always may.
func (m *Memory) room(bytes int) bool {
	return bytes <= 0 || m.usedBytes+int64(bytes) <= m.BytesMax
}

// About what each thing takes beside the strings and bytes in it.
const (
	memberBytes  = 768
	pendingBytes = 384
	entryBytes   = 256
)

// groupBytesMax bounds what the members of one group say of themselves: their leader is told of it in one
// response, and the log in one record.
const groupBytesMax = 8 << 20

func joinBytes(in *Join) int {
	n := memberBytes + 2*len(in.ClientID) + 2*len(in.Instance) + len(in.ClientHost)
	for i := range in.Protocols {
		n += 64 + len(in.Protocols[i].Name) + len(in.Protocols[i].Metadata)
	}
	return n
}
