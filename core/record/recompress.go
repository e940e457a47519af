package record

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Recompress makes the batch that b is with its records kept in another codec, in memory of its own. b must have been
// validated. The records stay as they are, and so does everything of the header but size, codec and CRC.
//
// It holds at most limitBytes of records beside the result: ErrTooLarge when they are more.
func (d *Decompressor) Recompress(b Batch, to Codec, limitBytes int) (Batch, error) {
	if !to.Known() {
		return nil, fmt.Errorf("%w: %s", ErrCodec, to)
	}
	records, err := d.Decompress(b.Codec(), b.Payload(), limitBytes)
	if err != nil {
		return nil, err
	}
	if d.compressor == nil {
		d.compressor = new(Compressor)
	}
	out := d.compressor.Compress(slices.Clone([]byte(b[:HeaderBytes])), records, to, DefaultLevel)
	binary.BigEndian.PutUint32(out[posLength:], uint32(len(out)-FrameBytes))
	binary.BigEndian.PutUint16(out[posAttributes:], uint16(b.Attributes()&^CodecMask|Attributes(to)))
	stampCRC(out)
	return Batch(slices.Clip(out)), nil
}
