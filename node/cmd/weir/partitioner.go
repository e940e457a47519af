package main

import (
	"hash/crc32"
	"hash/fnv"

	machine "github.com/weirmq/weir/core/client"
)

// partitioner finds a way to choose partitions by its name. nil is the producer's own, which is murmur2.
func partitioner(name string) (func(key []byte, partitions int32) int32, error) {
	switch name {
	case "murmur2", "":
		return nil, nil
	case "crc32":
		return func(key []byte, n int32) int32 { return int32(crc32.ChecksumIEEE(key) % uint32(n)) }, nil
	case "fnv1a":
		return func(key []byte, n int32) int32 {
			h := fnv.New32a()
			_, _ = h.Write(key) // it never fails
			p := int32(h.Sum32()) % n
			return max(p, -p)
		}, nil
	case "round-robin":
		next := int32(-1)
		return func(_ []byte, n int32) int32 {
			next = (next + 1) % n
			return next
		}, nil
	}
	return nil, usage("--partitioner is murmur2, crc32, fnv1a or round-robin, not %q", name)
}

func byMurmur2(key []byte, n int32) int32 { return int32(machine.PartitionForKey(key, int(n))) }
