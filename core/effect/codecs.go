package effect

import (
	"github.com/weirmq/weir/core/model"
	"github.com/weirmq/weir/core/record"
)

// Codecs says which topics keep their records in a codec of their own (compression.type). Sessions, which stand
// before the loop, recompress what arrives by it. It is immutable: when it changes there is a new one, in Set.Codecs.
// Nil says that every topic keeps what producers chose.
type Codecs struct {
	byID   map[model.TopicID]TopicCodec
	byName map[string]TopicCodec
}

// TopicCodec is how one topic keeps its records.
type TopicCodec struct {
	Codec record.Codec
	// BytesMax is max.message.bytes: what inflates to more need not be recompressed to nothing.
	BytesMax int32
}

// Named is how the topic of a name keeps its records; false if as they come.
func (c *Codecs) Named(name string) (TopicCodec, bool) {
	if c == nil {
		return TopicCodec{}, false
	}
	t, ok := c.byName[name]
	return t, ok
}

// Identified is Named by topic id.
func (c *Codecs) Identified(id model.TopicID) (TopicCodec, bool) {
	if c == nil {
		return TopicCodec{}, false
	}
	t, ok := c.byID[id]
	return t, ok
}

// CodecChange is how one topic keeps its records from now on.
type CodecChange struct {
	Name  string
	ID    model.TopicID
	Keeps bool // what comes, as it comes
	TopicCodec
}

// With is the Codecs after some changes: the same ones if nothing changes.
func (c *Codecs) With(changes []CodecChange) *Codecs {
	n := c
	for i := range changes {
		ch := &changes[i]
		was, own := n.Identified(ch.ID)
		if own && !ch.Keeps && was == ch.TopicCodec || !own && ch.Keeps {
			continue
		}
		if n == c {
			n = c.clone()
		}
		if ch.Keeps {
			delete(n.byID, ch.ID)
			delete(n.byName, ch.Name)
		} else {
			n.byID[ch.ID], n.byName[ch.Name] = ch.TopicCodec, ch.TopicCodec
		}
	}
	return n
}

func (c *Codecs) clone() *Codecs {
	n := &Codecs{byID: make(map[model.TopicID]TopicCodec), byName: make(map[string]TopicCodec)}
	if c != nil {
		for id, t := range c.byID { //determ:allow a map is copied whole
			n.byID[id] = t
		}
		for name, t := range c.byName { //determ:allow a map is copied whole
			n.byName[name] = t
		}
	}
	return n
}
