package config

import (
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Property is one setting of a node.
type Property struct {
	Name    string   // Kafka's name where Kafka has it
	Aliases []string // other names of the same setting
	Type    string   // for people: integer, boolean, milliseconds, ...
	Default string
	Range   string // for people: of numbers
	Doc     string // what it does and when to change it
	set     func(*Config, string) error
	get     func(*Config) string
	scales  map[string]func(*Config, string) error // names that set it in another unit
}

// Value is what the property is set to in a configuration.
func (p *Property) Value(c *Config) string { return p.get(c) }

// Spellings are the other names under which the property is taken, in its own unit or in another.
func (p *Property) Spellings() []string {
	return slices.Sorted(slices.Values(slices.AppendSeq(slices.Clone(p.Aliases), maps.Keys(p.scales))))
}

// Spelt is the name of the property that a name sets, be it its own or another spelling; "" if there is none.
func Spelt(name string) string {
	for i := range properties {
		if p := &properties[i]; p.Name == name || slices.Contains(p.Spellings(), name) {
			return p.Name
		}
	}
	return ""
}

// Properties lists every property, by name.
func Properties() []Property { return slices.Clone(properties) }

var properties = []Property{
	text("advertised.listeners", "", "HOST:PORT that clients are told to connect to. Set it when clients reach this node by another name than it listens on: behind NAT, in a container, or when it listens on every address.",
		func(c *Config) *string { return &c.Advertised }).address(),
	boolean("auto.create.topics.enable", "true", "Create a topic when a client that allows it asks for it. Off avoids topics born of a misspelt name.",
		func(c *Config) *bool { return &c.Topics.AutoCreate }),
	millis("broker.heartbeat.interval.ms", "100", "How often a node of a cluster says that it lives.",
		10, math.MaxInt32, func(c *Config) *time.Duration { return &c.Cluster.HeartbeatInterval }),
	text("broker.rack", "", "Where this node stands: a rack, a zone. Replicas are spread over racks, and consumers that say where they are (client.rack) read from a replica there.",
		func(c *Config) *string { return &c.Rack }),
	millis("broker.session.timeout.ms", "500", "A node of a cluster that has not been heard for so long is taken for dead: what it led is led by others. Shorter finds the dead sooner, longer bears with pauses.",
		50, math.MaxInt32, func(c *Config) *time.Duration { return &c.Cluster.SessionTimeout }),
	number("checkpoint.bytes", "134217728", "After so many bytes of appends, or up to three times as many where they went to thousands of partitions, the segments are synced and the journal is recycled. Less means faster recovery, more means fewer syncs.",
		1<<20, 1<<40, func(c *Config) *int64 { return &c.Storage.CheckpointBytes }),
	text("cluster.id", "", "Which cluster this node is of: all of its nodes have the same. weir cluster id draws one. Empty, for a node that is a cluster by itself: drawn when its data directory is made.",
		func(c *Config) *string { return &c.Cluster.ID }),
	millis("connections.max.idle.ms", "600000", "A connection on which nothing happens for so long is closed.",
		1000, math.MaxInt32, func(c *Config) *time.Duration { return &c.Limits.ConnectionIdleMax }),
	voters("controller.quorum.voters", "", "ID@HOST:PORT,... of the nodes that keep the cluster's metadata, at their nodes.listener: one, three or five, the same on every node. Empty: this node is a cluster by itself.",
		func(c *Config) *[]Voter { return &c.Cluster.Voters }),
	number("default.replication.factor", "0", "On how many nodes each partition of a topic is that is created without saying so. 0: three, or as many as there are.",
		0, math.MaxInt16, func(c *Config) *int32 { return &c.Cluster.ReplicationFactor }),
	millis("group.initial.rebalance.delay.ms", "3000", "How long an empty consumer group waits for more members once the first has joined. Short starts faster, long spares rounds when many start together. weir dev sets 0.",
		0, math.MaxInt32, func(c *Config) *time.Duration { return &c.Groups.InitialRebalanceDelay }),
	number("group.max.session.timeout.ms", "1800000", "The longest session timeout that a member may ask for. Long ones find crashed members late.",
		1, math.MaxInt32, func(c *Config) *int32 { return &c.Groups.SessionTimeoutMsMax }),
	number("group.max.size", "2147483647", "Members that a consumer group may have. More are refused.",
		1, math.MaxInt32, func(c *Config) *int32 { return &c.Groups.MembersMax }),
	number("group.memory.bytes.max", "1073741824", "About what all consumer groups may take in memory: their members and committed offsets. More are refused until it is less.",
		1<<20, 1<<50, func(c *Config) *int64 { return &c.Groups.MemoryBytesMax }),
	number("group.min.session.timeout.ms", "6000", "The shortest session timeout that a member may ask for. Short ones mean more heartbeats.",
		1, math.MaxInt32, func(c *Config) *int32 { return &c.Groups.SessionTimeoutMsMin }),
	text("http.listener", "127.0.0.1:9644", "HOST:PORT of /healthz, /readyz and /metrics. Empty turns it off. It has no authentication: keep it on a private address.",
		func(c *Config) *string { return &c.HTTP }).address(),
	number("in.place.bytes.min", "524288", "Appends of one partition that reach this size in one turn are synced in their segment rather than written to the journal as well. 0 means never.",
		0, 1<<30, func(c *Config) *int64 { return &c.Storage.InPlaceBytesMin }),
	boolean("journal.direct.io", "true", "Write the journal past the page cache, where the file system can: a sync has less to do then.",
		func(c *Config) *bool { return &c.Storage.JournalDirect }),
	number("journal.file.bytes", "67108864", "Size of one file of the write-ahead journal.",
		1<<20, 1<<32, func(c *Config) *int64 { return &c.Storage.JournalFileBytes }),
	millis("leader.rebalance.interval.ms", "10000", "How often the controller moves leaders back to the nodes that are preferred for them, where those are in sync.",
		100, math.MaxInt32, func(c *Config) *time.Duration { return &c.Cluster.RebalanceInterval }),
	text("listeners", "127.0.0.1:9092", "HOST:PORT of the Kafka protocol, on TCP and, at the same port number, on QUIC. Kafka's form PLAINTEXT://HOST:PORT is taken as well; SSL://HOST:PORT serves TLS on TCP, with ssl.certificate.file and ssl.key.file.",
		func(c *Config) *string { return &c.Listener }).address().secured(),
	text("log.dirs", "", "The data directory. One process at a time uses it.",
		func(c *Config) *string { return &c.DataDir }).alias("log.dir").single(),
	number("log.index.interval.bytes", "4096", "An entry goes into a segment's index after so many bytes.",
		1, 1<<30, func(c *Config) *int32 { return &c.Topics.IndexIntervalBytes }),
	text("log.level", "info", "debug, info, warn or error: how much the log says.",
		func(c *Config) *string { return &c.LogLevel }).oneOf("debug", "info", "warn", "error"),
	millis("log.message.timestamp.after.max.ms", "3600000", "A record whose time lies further ahead of this node's clock is refused.",
		0, math.MaxInt64, func(c *Config) *time.Duration { return &c.Topics.TimestampAfterMax }),
	number("log.message.timestamp.before.max.ms", "9223372036854775807", "A record whose time lies further behind this node's clock is refused.",
		0, math.MaxInt64, func(c *Config) *int64 { return &c.Topics.TimestampBeforeMax }),
	text("log.message.timestamp.type", "CreateTime", "CreateTime keeps the producer's times, LogAppendTime stamps the time of arrival.",
		func(c *Config) *string { return &c.Topics.TimestampType }).oneOf("CreateTime", "LogAppendTime"),
	number("log.retention.bytes", "-1", "A partition that grows past this loses its oldest segments. -1 is unlimited.",
		-1, math.MaxInt64, func(c *Config) *int64 { return &c.Topics.RetentionBytes }),
	millis("log.retention.check.interval.ms", "300000", "How often old segments are looked for.",
		1, math.MaxInt32, func(c *Config) *time.Duration { return &c.Topics.RetentionCheck }),
	millis("log.retention.ms", "604800000", "A segment whose newest record is older than this is deleted. -1 keeps for ever.",
		-1, math.MaxInt64, func(c *Config) *time.Duration { return &c.Topics.Retention }).
		scaled("log.retention.hours", time.Hour).scaled("log.retention.minutes", time.Minute),
	millis("log.roll.ms", "604800000", "A segment is closed when it is this old, so that retention can delete it.",
		1, math.MaxInt64, func(c *Config) *time.Duration { return &c.Topics.SegmentAge }).scaled("log.roll.hours", time.Hour),
	number("log.segment.bytes", "1073741824", "A segment is closed when it reaches this size.",
		1<<10, math.MaxInt32, func(c *Config) *int32 { return &c.Topics.SegmentBytes }),
	number("max.connection.creation.rate", "2000", "Connections accepted in a second; those that come faster wait. It keeps clients that reconnect in a loop from taking the node's time.",
		1, 1_000_000, func(c *Config) *int32 { return &c.Limits.ConnectionRateMax }),
	number("max.connections", "10000", "Further connections are closed at once. It is lowered if the process may not open so many files.",
		1, math.MaxInt32, func(c *Config) *int32 { return &c.Limits.ConnectionsMax }),
	number("max.connections.per.ip", "2147483647", "Further connections from the same address are closed at once.",
		1, math.MaxInt32, func(c *Config) *int32 { return &c.Limits.ConnectionsPerAddressMax }),
	number("max.in.flight.requests.per.connection", "64", "A connection with so many unanswered requests is not read from until one is answered.",
		1, 1<<16, func(c *Config) *int32 { return &c.Limits.InFlightMax }),
	number("max.incremental.fetch.session.cache.slots", "1000", "Fetch sessions that are kept, so that a consumer of many partitions need not name all of them in every fetch. 0 keeps none.",
		0, 1_000_000, func(c *Config) *int32 { return &c.Limits.FetchSessionsMax }),
	number("memory.limit.bytes", "0", "A soft limit for the Go runtime's memory; near it the garbage collector works harder. 0 leaves it to GOMEMLIMIT.",
		0, 1<<50, func(c *Config) *int64 { return &c.Storage.MemoryLimitBytes }),
	number("message.max.bytes", "1048588", "The largest record batch a topic takes, as it arrives, compressed or not.",
		1, 100<<20, func(c *Config) *int32 { return &c.Topics.MessageBytesMax }),
	number("node.id", "1", "This node's id, unique in its cluster and kept for life.",
		0, math.MaxInt32, func(c *Config) *int32 { return &c.NodeID }).alias("broker.id"),
	text("nodes.listener", "", "HOST:PORT at which other nodes of the cluster reach this one, on TCP and on QUIC. Clients have no business there: keep it on a network of its own.",
		func(c *Config) *string { return &c.Cluster.Listener }).address(),
	text("nodes.transport", "quic", "quic, tcp or tls: how this node reaches others. TCP is plain and costs least; QUIC and TLS encrypt. Certificates are verified against ssl.truststore.location if that is set.",
		func(c *Config) *string { return &c.Cluster.Transport }).oneOf("quic", "tcp", "tls"),
	number("num.partitions", "1", "Partitions of a topic that is created without saying how many.",
		1, 100_000, func(c *Config) *int32 { return &c.Topics.Partitions }),
	number("offset.metadata.max.bytes", "4096", "What a commit may say beside its offset.",
		0, math.MaxInt16, func(c *Config) *int32 { return &c.Groups.MetadataBytesMax }),
	millis("offsets.retention.check.interval.ms", "600000", "How often expired offsets are looked for.",
		1, math.MaxInt32, func(c *Config) *time.Duration { return &c.Groups.OffsetsCheck }),
	minutes("offsets.retention.minutes", "10080", "Committed offsets of a group without members are forgotten after so long.",
		1, math.MaxInt32, func(c *Config) *time.Duration { return &c.Groups.OffsetsRetention }),
	number("offsets.topic.num.partitions", "50", "Partitions of the topic in which groups keep their state. It counts when the topic is created, for the first group, and cannot change later.",
		1, 10_000, func(c *Config) *int32 { return &c.Groups.OffsetsPartitions }),
	number("offsets.topic.replication.factor", "0", "On how many nodes each partition of that topic is. It counts when the topic is created, which waits until so many nodes are there. 0: three, or as many as there are.",
		0, math.MaxInt16, func(c *Config) *int32 { return &c.Groups.OffsetsReplicationFactor }),
	number("offsets.topic.segment.bytes", "8388608", "Segment size of that topic. Its partitions are rewritten to stay short, so small segments free their space soon.",
		1<<20, math.MaxInt32, func(c *Config) *int32 { return &c.Groups.OffsetsSegmentBytes }),
	number("open.files.max", "0", "Segment files held open at a time; others are opened when needed. 0: up to 16384, as far as the process's limit leaves room beside max.connections, and 1024 at least.",
		0, 1<<20, func(c *Config) *int32 { return &c.Storage.OpenFilesMax }),
	number("partitions.max", "100000", "Partitions of all topics together. A request for more is refused.",
		1, 10_000_000, func(c *Config) *int { return &c.Topics.PartitionsMax }),
	boolean("pprof.enable", "false", "Serve Go's profiles under /debug/pprof on the http listener.",
		func(c *Config) *bool { return &c.Pprof }),
	millis("producer.id.expiration.ms", "86400000", "An idempotent producer that has been silent for so long is forgotten.",
		1, math.MaxInt64, func(c *Config) *time.Duration { return &c.Topics.ProducerIDExpiration }),
	number("queued.max.request.bytes", "268435456", "Requests that were read and not answered yet hold at most so many bytes together; connections wait to be read when it is reached.",
		1<<20, 1<<40, func(c *Config) *int64 { return &c.Limits.QueuedBytesMax }),
	number("queued.max.response.bytes", "268435456", "What requests that were read are decoded to, and responses that were not sent, hold at most so many bytes together; connections wait to be read when it is reached. Records that are sent from files count for nothing.",
		1<<20, 1<<40, func(c *Config) *int64 { return &c.Limits.QueuedResponseBytesMax }),
	millis("queued.stall.timeout.ms", "5000", "When requests have waited for memory for so long, connections that hold some and on which nothing has moved for as long are closed.",
		100, math.MaxInt32, func(c *Config) *time.Duration { return &c.Limits.StallTimeout }),
	text("quic.certificate.file", "", "PEM file with the certificate, and its chain, that QUIC shows. Empty: ssl.certificate.file if that is set; otherwise the node makes one for development, in the data directory under tls, and clients must trust that file.",
		func(c *Config) *string { return &c.QUICCertificate }),
	boolean("quic.enable", "true", "Serve the Kafka protocol over QUIC, on the UDP port of the same number.",
		func(c *Config) *bool { return &c.QUIC }),
	text("quic.key.file", "", "PEM file with the private key of quic.certificate.file.",
		func(c *Config) *string { return &c.QUICKey }),
	number("record.bytes.max", "134217728", "Batches of one request that decompress to more than this, together, are refused.",
		1<<10, 1<<32, func(c *Config) *int64 { return &c.Limits.RecordBytesMax }),
	millis("replica.lag.time.max.ms", "10000", "A follower that has been behind its leader for so long is not in sync any more. One that does not even ask for what there is, because it hangs or its leader does not hear it, is not after 2 s.",
		100, math.MaxInt32, func(c *Config) *time.Duration { return &c.Cluster.LagMax }),
	millis("request.read.timeout.ms", "30000", "A request that has begun to arrive must be complete after so long.",
		100, math.MaxInt32, func(c *Config) *time.Duration { return &c.Limits.FrameTimeout }),
	millis("response.write.timeout.ms", "60000", "A client that does not take a MiB of its responses, or what is left of them, for so long is disconnected.",
		100, math.MaxInt32, func(c *Config) *time.Duration { return &c.Limits.ResponseTimeout }),
	millis("shutdown.grace.ms", "5000", "How long a clean shutdown waits for requests that are being answered.",
		0, math.MaxInt32, func(c *Config) *time.Duration { return &c.ShutdownGrace }),
	number("socket.request.max.bytes", "104857600", "The largest request of a client. A larger one closes its connection.",
		1<<10, math.MaxInt32, func(c *Config) *int32 { return &c.Limits.RequestBytesMax }),
	number("socket.send.buffer.bytes", "204800", "The send buffer of a TCP connection. Small, it keeps what consumers are sent in the processor's cache; but a connection sends no more than that for each round trip: raise it where consumers are far away. -1 leaves it to the system.",
		-1, 1<<30, func(c *Config) *int32 { return &c.Limits.SendBufferBytes }),
	text("ssl.certificate.file", "", "PEM file with the certificate, and its chain, that a listener SSL://HOST:PORT shows.",
		func(c *Config) *string { return &c.TLSCertificate }),
	text("ssl.key.file", "", "PEM file with the private key of ssl.certificate.file.",
		func(c *Config) *string { return &c.TLSKey }),
	text("ssl.truststore.location", "", "PEM file with the certificates of the authorities that other nodes' certificates are from. Empty: other nodes show the certificate that this node shows.",
		func(c *Config) *string { return &c.Truststore }),
}

// irrelevant are names that Kafka's files have and that have nothing to act upon here.
var irrelevant = []string{
	"background.threads", "controlled.shutdown.enable", "controlled.shutdown.max.retries", "controller.listener.names",
	"controller.quorum.bootstrap.servers",
	"inter.broker.listener.name", "listener.security.protocol.map",
	"log.cleaner.enable", "log.cleaner.threads", "log.flush.interval.messages", "log.flush.interval.ms", "num.io.threads",
	"num.network.threads", "num.recovery.threads.per.data.dir", "num.replica.fetchers",
	"process.roles", "queued.max.requests", "share.coordinator.state.topic.min.isr",
	"share.coordinator.state.topic.replication.factor", "socket.receive.buffer.bytes",
	"transaction.state.log.min.isr", "transaction.state.log.replication.factor", "zookeeper.connect",
	"zookeeper.connection.timeout.ms",
}

func (p Property) alias(names ...string) Property {
	p.Aliases = append(p.Aliases, names...)
	return p
}

func (p Property) oneOf(values ...string) Property {
	set := p.set
	p.Type = strings.Join(values, " | ")
	p.set = func(c *Config, v string) error {
		if !slices.Contains(values, v) {
			return fmt.Errorf("it is one of %s, not %q", strings.Join(values, ", "), v)
		}
		return set(c, v)
	}
	return p
}

// address takes HOST:PORT, and Kafka's NAME://HOST:PORT where the name promises what we do.
func (p Property) address() Property {
	set := p.set
	p.Type = "HOST:PORT"
	p.set = func(c *Config, v string) error {
		if strings.Contains(v, ",") {
			return fmt.Errorf("one address is served yet, not the list %q", v)
		}
		if name, rest, found := strings.Cut(v, "://"); found {
			if !strings.EqualFold(name, "PLAINTEXT") && !strings.EqualFold(name, "SSL") {
				return fmt.Errorf("only PLAINTEXT and SSL listeners are served yet, not %s", name)
			}
			v = rest
		}
		if v != "" {
			if _, _, err := net.SplitHostPort(v); err != nil {
				return fmt.Errorf("%q is not HOST:PORT", v)
			}
		}
		return set(c, v)
	}
	return p
}

// secured turns TLS on if the address is given as SSL://HOST:PORT.
func (p Property) secured() Property {
	set := p.set
	p.set = func(c *Config, v string) error {
		name, _, found := strings.Cut(v, "://")
		c.TLS = found && strings.EqualFold(name, "SSL")
		return set(c, v)
	}
	get := p.get
	p.get = func(c *Config) string {
		if c.TLS {
			return "SSL://" + get(c)
		}
		return get(c)
	}
	return p
}

// single refuses a comma-separated list.
func (p Property) single() Property {
	set := p.set
	p.Type = "directory"
	p.set = func(c *Config, v string) error {
		if strings.Contains(v, ",") {
			return fmt.Errorf("one data directory is used yet, not the list %q", v)
		}
		return set(c, v)
	}
	return p
}

// scaled adds a name that sets the same duration in another unit.
func (p Property) scaled(name string, unit time.Duration) Property {
	set := p.set
	inUnits := func(c *Config, v string) error {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < -1 || n > math.MaxInt64/int64(time.Hour) {
			return fmt.Errorf("it is a whole number, not %q", v)
		}
		if n >= 0 {
			n *= int64(unit / time.Millisecond)
		}
		return set(c, strconv.FormatInt(n, 10))
	}
	if p.scales == nil {
		p.scales = map[string]func(*Config, string) error{}
	}
	p.scales[name] = inUnits
	return p
}

func text(name, value, doc string, field func(*Config) *string) Property {
	return Property{
		Name: name, Type: "text", Default: value, Doc: doc,
		set: func(c *Config, v string) error { *field(c) = v; return nil },
		get: func(c *Config) string { return *field(c) },
	}
}

func boolean(name, value, doc string, field func(*Config) *bool) Property {
	return Property{
		Name: name, Type: "true | false", Default: value, Doc: doc,
		set: func(c *Config, v string) error {
			switch strings.ToLower(v) {
			case "true":
				*field(c) = true
			case "false":
				*field(c) = false
			default:
				return fmt.Errorf("it is true or false, not %q", v)
			}
			return nil
		},
		get: func(c *Config) string { return strconv.FormatBool(*field(c)) },
	}
}

func number[T int | int32 | int64](name, value, doc string, from, last int64, field func(*Config) *T) Property {
	return Property{
		Name: name, Type: "integer", Default: value, Range: fmt.Sprintf("%d to %d", from, last), Doc: doc,
		set: func(c *Config, v string) error {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil || n < from || n > last {
				return fmt.Errorf("it is a whole number from %d to %d, not %q", from, last, v)
			}
			*field(c) = T(n)
			return nil
		},
		get: func(c *Config) string { return strconv.FormatInt(int64(*field(c)), 10) },
	}
}

func minutes(name, value, doc string, from, last int64, field func(*Config) *time.Duration) Property {
	return Property{
		Name: name, Type: "minutes", Default: value, Range: fmt.Sprintf("%d to %d", from, last), Doc: doc,
		set: func(c *Config, v string) error {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil || n < from || n > last {
				return fmt.Errorf("it is a whole number of minutes from %d to %d, not %q", from, last, v)
			}
			*field(c) = time.Duration(n) * time.Minute
			return nil
		},
		get: func(c *Config) string { return strconv.FormatInt(int64(*field(c)/time.Minute), 10) },
	}
}

// msMax is the largest number of milliseconds that a time.Duration holds; more is as good as for ever.
const msMax = int64(math.MaxInt64 / time.Millisecond)

func voters(name, value, doc string, field func(*Config) *[]Voter) Property {
	return Property{
		Name: name, Type: "list of ID@HOST:PORT", Default: value, Doc: doc,
		set: func(c *Config, v string) error {
			all, err := parseVoters(v)
			if err != nil {
				return err
			}
			*field(c) = all
			return nil
		},
		get: func(c *Config) string { return formatVoters(*field(c)) },
	}
}

func millis(name, value, doc string, from, last int64, field func(*Config) *time.Duration) Property {
	return Property{
		Name: name, Type: "milliseconds", Default: value, Range: fmt.Sprintf("%d to %d", from, last), Doc: doc,
		set: func(c *Config, v string) error {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil || n < from || n > last {
				return fmt.Errorf("it is a whole number of milliseconds from %d to %d, not %q", from, last, v)
			}
			*field(c) = time.Duration(min(n, msMax)) * time.Millisecond
			return nil
		},
		get: func(c *Config) string { return strconv.FormatInt(field(c).Milliseconds(), 10) },
	}
}
