package explain

// Code names one thing that can go wrong. It is made of lower-case words and hyphens.
type Code string

// Codes of reaching a cluster.
const (
	Unreachable           Code = "unreachable"
	NameNotFound          Code = "name-not-found"
	AdvertisedUnreachable Code = "advertised-unreachable"
	AdvertisedLoopback    Code = "advertised-loopback"
	TLSExpected           Code = "tls-expected"
	TLSUnexpected         Code = "tls-unexpected"
	Untrusted             Code = "untrusted"
	CertificateName       Code = "certificate-name"
	CertificateExpired    Code = "certificate-expired"
	NotKafka              Code = "not-kafka"
	TimedOut              Code = "timed-out"
	ConnectionLost        Code = "connection-lost"
)

// Codes of a cluster's health, and of managing its nodes.
const (
	NodeDown        Code = "node-down"
	NodeNotFound    Code = "node-not-found"
	UnderReplicated Code = "under-replicated"
	QuorumAtRisk    Code = "quorum-at-risk"
	NoController    Code = "no-controller"
	NotDrained      Code = "not-drained"
	NodeRunning     Code = "node-running"
	TooFewNodes     Code = "too-few-nodes"
)

// Codes of what a broker refuses.
const (
	TopicNotFound       Code = "topic-not-found"
	TopicExists         Code = "topic-exists"
	PartitionNotFound   Code = "partition-not-found"
	NoLeader            Code = "no-leader"
	NotEnoughReplicas   Code = "not-enough-replicas"
	RecordTooLarge      Code = "record-too-large"
	OffsetOutOfRange    Code = "offset-out-of-range"
	InvalidConfig       Code = "invalid-config"
	GroupNotFound       Code = "group-not-found"
	GroupNotEmpty       Code = "group-not-empty"
	GroupRebalancing    Code = "group-rebalancing"
	MemberFenced        Code = "member-fenced"
	NotAuthorized       Code = "not-authorized"
	NotAuthenticated    Code = "not-authenticated"
	Unsupported         Code = "unsupported"
	Throttled           Code = "throttled"
	Storage             Code = "storage"
	Refused             Code = "refused"
	SequenceRefused     Code = "sequence-refused"
	MalformedAnswer     Code = "malformed-answer"
	CompressionUnusable Code = "compression-unusable"
)

// Codes of the command line itself.
const (
	Usage           Code = "usage"
	Failed          Code = "failed"
	Configuration   Code = "configuration"
	InputMalformed  Code = "input-malformed"
	OutputFailed    Code = "output-failed"
	TooFewRecords   Code = "too-few-records"
	NotDelivered    Code = "not-delivered"
	ProfileNotFound Code = "profile-not-found"
	ProfileInvalid  Code = "profile-invalid"
	NotConfirmed    Code = "not-confirmed"
	RecordDamaged   Code = "record-damaged"
)

// Codes of the simulator.
const (
	Violation Code = "violation"
	Vacuous   Code = "vacuous"
	Fleet     Code = "fleet"
)

// Codes of a node and its data.
const (
	AddressInUse   Code = "address-in-use"
	DataInUse      Code = "data-in-use"
	WrongData      Code = "wrong-data"
	DiskFull       Code = "disk-full"
	DiskFailed     Code = "disk-failed"
	DataDamaged    Code = "data-damaged"
	NodeDamaged    Code = "node-damaged"
	ShutdownForced Code = "shutdown-forced"
	AcceptFailed   Code = "accept-failed"
	FewDescriptors Code = "few-descriptors"
	QUICBuffers    Code = "quic-buffers"
	HTTPFailed     Code = "http-failed"
)

// Codes of what clients do to a node.
const (
	MalformedRequest     Code = "malformed-request"
	RequestTooLarge      Code = "request-too-large"
	UnknownRequest       Code = "unknown-request"
	WrongProtocolTLS     Code = "wrong-protocol-tls"
	WrongProtocolHTTP    Code = "wrong-protocol-http"
	WrongProtocolOther   Code = "wrong-protocol"
	TooManyConnections   Code = "too-many-connections"
	SlowReader           Code = "slow-reader"
	UnfinishedRequest    Code = "unfinished-request"
	IdleConnection       Code = "idle-connection"
	ClientsNeverReturned Code = "clients-never-returned"
	WrongProtocolPlain   Code = "wrong-protocol-plain"
	TLSHandshakeFailed   Code = "tls-handshake-failed"
	ConnectionRate       Code = "connection-rate"
	StalledConnection    Code = "stalled-connection"
	RefusedUnanswered    Code = "refused-unanswered"
	ConnectionDefect     Code = "connection-defect"
	WrongNode            Code = "wrong-node"
	NotReady             Code = "not-ready"
)
