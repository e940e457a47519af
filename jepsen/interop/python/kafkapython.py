"""The program of kafka-python for jepsen/interop: BROKERS ID [member GROUP TOPIC]."""

import sys
import time

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource

from contract import PATIENCE, headers_of, record, say_committed, say_record, serve, stdin_ended, to_bytes


class Client:
    def __init__(self, brokers, client_id):
        self.base = {"bootstrap_servers": brokers, "client_id": client_id}
        self._admin = None

    @property
    def admin(self):
        if self._admin is None:
            self._admin = KafkaAdminClient(**self.base)
        return self._admin

    def answer(self, r):
        op, admin = r["op"], self.admin
        if op == "create_topic":
            admin.create_topics({r["topic"]: {"num_partitions": r["partitions"], "replication_factor": 1, "configs": r["configs"]}})
            return {}
        if op == "list_topics":
            return {"topics": admin.list_topics()}
        if op == "describe_topic":
            return {"partitions": len(admin.describe_topics([r["topic"]])[0]["partitions"])}
        if op == "delete_topic":
            admin.delete_topics([r["topic"]])
            return {}
        if op == "create_partitions":
            admin.create_partitions({r["topic"]: r["count"]})
            return {}
        if op == "describe_cluster":
            found = admin.describe_cluster()
            return {"brokers": len(found["brokers"]), "controller": found["controller_id"]}
        if op == "describe_configs":
            found = admin.describe_configs([ConfigResource("TOPIC", r["topic"])], config_filter="all")
            return {"configs": {name: c["value"] for name, c in found["topic"][r["topic"]].items()}}
        if op == "alter_configs":
            found = admin.alter_configs([ConfigResource("TOPIC", r["topic"], r["configs"])])
            outcome = found["topic"][r["topic"]]
            if outcome != "OK" and "NoError" not in str(outcome):
                raise RuntimeError(str(outcome))
            return {}
        if op == "delete_records":
            admin.delete_records({TopicPartition(r["topic"], r["partition"]): r["offset"]})
            return {}
        if op == "committed":
            found = admin.list_group_offsets(r["group"])[r["group"]]
            return {"offsets": [found[TopicPartition(r["topic"], p)].offset for p in r["partitions"]]}
        if op == "list_groups":
            return {"groups": [g["group_id"] for g in admin.list_groups()]}
        if op == "describe_group":
            found = admin.describe_groups([r["group"]])[r["group"]]
            return {"state": found["group_state"], "members": len(found["members"])}
        if op == "delete_group":
            outcome = admin.delete_groups([r["group"]])[r["group"]]
            if outcome != "OK":
                raise RuntimeError(outcome)
            return {}
        return getattr(self, op)(r)

    def offsets(self, r):
        consumer = KafkaConsumer(**self.base)
        try:
            place = TopicPartition(r["topic"], r["partition"])
            at = [consumer.offsets_for_times({place: ms})[place].offset for ms in r["times"] or []]
            return {"begin": consumer.beginning_offsets([place])[place], "end": consumer.end_offsets([place])[place], "at": at}
        finally:
            consumer.close()

    def produce(self, r):
        producer = KafkaProducer(
            **self.base, acks="all", compression_type=None if r["codec"] == "none" else r["codec"], enable_idempotence=r["idempotent"],
            linger_ms=20, max_request_size=r["max_bytes"], batch_size=16384, max_block_ms=int(PATIENCE * 1000),
        )
        try:
            futures = [
                producer.send(
                    r["topic"], key=to_bytes(rec["k"]), value=to_bytes(rec["v"]), headers=headers_of(rec), timestamp_ms=rec["t"],
                    partition=None if rec["p"] < 0 else rec["p"],
                )
                for rec in r["records"]
            ]
            producer.flush(PATIENCE)
            placed = [f.get(timeout=PATIENCE) for f in futures]
            return {"placed": [[m.partition, m.offset] for m in placed]}
        finally:
            producer.close(5)

    def consume(self, r):
        consumer = KafkaConsumer(
            **self.base, enable_auto_commit=False, auto_offset_reset="none", fetch_max_bytes=r["max_bytes"],
            max_partition_fetch_bytes=r["max_bytes"],
        )
        try:
            place = TopicPartition(r["topic"], r["partition"])
            consumer.assign([place])
            if "offset" in r["from"]:
                consumer.seek(place, r["from"]["offset"])
            elif "time" in r["from"]:
                consumer.seek(place, consumer.offsets_for_times({place: r["from"]["time"]})[place].offset)
            else:
                consumer.seek_to_beginning(place)
            records, deadline = [], time.monotonic() + PATIENCE
            while len(records) < r["count"]:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"only {len(records)} records arrived")
                for m in consumer.poll(timeout_ms=1000).get(place, []):
                    records.append(record(m.partition, m.offset, m.key, m.value, m.headers, m.timestamp))
            return {"records": records}
        finally:
            consumer.close()

    def member(self, group, topic):
        consumer = KafkaConsumer(
            topic, **self.base, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest", session_timeout_ms=6000,
            heartbeat_interval_ms=500,
        )
        ended = stdin_ended()
        while not ended.is_set():
            found = consumer.poll(timeout_ms=200)
            for messages in found.values():
                for m in messages:
                    say_record(m.partition, m.offset, m.value)
            if found:
                try:
                    consumer.commit()
                except kafka.errors.CommitFailedError as e:  # the group is sharing its partitions anew
                    print(e, file=sys.stderr)
                    continue
                for place, messages in found.items():
                    say_committed(place.partition, messages[-1].offset + 1)
        consumer.close()


if __name__ == "__main__":
    client = Client(*sys.argv[1:3])
    if len(sys.argv) > 3:
        client.member(*sys.argv[4:6])
    else:
        serve(kafka.__version__, client.answer)
