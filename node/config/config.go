// Package config is a node's configuration: one struct, under Kafka's property names.
//
// In: a file in server.properties form, environment variables, settings from flags. Out: a validated
// Config, and a list of what was ignored because it means nothing here.
//
// Precedence, highest first: settings (flags), environment (WEIR_NUM_PARTITIONS for num.partitions), file,
// default.
//
// Invariants:
//
//  1. An unknown name is an error with a suggestion, never ignored. Names that Kafka has and weir has no
//     use for are listed by Ignored, so that a file written for Kafka works and nobody is misled.
//  2. Every property has a default, a range and a line of documentation (Properties).
//  3. Validate changes nothing.
//
// Deliberately absent: a second file format, and dynamic changes: a node is restarted to be reconfigured.
package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config is everything that a node can be told. properties.go says what each field means, by the name of
// the property that sets it.
type Config struct {
	NodeID     int32
	Rack       string
	DataDir    string
	Listener   string // host:port of the Kafka protocol, on TCP and QUIC alike; empty: only what node.Options adds
	Advertised string // host:port that clients are told; empty: where the listener is
	HTTP       string // host:port; empty: none
	QUIC       bool
	Pprof      bool

	TLS                      bool   // on Listener's TCP
	TLSCertificate, TLSKey   string // files
	QUICCertificate, QUICKey string // files
	Truststore               string // file

	Cluster Cluster
	Topics  Topics
	Groups  Groups
	Limits  Limits
	Storage Storage

	ShutdownGrace time.Duration
	LogLevel      string
}

// Cluster is which cluster the node is of, and how it keeps in touch. A node without Voters is a cluster by itself.
type Cluster struct {
	ID                string  // empty: drawn when the data directory is made
	Voters            []Voter // ascending by node
	Listener          string  // host:port for other nodes, on TCP and QUIC alike
	Transport         string  // by which it reaches them; "memory", which no property sets, is for nodes in one process
	HeartbeatInterval time.Duration
	SessionTimeout    time.Duration
	LagMax            time.Duration
	RebalanceInterval time.Duration
	ReplicationFactor int32 // 0: 3, or as many as there are nodes
}

// Voter is a node that keeps the metadata, and where other nodes reach it.
type Voter struct {
	Node int32
	Host string
	Port int32
}

// Alone reports whether the node is a cluster by itself.
func (c *Cluster) Alone() bool { return len(c.Voters) == 0 }

// Topics is how topics are made and kept unless they say otherwise.
type Topics struct {
	AutoCreate           bool
	Partitions           int32
	PartitionsMax        int
	SegmentBytes         int32
	SegmentAge           time.Duration
	IndexIntervalBytes   int32
	Retention            time.Duration // negative: for ever
	RetentionBytes       int64         // negative: unlimited
	RetentionCheck       time.Duration
	MessageBytesMax      int32
	TimestampType        string
	TimestampAfterMax    time.Duration
	TimestampBeforeMax   int64 // milliseconds: for ever is more than a Duration holds
	ProducerIDExpiration time.Duration
}

// Groups is how consumer groups are coordinated and their offsets kept.
type Groups struct {
	InitialRebalanceDelay    time.Duration
	SessionTimeoutMsMin      int32
	SessionTimeoutMsMax      int32
	MembersMax               int32
	MetadataBytesMax         int32
	MemoryBytesMax           int64
	OffsetsRetention         time.Duration
	OffsetsCheck             time.Duration
	OffsetsPartitions        int32
	OffsetsReplicationFactor int32 // 0: 3, or as many as there are nodes
	OffsetsSegmentBytes      int32
}

// Limits bounds what clients can make the node hold.
type Limits struct {
	RequestBytesMax          int32
	SendBufferBytes          int32 // of sockets; below 1: the system's
	QueuedBytesMax           int64
	QueuedResponseBytesMax   int64
	FetchSessionsMax         int32
	InFlightMax              int32
	ConnectionsMax           int32
	ConnectionsPerAddressMax int32
	ConnectionRateMax        int32
	ConnectionIdleMax        time.Duration
	FrameTimeout             time.Duration
	ResponseTimeout          time.Duration
	StallTimeout             time.Duration
	RecordBytesMax           int64
}

// Storage tunes the storage engine.
type Storage struct {
	JournalFileBytes int64
	JournalDirect    bool
	CheckpointBytes  int64
	InPlaceBytesMin  int64
	OpenFilesMax     int32
	MemoryLimitBytes int64
}

// Default is the configuration of a node that was told nothing.
func Default() Config {
	c := Config{}
	for _, p := range properties {
		if err := p.set(&c, p.Default); err != nil {
			panic(fmt.Sprintf("the default of %s: %v", p.Name, err))
		}
	}
	return c
}

// Validate says what does not fit together. Ranges of single properties were checked when they were set.
func (c *Config) Validate() error {
	var errs []error
	if c.DataDir == "" {
		errs = append(errs, errors.New("log.dirs is not set: say where the data is to be kept"))
	}
	for _, a := range []struct{ name, value string }{
		{"listeners", c.Listener}, {"advertised.listeners", c.Advertised}, {"http.listener", c.HTTP},
	} {
		if a.value == "" {
			continue
		}
		if err := checkAddress(a.value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", a.name, err))
		}
	}
	if host, port := c.advertised(); c.Listener+c.Advertised != "" && (host == "" || port == 0 && c.Advertised != "") {
		errs = append(errs, errors.New("advertised.listeners: clients must be told a host and a port to connect to"))
	}
	if err := checkAdvertised(c.Advertised); err != nil {
		errs = append(errs, fmt.Errorf("advertised.listeners: %w", err))
	}
	errs = append(errs, c.validateCluster()...)
	if (c.QUICCertificate == "") != (c.QUICKey == "") {
		errs = append(errs, errors.New("quic.certificate.file and quic.key.file belong together: set both or none"))
	}
	if c.Groups.SessionTimeoutMsMin > c.Groups.SessionTimeoutMsMax {
		errs = append(errs, fmt.Errorf("group.min.session.timeout.ms (%d) is larger than group.max.session.timeout.ms (%d)",
			c.Groups.SessionTimeoutMsMin, c.Groups.SessionTimeoutMsMax))
	}
	switch {
	case (c.TLSCertificate == "") != (c.TLSKey == ""):
		errs = append(errs, errors.New("ssl.certificate.file and ssl.key.file belong together: set both or none"))
	case c.TLS && c.TLSCertificate == "":
		errs = append(errs, errors.New("listeners: an SSL listener needs a certificate: set ssl.certificate.file and ssl.key.file"))
	}
	if int64(c.Topics.MessageBytesMax) > int64(c.Limits.RequestBytesMax) {
		errs = append(errs, fmt.Errorf("message.max.bytes (%d) is larger than socket.request.max.bytes (%d): such a batch could never arrive",
			c.Topics.MessageBytesMax, c.Limits.RequestBytesMax))
	}
	return errors.Join(errs...)
}

// Advertise is the host and port that clients are told, given where the listener came to listen.
func (c *Config) Advertise(bound net.Addr) (host string, port int32) {
	host, port = c.advertised()
	if h, p, err := net.SplitHostPort(bound.String()); err == nil {
		if host == "" {
			host = h
		}
		if n, err := strconv.ParseUint(p, 10, 16); err == nil && port == 0 {
			port = int32(n)
		}
	}
	return host, port
}

// advertised is the host to advertise, and the port if the configuration says it. A listener on every
// address advertises localhost: it is right on the same machine, and Validate's caller is told about it.
func (c *Config) advertised() (host string, port int32) {
	from := c.Advertised
	if from == "" {
		from = c.Listener
	}
	host, p, err := net.SplitHostPort(from)
	if err != nil {
		return "", 0
	}
	if c.Advertised == "" && c.AdvertisesGuess() {
		host = "localhost"
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return "", 0
	}
	return host, int32(n)
}

// AdvertisesGuess reports that the node listens on every address and was not told which one to advertise:
// clients on other machines will be sent to localhost.
func (c *Config) AdvertisesGuess() bool {
	host, _, err := net.SplitHostPort(c.Listener)
	if err != nil || c.Advertised != "" {
		return false
	}
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

// checkAdvertised refuses addresses that no client could connect to.
func checkAdvertised(a string) error {
	host, _, err := net.SplitHostPort(a)
	if err != nil {
		return nil // said elsewhere, or not set
	}
	ip := net.ParseIP(host)
	switch {
	case ip != nil && (ip.IsUnspecified() || ip.IsMulticast() || ip.Equal(net.IPv4bcast)):
		return fmt.Errorf("no client can connect to %s: it stands for many addresses; give the name or address by which clients reach this node, such as %s", host, example())
	case strings.ContainsAny(host, " /\\_@*?") || len(host) > 253:
		return fmt.Errorf("%q is no host name", host)
	}
	return nil
}

// example is a name of this machine, for messages.
func example() string {
	if name, err := os.Hostname(); err == nil && name != "" {
		return name
	}
	return "broker-1.example"
}

func checkAddress(a string) error {
	_, port, err := net.SplitHostPort(a)
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT", a)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > math.MaxUint16 {
		return fmt.Errorf("%q is not a port number", port)
	}
	return nil
}

// validateCluster says what does not fit together of a cluster's settings.
func (c *Config) validateCluster() (errs []error) {
	k := &c.Cluster
	if k.Alone() {
		if k.Listener != "" {
			errs = append(errs, errors.New("nodes.listener is for other nodes, and there are none: set controller.quorum.voters as well"))
		}
		return errs
	}
	if k.ID == "" {
		errs = append(errs, errors.New("cluster.id is not set: all nodes of a cluster have the same; weir cluster id draws one"))
	}
	if k.Listener == "" {
		errs = append(errs, errors.New("nodes.listener is not set: say where other nodes reach this one"))
	} else if err := checkAddress(k.Listener); err != nil {
		errs = append(errs, fmt.Errorf("nodes.listener: %w", err))
	}
	if k.SessionTimeout < 3*k.HeartbeatInterval {
		errs = append(errs, fmt.Errorf("broker.session.timeout.ms (%d) is less than three times broker.heartbeat.interval.ms (%d): a node would be taken for dead for one heartbeat that is late",
			k.SessionTimeout.Milliseconds(), k.HeartbeatInterval.Milliseconds()))
	}
	return errs
}

// parseVoters reads ID@HOST:PORT,ID@HOST:PORT...
func parseVoters(s string) ([]Voter, error) {
	var out []Voter
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		id, address, ok := strings.Cut(part, "@")
		node, err := strconv.ParseInt(id, 10, 32)
		if !ok || err != nil || node < 0 {
			return nil, fmt.Errorf("%q is not ID@HOST:PORT", part)
		}
		host, port, err := net.SplitHostPort(address)
		n, errPort := strconv.ParseUint(port, 10, 16)
		if err != nil || errPort != nil || host == "" {
			return nil, fmt.Errorf("%q is not ID@HOST:PORT", part)
		}
		if slices.ContainsFunc(out, func(v Voter) bool { return v.Node == int32(node) }) {
			return nil, fmt.Errorf("node %d is named twice", node)
		}
		out = append(out, Voter{Node: int32(node), Host: host, Port: int32(n)})
	}
	slices.SortFunc(out, func(a, b Voter) int { return int(a.Node) - int(b.Node) })
	return out, nil
}

// formatVoters is parseVoters' inverse.
func formatVoters(voters []Voter) string {
	var parts []string
	for _, v := range voters {
		parts = append(parts, fmt.Sprintf("%d@%s", v.Node, net.JoinHostPort(v.Host, strconv.Itoa(int(v.Port)))))
	}
	return strings.Join(parts, ",")
}
