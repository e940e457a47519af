package effect

// ConfigEntry is one configuration of a topic or a node: its value and where it comes from.
type ConfigEntry struct {
	Name, Value string
	Source      ConfigSource
	Type        ConfigType
	// ReadOnly marks what only a restart changes.
	ReadOnly bool
	Doc      string
	// Synonyms are all values that were set or follow, the one that counts first.
	Synonyms []ConfigSynonym
}

// ConfigSynonym is a value that a configuration has in one place.
type ConfigSynonym struct {
	Name, Value string
	Source      ConfigSource
}

// ConfigSource is where a value comes from, in Kafka's numbers (KIP-226).
type ConfigSource int8

// The sources.
const (
	FromTopic     ConfigSource = 1 // set for the topic
	FromNode      ConfigSource = 2 // set for this node while it ran
	FromEveryNode ConfigSource = 3 // set for all nodes while they ran
	FromFile      ConfigSource = 4 // given to the node at its start
	FromDefault   ConfigSource = 5
)

// ConfigType is what a value looks like, in Kafka's numbers (KIP-569).
type ConfigType int8

// The types.
const (
	ConfigBoolean ConfigType = 1
	ConfigString  ConfigType = 2
	ConfigInt     ConfigType = 3
	ConfigLong    ConfigType = 5
	ConfigList    ConfigType = 7
)

// String is Kafka's name of the type.
func (t ConfigType) String() string {
	switch t {
	case ConfigBoolean:
		return "boolean"
	case ConfigString:
		return "string"
	case ConfigInt:
		return "int"
	case ConfigLong:
		return "long"
	case ConfigList:
		return "list"
	}
	return "unknown"
}
