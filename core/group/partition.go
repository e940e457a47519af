package group

import "unicode/utf8"

// PartitionOf is which partition of the offsets topic a group's state is kept in, by Kafka's rule: the magnitude of
// Java's String.hashCode, modulo the number of partitions. Tools that read the topic compute the same.
func PartitionOf(groupID string, partitionCount int) int {
	h := int64(javaHash(groupID))
	if h < 0 {
		h = -h
	}
	if h == 1<<31 {
		h = 0 // Java's Math.abs has no positive counterpart of the smallest integer
	}
	return int(h % int64(partitionCount))
}

// javaHash is Java's String.hashCode, which is over UTF-16.
func javaHash(s string) int32 {
	h := int32(0)
	for _, r := range s {
		if r > 0xffff && r <= utf8.MaxRune {
			r -= 0x10000
			h = 31*h + 0xd800 + r>>10
			r = 0xdc00 + r&0x3ff
		}
		h = 31*h + r
	}
	return h
}
