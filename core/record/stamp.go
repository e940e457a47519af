package record

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/weirmq/weir/core/model"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// CheckCRC compares the stored CRC-32C with the bytes: ErrCRC when they differ. b is exactly one batch.
func CheckCRC(b Batch) error {
	if sum := crc32.Checksum(b[posAttributes:], castagnoli); sum != b.CRC() {
		return fmt.Errorf("%w: stored %08x, computed %08x", ErrCRC, b.CRC(), sum)
	}
	return nil
}

// Stamp writes what the leader decides, in place and outside the CRC: the base offset and the leader
// epoch. The header read before has neither; see Header.Stamped.
func Stamp(b Batch, base model.Offset, epoch model.LeaderEpoch) {
	binary.BigEndian.PutUint64(b[posBaseOffset:], uint64(base))
	binary.BigEndian.PutUint32(b[posLeaderEpoch:], uint32(epoch))
}

// Stamped is the header of the batch after Stamp with the same arguments.
func (h Header) Stamped(base model.Offset, epoch model.LeaderEpoch) Header {
	h.BaseOffset, h.LeaderEpoch = base, epoch
	return h
}

// StampAppendTime makes ts the time of every record (message.timestamp.type=LogAppendTime) and
// recomputes the CRC.
func StampAppendTime(b Batch, ts model.Timestamp) {
	binary.BigEndian.PutUint16(b[posAttributes:], uint16(b.Attributes()|AppendTimeBit))
	binary.BigEndian.PutUint64(b[posMaxTimestamp:], uint64(ts))
	stampCRC(b)
}

// StampedAt is the header of the batch after StampAppendTime with the same time, but for the CRC.
func (h Header) StampedAt(ts model.Timestamp) Header {
	h.Attributes |= AppendTimeBit
	h.MaxTimestamp = ts
	return h
}

// PatchProducer rewrites who sent the batch and recomputes the CRC: a producer does so when its epoch
// is bumped while the batch waits.
func PatchProducer(b Batch, id model.ProducerID, epoch model.ProducerEpoch, seq model.Sequence) {
	binary.BigEndian.PutUint64(b[posProducerID:], uint64(id))
	binary.BigEndian.PutUint16(b[posProducerEpoch:], uint16(epoch))
	binary.BigEndian.PutUint32(b[posBaseSequence:], uint32(seq))
	stampCRC(b)
}

// stampMaxTimestamp corrects the max timestamp and recomputes the CRC.
func stampMaxTimestamp(b Batch, ts model.Timestamp) {
	binary.BigEndian.PutUint64(b[posMaxTimestamp:], uint64(ts))
	stampCRC(b)
}

func stampCRC(b Batch) {
	binary.BigEndian.PutUint32(b[posCRC:], crc32.Checksum(b[posAttributes:], castagnoli))
}
