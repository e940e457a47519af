package session

import "github.com/weirmq/weir/core/protocol"

// feature is a cluster-wide feature that clients look at (KIP-584). Its level is not set anywhere: it is the
// highest whose keys are all in the table, so that no client takes a way that the table does not have. A
// client that sees transaction.version 2 and no EndTxn 5 loses its transactions.
type feature struct {
	name   string
	levels []level // from 1 on
}

// level is what the table must have for a level of a feature, beside what the levels below need.
type level []need

type need struct {
	key     protocol.Key
	version int16 // at least
}

// features are those whose levels clients act upon.
var features = []feature{
	{"group.version", []level{{ // KIP-848
		{protocol.KeyConsumerGroupHeartbeat, 0}, {protocol.KeyConsumerGroupDescribe, 0}, {protocol.KeyOffsetCommit, 9}, {protocol.KeyOffsetFetch, 9},
	}}},
	{"share.version", []level{{ // KIP-932
		{protocol.KeyShareGroupHeartbeat, 1},
		{protocol.KeyShareGroupDescribe, 1},
		{protocol.KeyShareFetch, 1},
		{protocol.KeyShareAcknowledge, 1},
		{protocol.KeyFindCoordinator, 6},
	}}},
	{"transaction.version", []level{
		{ // flexible fields in the coordinator's log
			{protocol.KeyAddPartitionsToTxn, 3}, {protocol.KeyAddOffsetsToTxn, 3}, {protocol.KeyEndTxn, 3}, {protocol.KeyTxnOffsetCommit, 3},
		},
		{ // KIP-890
			{protocol.KeyProduce, 12}, {protocol.KeyEndTxn, 5}, {protocol.KeyTxnOffsetCommit, 5}, {protocol.KeyInitProducerID, 5},
		},
	}},
}

// levelOf is the highest level of a feature that a table can keep, 0 if it is none.
func levelOf(f feature, table []API) int16 {
	n := int16(0)
	for _, l := range f.levels {
		for _, need := range l {
			if !has(table, need) {
				return n
			}
		}
		n++
	}
	return n
}

func has(table []API, n need) bool {
	for _, a := range table {
		if a.Key == n.key {
			return a.VersionMax >= n.version
		}
	}
	return false
}

// FeatureLevel is a feature and the level that is in force.
type FeatureLevel struct {
	Name  string
	Level int16
}

// Features are the features that the table can keep, by name.
func Features() []FeatureLevel { return featuresOf(apis) }

func featuresOf(table []API) []FeatureLevel {
	var out []FeatureLevel
	for _, f := range features {
		if n := levelOf(f, table); n > 0 {
			out = append(out, FeatureLevel{f.name, n})
		}
	}
	return out
}

// addFeatures tells a client what the table can keep. Versions before 4 cannot say that a feature may be off,
// which is level 0 (KAFKA-17011, KAFKA-17492): there a feature's lowest level is told as 1, which is true of
// every level in force.
func addFeatures(r *protocol.APIVersionsResponse, table []API, version int16) {
	for _, f := range featuresOf(table) {
		lowest := int16(0)
		if version < 4 {
			lowest = 1
		}
		supported := protocol.Add(&r.SupportedFeatures)
		supported.Name, supported.MinVersion, supported.MaxVersion = f.Name, lowest, f.Level
		finalized := protocol.Add(&r.FinalizedFeatures)
		finalized.Name, finalized.MinVersionLevel, finalized.MaxVersionLevel = f.Name, f.Level, f.Level
		r.FinalizedFeaturesEpoch = 0
	}
}
