/* A load driver on librdkafka, with the flags and the output of package drive: lines `begin` and `end` around
 * the measured window on stdout, then the result as one line of JSON.
 *
 *   rdkafka-driver -driver produce|consume -addr HOST:PORT -topic T -partitions N -value BYTES -batch BYTES
 *                  -for SECONDS -warm SECONDS -bytes-max N -records N
 *
 * Producing is idempotent with acks=all and linger 5 ms; consuming reads every partition from its beginning through
 * one queue, in batches.
 */
#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *driver = "", *addr = "", *topic_name = "bench";
static long partitions = 1, value_bytes = 1024, batch_bytes = 1000000;
static long long bytes_max = 2LL << 30, records = 0;
static double warm = 0.5, span = 3;
static const char *linger = "5";

static long long acked, failed;
static char failure[256];

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what, const char *why) {
	fprintf(stderr, "rdkafka-driver: %s: %s\n", what, why);
	exit(1);
}

static void set(rd_kafka_conf_t *c, const char *name, const char *value) {
	char why[256];
	if (rd_kafka_conf_set(c, name, value, why, sizeof why) != RD_KAFKA_CONF_OK)
		die(name, why);
}

static void set_number(rd_kafka_conf_t *c, const char *name, long long value) {
	char text[32];
	snprintf(text, sizeof text, "%lld", value);
	set(c, name, text);
}

static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque) {
	(void)rk;
	(void)opaque;
	if (m->err) {
		if (failed++ == 0)
			snprintf(failure, sizeof failure, "%s", rd_kafka_err2str(m->err));
		return;
	}
	acked++;
}

static void report(long long count, double seconds, long long all) {
	printf("{\"records\":%lld,\"bytes\":%lld,\"seconds\":%.6f,\"all\":%lld}\n", count, count * value_bytes, seconds, all);
}

static void say(const char *line) {
	puts(line);
	fflush(stdout);
}

static rd_kafka_t *client(rd_kafka_type_t type, rd_kafka_conf_t *c) {
	char why[256];
	rd_kafka_t *rk;
	set(c, "bootstrap.servers", addr);
	set(c, "broker.address.family", "v4");
	rk = rd_kafka_new(type, c, why, sizeof why);
	if (!rk)
		die("a client cannot be made", why);
	return rk;
}

static void produce(void) {
	rd_kafka_conf_t *c = rd_kafka_conf_new();
	set(c, "enable.idempotence", "true");
	set(c, "acks", "all");
	set(c, "linger.ms", linger);
	set_number(c, "batch.size", batch_bytes);
	set(c, "batch.num.messages", "1000000");
	set(c, "queue.buffering.max.messages", "200000");
	set(c, "queue.buffering.max.kbytes", "262144");
	rd_kafka_conf_set_dr_msg_cb(c, delivered);
	rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, c);
	rd_kafka_topic_t *t = rd_kafka_topic_new(rk, topic_name, NULL);
	char *value = malloc((size_t)value_bytes);
	if (!t || !value)
		die("produce", "out of memory");
	for (long i = 0; i < value_bytes; i++)
		value[i] = (char)('a' + i * 7 % 26);

	double begin = now(), from = 0, to = 0;
	long long at_begin = 0, at_end = 0;
	int32_t partition = 0;
	for (long long n = 0;; n++) {
		if (n % 1000 == 0) { /* as a sticky partitioner does */
			double t_now = now();
			partition = (int32_t)((partition + 1) % partitions);
			if (failed)
				die("a record was not acknowledged", failure);
			if (from == 0 && t_now - begin >= warm) {
				say("begin");
				from = now();
				at_begin = acked;
			}
			if (from != 0 && (t_now - from >= span || acked * value_bytes >= bytes_max)) {
				to = now();
				at_end = acked;
				say("end");
				break;
			}
			rd_kafka_poll(rk, 0);
		}
		while (rd_kafka_produce(t, partition, RD_KAFKA_MSG_F_COPY, value, (size_t)value_bytes, NULL, 0, NULL) == -1) {
			if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL)
				die("produce", rd_kafka_err2str(rd_kafka_last_error()));
			rd_kafka_poll(rk, 5);
			if (now() - begin > warm + span + 30)
				die("produce", "nothing is acknowledged any more");
		}
	}
	if (rd_kafka_flush(rk, 30000) != RD_KAFKA_RESP_ERR_NO_ERROR)
		die("flush", "records are not acknowledged after 30 s");
	if (failed)
		die("a record was not acknowledged", failure);
	if (at_end == at_begin)
		die("produce", "nothing was acknowledged in the window");
	report(at_end - at_begin, to - from, acked);
	free(value);
	rd_kafka_topic_destroy(t);
	rd_kafka_destroy(rk);
}

static void consume(void) {
	rd_kafka_conf_t *c = rd_kafka_conf_new();
	rd_kafka_message_t *batch[5000];
	if (records <= 0)
		die("consume", "how many records are there?");
	set(c, "fetch.wait.max.ms", "100");
	set(c, "queued.min.messages", "1000000");
	rd_kafka_t *rk = client(RD_KAFKA_CONSUMER, c);
	rd_kafka_topic_t *t = rd_kafka_topic_new(rk, topic_name, NULL);
	rd_kafka_queue_t *q = rd_kafka_queue_new(rk);
	if (!t || !q)
		die("consume", "out of memory");
	for (int32_t i = 0; i < partitions; i++)
		if (rd_kafka_consume_start_queue(t, i, RD_KAFKA_OFFSET_BEGINNING, q) == -1)
			die("consume", rd_kafka_err2str(rd_kafka_last_error()));
	double begin = now(), from = 0;
	long long count = 0, first = 0;
	for (;;) {
		ssize_t n = rd_kafka_consume_batch_queue(q, 100, batch, 5000);
		if (n < 0)
			die("consume", rd_kafka_err2str(rd_kafka_last_error()));
		for (ssize_t i = 0; i < n; i++) {
			if (batch[i]->err && batch[i]->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
				die("consume", rd_kafka_message_errstr(batch[i]));
			if (!batch[i]->err)
				count++;
			rd_kafka_message_destroy(batch[i]);
		}
		if (from == 0 && count > 0) {
			say("begin");
			from = now();
			first = count;
			continue;
		}
		if (from != 0 && (count >= records || now() - from >= span)) {
			double took = now() - from;
			say("end");
			if (count == first)
				die("consume", "nothing arrived in the window");
			report(count - first, took, count);
			break;
		}
		if (from == 0 && now() - begin > 30)
			die("consume", "nothing arrived in 30 s");
	}
	for (int32_t i = 0; i < partitions; i++)
		rd_kafka_consume_stop(t, i);
	rd_kafka_queue_destroy(q);
	rd_kafka_topic_destroy(t);
	rd_kafka_destroy(rk);
}

int main(int argc, char **argv) {
	if (argc == 2 && strcmp(argv[1], "version") == 0) {
		puts(rd_kafka_version_str());
		return 0;
	}
	for (int i = 1; i + 1 < argc; i += 2) {
		const char *name = argv[i], *value = argv[i + 1];
		if (strcmp(name, "-driver") == 0)
			driver = value;
		else if (strcmp(name, "-addr") == 0)
			addr = value;
		else if (strcmp(name, "-topic") == 0)
			topic_name = value;
		else if (strcmp(name, "-partitions") == 0)
			partitions = atol(value);
		else if (strcmp(name, "-value") == 0)
			value_bytes = atol(value);
		else if (strcmp(name, "-batch") == 0)
			batch_bytes = atol(value);
		else if (strcmp(name, "-for") == 0)
			span = atof(value); /* "3s" is 3 */
		else if (strcmp(name, "-warm") == 0)
			warm = atof(value);
		else if (strcmp(name, "-bytes-max") == 0)
			bytes_max = atoll(value);
		else if (strcmp(name, "-records") == 0)
			records = atoll(value);
		else
			die(name, "there is no such flag");
	}
	if (partitions < 1 || value_bytes < 1)
		die("usage", "-partitions and -value are 1 or more");
	if (strcmp(driver, "produce") == 0)
		produce();
	else if (strcmp(driver, "consume") == 0)
		consume();
	else
		die("-driver", "produce or consume");
	return 0;
}
