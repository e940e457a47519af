// Package metrics counts what a node does and shows it to Prometheus.
//
// In: counters and histograms that the node's goroutines add to, and a function that asks the running
// machines how much they hold. Out: a prometheus.Collector.
//
// Invariants:
//
//  1. Adding costs one atomic addition and allocates nothing; all else is done when somebody scrapes.
//  2. Nothing here is called from inside a step of the core: the node counts what goes in and comes out.
//  3. Names follow Kafka's where Kafka has the thing, as its JMX exporter spells them, so that dashboards
//     translate; the others begin with weir_ and carry their unit. The help text says what to do when the
//     value moves.
//
// Deliberately absent: labels by topic, client or partition, which would make the cost of a scrape grow
// with what users do.
package metrics

import (
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmq/weir/core/effect"
	"github.com/weirmq/weir/core/protocol"
)

// Counter only grows.
type Counter = atomic.Int64

// codesMax bounds Kafka's error codes, which begin at -1.
const codesMax = 160

// Metrics is what one node counts. The zero value counts; New adds what a scrape needs.
type Metrics struct {
	Requests        [protocol.KeyPlaceCount]Counter   // by Key.Place
	RequestSeconds  [protocol.KeyPlaceCount]Histogram // likewise
	ProduceErrors   [codesMax]Counter                 // by code + 1
	FetchErrors     [codesMax]Counter                 // by code + 1
	BytesIn         Counter                           // of record batches
	BytesOut        Counter
	BatchesIn       Counter
	NetworkIn       Counter // of whole frames
	NetworkOut      Counter
	Connections     atomic.Int64
	Accepted        Counter
	Refused         Counter // because there were too many
	Delayed         Counter // connections accepted late, for the rate's sake
	AcceptFailed    Counter
	IdleClosed      Counter
	Stalled         Counter                         // connections closed because they held memory that others waited for
	Misadvertised   Counter                         // hosts whose clients do not reach the advertised address
	Panics          Counter                         // connections closed because the node failed on them
	Malformed       Counter                         // connections closed because of what the client sent
	Calls           [effect.CallRefused + 1]Counter // of other nodes, by what became of them
	Links           atomic.Int64                    // lanes to other nodes that are in use
	Events          Counter
	LoopTurnEvents  Histogram
	SyncSeconds     Histogram
	SyncAppends     Histogram
	Syncs           Counter
	CheckpointTimes Histogram
	QueuedBytes     atomic.Int64 // request bytes that are held
	QueueWaits      Counter
	ProduceTurns    Counter      // produce requests that waited for their connection's turn
	ResponseBytes   atomic.Int64 // bytes of decoded requests and of responses that are held
	ResponseWaits   Counter
	Notes           [64]Counter
	Marks           [64]Counter

	holdings func() Holdings
	version  string
}

// Holdings is what the machines hold at the moment.
type Holdings struct {
	Topics, Partitions, OfflinePartitions int64
	ParkedFetches                         int64
	Groups, GroupMemoryBytes              int64
	LoopQueue, StorageQueue               int64
	JournalBytes, SinceCheckpointBytes    int64
	Segments, OpenFiles                   int64
	StagedAppends, StagedBytes            int64
}

// New makes a node's metrics. holdings is called once per scrape.
func New(version string, holdings func() Holdings) *Metrics {
	return &Metrics{version: version, holdings: holdings}
}

// CountProduceError counts one partition's refusal in a produce response.
func (m *Metrics) CountProduceError(code int16) { countCode(&m.ProduceErrors, code) }

// CountFetchError counts one partition's refusal in a fetch response.
func (m *Metrics) CountFetchError(code int16) { countCode(&m.FetchErrors, code) }

func countCode(to *[codesMax]Counter, code int16) {
	if i := int(code) + 1; i >= 0 && i < codesMax {
		to[i].Add(1)
	}
}

var (
	requests = desc("kafka_network_requestmetrics_requests_total",
		"Requests received. A sudden rise of Metadata or ApiVersions means clients that reconnect in a loop: look at their logs.", "request")
	requestSeconds = desc("weir_request_duration_seconds",
		"From a request's last byte read to its response's last byte written. Fetch includes waiting for data. For Produce compare with weir_journal_sync_seconds: the rest is queueing.", "request")
	requestErrors = desc("kafka_network_requestmetrics_errors_total",
		"Partitions refused in responses, by Kafka's error code. 6 and 3 during topic changes are harmless; 56 means the disk: see the log.", "request", "error")
	bytesIn = desc("kafka_server_brokertopicmetrics_bytesin_total",
		"Bytes of record batches received from producers, as compressed by them.")
	bytesOut = desc("kafka_server_brokertopicmetrics_bytesout_total",
		"Bytes of record batches sent to consumers.")
	batchesIn = desc("weir_batches_in_total",
		"Record batches received. BytesIn divided by this is the batch size: under a few KiB, raise linger or batch.size at the producers.")
	networkIn = desc("weir_network_in_bytes_total", "Bytes of whole requests received.")
	network   = desc("weir_network_out_bytes_total", "Bytes of whole responses sent.")
	conns     = desc("kafka_server_socketservermetrics_connection_count",
		"Connections open now. Near max.connections, further clients are refused.")
	accepted = desc("weir_connections_accepted_total", "Connections accepted. A steady rise without more clients means they reconnect in a loop.")
	refused  = desc("weir_connections_refused_total", "Connections closed because max.connections were open. Raise the limit or find who leaks connections.")
	delayed  = desc("weir_connections_delayed_total", "Connections accepted late because of max.connection.creation.rate. Find who reconnects in a loop.")
	acceptF  = desc("weir_connections_accept_failed_total", "Connections that the operating system would not give us. The log says why; mostly there are no file descriptors left.")
	idled    = desc("weir_connections_idle_closed_total", "Connections closed after connections.max.idle.ms.")
	stalled  = desc("weir_connections_stalled_total", "Connections closed because they held memory without moving while others waited for it. The log says whose.")
	lost     = desc("weir_clients_misadvertised_total", "Hosts whose clients ask where to connect and never arrive there: advertised.listeners is wrong for them. The log says whose.")
	panics   = desc("weir_connection_panics_total", "Connections closed because the node failed on what they sent. Above zero there is a defect: report the log's line.")
	malform  = desc("weir_connections_malformed_total", "Connections closed because of what the client sent: not Kafka's protocol, or a version that is not served. The log says who.")
	calls    = desc("weir_node_calls_total", "What this node asked of other nodes, by what became of it. A steady rise of anything but ok means nodes that do not reach each other; refused means that somebody else is at a node's address: see the log.", "outcome")
	links    = desc("weir_node_links", "Connections to other nodes that are in use: one for each lane.")
	events   = desc("weir_loop_events_total", "Events that the core has handled.")
	turns    = desc("weir_loop_turn_events", "Events per turn of the loop. It grows under load, and costs per event shrink.")
	syncs    = desc("weir_journal_sync_seconds", "Time of one sync to stable storage. Every produce waits for one to two of them: if it rises, the disk is slow or shared.")
	groups   = desc("weir_journal_sync_appends", "Batches made durable by one sync. It grows under load by itself; there is nothing to tune.")
	ckpts    = desc("weir_checkpoint_seconds", "Time of syncing all segments at a checkpoint.")
	queued   = desc("weir_queued_request_bytes", "Bytes of requests read and not answered. At queued.max.request.bytes connections wait to be read.")
	waits    = desc("weir_queued_request_waits_total", "How often a connection had to wait because queued.max.request.bytes were held. If it rises steadily, the disk is slower than the producers.")
	respond  = desc("weir_queued_response_bytes", "Bytes of decoded requests and of responses that were not sent. At queued.max.response.bytes connections wait to be read.")
	respondW = desc("weir_queued_response_waits_total", "How often a connection had to wait because queued.max.response.bytes were held.")
	turnsP   = desc("weir_produce_turns_total", "Produce requests that waited because enough was on its way to the disk, connections taking turns. If it rises steadily, the disk is slower than the producers.")
	notes    = desc("weir_notes_total", "Things that happened, by kind. Rate of disk_full, damage_found or partition_offline above zero needs an operator.", "note")
	marks    = desc("weir_rare_paths_total", "How often the core took one of its rare paths.", "path")
	topics   = desc("kafka_controller_kafkacontroller_globaltopiccount", "Topics.")
	parts    = desc("kafka_server_replicamanager_partitioncount", "Partitions on this node.")
	offline  = desc("kafka_server_replicamanager_offlinereplicacount", "Partitions on this node that cannot be used. Above zero, data is unavailable: the log says which and why.")
	parked   = desc("kafka_server_delayedoperationpurgatory_purgatorysize", "Requests that wait for data.", "delayedoperation")
	groupsN  = desc("kafka_coordinator_group_groupmetadatamanager_numgroups", "Consumer groups that are coordinated here.")
	groupsB  = desc("weir_group_memory_bytes", "About what consumer groups hold in memory. At group.memory.bytes.max new members and offsets are refused.")
	loopQ    = desc("kafka_network_requestchannel_requestqueuesize", "Events that wait for the loop. Persistently high, the node is at its limit.")
	storeQ   = desc("weir_storage_queue_size", "Turns of the loop that wait for the storage goroutine. Persistently high, the disk is the limit.")
	journal  = desc("weir_journal_bytes", "Bytes of journal that a restart would read. Bounded by checkpoint.bytes.")
	since    = desc("weir_checkpoint_due_bytes", "Bytes appended since the last checkpoint began.")
	segments = desc("weir_segment_count", "Segment files.")
	files    = desc("weir_open_file_count", "Segment files held open. Bounded by open.files.max.")
	staged   = desc("weir_staged_append_count", "Batches that wait to be written.")
	stagedB  = desc("weir_staged_append_bytes", "Bytes of batches that wait to be written.")
	build    = desc("weir_build_info", "Always 1; the label says which version runs.", "version")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Describe implements prometheus.Collector: the metrics are unchecked, since their labels are many and
// their names are all in this file.
func (m *Metrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	count := func(d *prometheus.Desc, n int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, n int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	for k := range m.Requests {
		if n := m.Requests[k].Load(); n > 0 {
			name := protocol.KeyAt(k).String()
			count(requests, n, name)
			out <- m.RequestSeconds[k].metric(requestSeconds, secondsScale, name)
		}
	}
	for i := range codesMax {
		if n := m.ProduceErrors[i].Load(); n > 0 {
			count(requestErrors, n, "Produce", strconv.Itoa(i-1))
		}
		if n := m.FetchErrors[i].Load(); n > 0 {
			count(requestErrors, n, "Fetch", strconv.Itoa(i-1))
		}
	}
	count(bytesIn, m.BytesIn.Load())
	count(bytesOut, m.BytesOut.Load())
	count(batchesIn, m.BatchesIn.Load())
	count(networkIn, m.NetworkIn.Load())
	count(network, m.NetworkOut.Load())
	gauge(conns, m.Connections.Load())
	count(accepted, m.Accepted.Load())
	count(refused, m.Refused.Load())
	count(delayed, m.Delayed.Load())
	count(acceptF, m.AcceptFailed.Load())
	count(idled, m.IdleClosed.Load())
	count(stalled, m.Stalled.Load())
	count(lost, m.Misadvertised.Load())
	count(panics, m.Panics.Load())
	count(malform, m.Malformed.Load())
	for f := range m.Calls {
		count(calls, m.Calls[f].Load(), effect.CallFailure(f).String())
	}
	gauge(links, m.Links.Load())
	count(events, m.Events.Load())
	out <- m.LoopTurnEvents.metric(turns, 1)
	out <- m.SyncSeconds.metric(syncs, secondsScale)
	out <- m.SyncAppends.metric(groups, 1)
	out <- m.CheckpointTimes.metric(ckpts, secondsScale)
	gauge(queued, m.QueuedBytes.Load())
	count(waits, m.QueueWaits.Load())
	count(turnsP, m.ProduceTurns.Load())
	gauge(respond, m.ResponseBytes.Load())
	count(respondW, m.ResponseWaits.Load())
	for i := range m.Notes {
		// Those that never happened are shown as well: a rate cannot see a series begin at one.
		if name := effect.NoteKind(i).String(); name != "unknown" {
			count(notes, m.Notes[i].Load(), name)
		}
	}
	for i := range m.Marks {
		if n := m.Marks[i].Load(); n > 0 {
			count(marks, n, effect.Mark(i).String())
		}
	}
	h := m.holdings()
	gauge(topics, h.Topics)
	gauge(parts, h.Partitions)
	gauge(offline, h.OfflinePartitions)
	gauge(parked, h.ParkedFetches, "Fetch")
	gauge(groupsN, h.Groups)
	gauge(groupsB, h.GroupMemoryBytes)
	gauge(loopQ, h.LoopQueue)
	gauge(storeQ, h.StorageQueue)
	gauge(journal, h.JournalBytes)
	gauge(since, h.SinceCheckpointBytes)
	gauge(segments, h.Segments)
	gauge(files, h.OpenFiles)
	gauge(staged, h.StagedAppends)
	gauge(stagedB, h.StagedBytes)
	gauge(build, 1, m.version)
}
