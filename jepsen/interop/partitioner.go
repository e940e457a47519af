package main

import (
	"hash/crc32"
	"hash/fnv"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
)

// partitionerOf names the rule by which keys were given to partitions.
func partitionerOf(places map[string]int32, partitions int) string {
	murmur := kgo.StickyKeyPartitioner(nil).ForTopic("")
	rules := []struct {
		name string
		at   func(key []byte) int
	}{
		{"murmur2", func(key []byte) int { return murmur.Partition(&kgo.Record{Key: key}, partitions) }},
		{"CRC-32", func(key []byte) int { return int(crc32.ChecksumIEEE(key) % uint32(partitions)) }},
		{"FNV-1a", func(key []byte) int {
			h := fnv.New32a()
			_, _ = h.Write(key) // a hash takes everything
			p := int32(h.Sum32()) % int32(partitions)
			return int(max(p, -p))
		}},
	}
	for _, rule := range rules {
		differs := slices.Collect(func(yield func(string) bool) {
			for key, p := range places {
				if rule.at([]byte(key)) != int(p) && !yield(key) {
					return
				}
			}
		})
		if len(differs) == 0 {
			return rule.name
		}
	}
	return "not by key"
}
