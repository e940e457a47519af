package protocol

import "strconv"

// Key numbers an API of the protocol. The constants KeyProduce and on name them all.
type Key int16

// keyInfo is what the schema of one key says about the key as a whole.
type keyInfo struct {
	name         string
	versionMin   int16
	versionMax   int16 // newest stable one; below versionMin for a retired key
	codecMax     int16 // newest one that encodes, stable or not
	flexibleFrom int16
}

// noFlexible is the flexibleFrom of messages that have no flexible version.
const noFlexible = 1<<15 - 1

func (k Key) info() keyInfo {
	switch {
	case k >= 0 && int(k) < len(keyInfos):
		return keyInfos[k]
	case k >= FirstOwnKey && int(k-FirstOwnKey) < len(ownKeyInfos):
		return ownKeyInfos[k-FirstOwnKey]
	}
	return keyInfo{versionMax: -1, codecMax: -1, flexibleFrom: noFlexible}
}

// KeyPlaceCount is how many places a table of all keys has.
const KeyPlaceCount = KeyCount + OwnKeyCount

// Place is the key's place in a table of all keys, -1 if it has none: Kafka's keys are at their number, our own
// follow.
func (k Key) Place() int {
	switch {
	case k >= 0 && k < KeyCount:
		return int(k)
	case k >= FirstOwnKey && k < FirstOwnKey+OwnKeyCount:
		return KeyCount + int(k-FirstOwnKey)
	}
	return -1
}

// KeyAt is the key at a place.
func KeyAt(place int) Key {
	if place < KeyCount {
		return Key(place)
	}
	return FirstOwnKey + Key(place-KeyCount)
}

// String is Kafka's name of the key, or "Key(n)" if it has none.
func (k Key) String() string {
	if name := k.info().name; name != "" {
		return name
	}
	return "Key(" + strconv.Itoa(int(k)) + ")"
}

// MinVersion is the oldest version that we encode and decode. It is 0, above MaxVersion, for keys that
// are unknown or retired.
func MinVersion(k Key) int16 { return k.info().versionMin }

// MaxVersion is the newest stable version that we encode and decode, or -1 for keys that are unknown or
// retired.
func MaxVersion(k Key) int16 { return k.info().versionMax }

// MaxUnstableVersion is MaxVersion, or above it if newer versions exist that Kafka still marks unstable:
// they encode and decode, and must not be advertised.
func MaxUnstableVersion(k Key) int16 { return k.info().codecMax }

// FlexibleFrom is the first version with compact lengths and tagged fields (KIP-482); no version reaches it
// for keys without one.
func FlexibleFrom(k Key) int16 { return k.info().flexibleFrom }
