package main

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// decode reads a Produce request's body.
func (c *connection) decode(p *produce, b []byte) error {
	if p.version < 3 || p.version > 9 {
		return errProtocol
	}
	if c.s.kmsg {
		return p.decodeGeneral(b)
	}
	d := decoder{b: b, flexible: p.version >= 9}
	d.string() // transactional id
	p.acks = int16(d.uint16())
	d.uint32() // timeout
	for range d.array() {
		topic := d.string()
		for range d.array() {
			index := int32(d.uint32())
			p.parts = append(p.parts, part{topic: topic, index: index, batch: d.bytes()})
			d.tags()
		}
		d.tags()
	}
	if d.bad {
		return errProtocol
	}
	return nil
}

func (p *produce) decodeGeneral(b []byte) error {
	req := kmsg.NewPtrProduceRequest()
	req.Version = p.version
	if err := req.ReadFrom(b); err != nil {
		return err
	}
	p.acks = req.Acks
	for _, t := range req.Topics {
		for _, tp := range t.Partitions {
			p.parts = append(p.parts, part{topic: t.Topic, index: tp.Partition, batch: tp.Records})
		}
	}
	return nil
}

// response is the whole frame of the answer. Each partition is told of in a topic of its own.
func (p *produce) response() []byte {
	flexible := p.version >= 9
	out := binary.BigEndian.AppendUint32(make([]byte, 4, 64+64*len(p.parts)), p.id)
	if flexible {
		out = append(out, 0)
		out = binary.AppendUvarint(out, uint64(len(p.parts)+1))
	} else {
		out = binary.BigEndian.AppendUint32(out, uint32(len(p.parts)))
	}
	for i := range p.parts {
		pt := &p.parts[i]
		if flexible {
			out = binary.AppendUvarint(out, uint64(len(pt.topic)+1))
			out = append(out, pt.topic...)
			out = append(out, 2)
		} else {
			out = appendString(out, pt.topic)
			out = binary.BigEndian.AppendUint32(out, 1)
		}
		base := pt.base
		if pt.code != 0 {
			base = -1
		}
		out = binary.BigEndian.AppendUint32(out, uint32(pt.index))
		out = binary.BigEndian.AppendUint16(out, uint16(pt.code))
		out = binary.BigEndian.AppendUint64(out, uint64(base))
		out = binary.BigEndian.AppendUint64(out, ^uint64(0)) // no append time
		if p.version >= 5 {
			out = binary.BigEndian.AppendUint64(out, 0) // log start
		}
		switch {
		case flexible:
			out = append(out, 1, 0, 0, 0) // no record errors, no message, no tags twice
		case p.version >= 8:
			out = append(out, 0, 0, 0, 0, 0xff, 0xff)
		}
	}
	out = binary.BigEndian.AppendUint32(out, 0) // throttle
	if flexible {
		out = append(out, 0)
	}
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	return out
}

// decoder reads a frame by hand. After a mistake everything is zero.
type decoder struct {
	b        []byte
	flexible bool
	bad      bool
}

func (d *decoder) take(n int) []byte {
	if d.bad || n < 0 || n > len(d.b) {
		d.bad = true
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) uint16() uint16 {
	if b := d.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (d *decoder) uint32() uint32 {
	if b := d.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) uvarint() int {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > 1<<31 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return int(v)
}

func (d *decoder) string() string {
	n := 0
	if d.flexible {
		n = d.uvarint() - 1
	} else {
		n = int(int16(d.uint16()))
	}
	return string(d.take(max(0, n)))
}

func (d *decoder) bytes() []byte {
	if d.flexible {
		return d.take(max(0, d.uvarint()-1))
	}
	return d.take(max(0, int(int32(d.uint32()))))
}

func (d *decoder) array() int {
	n := 0
	if d.flexible {
		n = d.uvarint() - 1
	} else {
		n = int(int32(d.uint32()))
	}
	if n < 0 || n > len(d.b) {
		return 0
	}
	return n
}

func (d *decoder) tags() {
	if d.flexible && d.uvarint() != 0 {
		d.bad = true // nobody sends any
	}
}
