package main

import (
	"fmt"
	"slices"
	"strings"
)

// feature is what a client may lack, for reasons of its own. The table in docs/CLIENTS.md lists what each lacks.
type feature string

const (
	headerNull   feature = "writing a header whose value is null"
	headerNoName feature = "a header with an empty name"
	headerTwice  feature = "two headers of one name"
	headerBytes  feature = "writing a header with a zero byte"
	nullAndEmpty feature = "writing null and an empty value in one record"
	bothNull     feature = "writing a record with neither key nor value"
	writeTime    feature = "setting a record's time"
	readNullKey  feature = "telling a null key from an empty one"

	readNullValue   feature = "telling a null value from an empty one"
	readNullHeader  feature = "telling a null header value from an empty one"
	readHeaderBytes feature = "reading a header with a zero byte"
	readHeaderOrder feature = "the order of headers"

	codecGzip   feature = "gzip"
	codecSnappy feature = "snappy"
	codecLz4    feature = "lz4"
	codecZstd   feature = "zstd"

	idempotent       feature = "idempotent producing"
	makeTopics       feature = "making and deleting topics"
	describeConfigs  feature = "describing a topic's properties"
	alterConfigs     feature = "altering a topic's properties"
	refusedConfig    feature = "telling that a property was refused"
	createPartitions feature = "adding partitions"
	deleteRecords    feature = "deleting records"
	describeCluster  feature = "describing the cluster"
	listGroups       feature = "listing groups"
	describeGroups   feature = "describing groups"
	deleteGroups     feature = "deleting groups"
	committedOffsets feature = "reading a group's offsets"
	seekByTime       feature = "finding offsets by time"
	sayCommitted     feature = "saying what it committed"
)

// client is one of those that are tried.
type client struct {
	name string
	// lacks is what it has no words for. A client that has them and fails is not excused here.
	lacks []feature
	// member is how a member of a group is run instead of by the client's program.
	member func(brokers, id, group, topic string) (program string, args []string)
}

func (c *client) cannot(f feature) bool { return slices.Contains(c.lacks, f) }

// clients is all of them, in the order of the table.
var clients = []client{
	{
		name: "kcat",
		lacks: []feature{
			headerNoName, headerBytes, readHeaderBytes, nullAndEmpty, writeTime, makeTopics, describeConfigs, alterConfigs, createPartitions, deleteRecords,
			listGroups, describeGroups, deleteGroups, committedOffsets, sayCommitted,
		},
		member: kcatMember,
	},
	{name: "confluent-kafka-python"},
	{name: "kafka-python", lacks: []feature{headerNull, bothNull}},
	{name: "aiokafka", lacks: []feature{bothNull, deleteGroups}},
	{name: "kafkajs", lacks: []feature{headerNull}},
	{name: "sarama"},
	{name: "kafka-go", lacks: []feature{readNullKey, readNullValue, readNullHeader, idempotent, deleteRecords}},
	{name: "franz-go"},
	{name: "java-3"},
	{name: "java-4"},
	{name: "rust-rdkafka", lacks: []feature{describeCluster, refusedConfig}},
}

// selectClients finds clients by their names; none means all.
func selectClients(names string) ([]client, error) {
	fields := strings.FieldsFunc(names, func(r rune) bool { return r == ' ' || r == ',' })
	if len(fields) == 0 {
		return clients, nil
	}
	var out []client
	for _, c := range clients {
		if slices.Contains(fields, c.name) {
			out = append(out, c)
		}
	}
	for _, name := range fields {
		if !slices.ContainsFunc(clients, func(c client) bool { return c.name == name }) {
			return nil, fmt.Errorf("no client is called %q; there are %s", name, strings.Join(clientNames(), ", "))
		}
	}
	return out, nil
}

func clientNames() []string {
	var names []string
	for _, c := range clients {
		names = append(names, c.name)
	}
	return names
}
