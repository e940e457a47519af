"""The program of confluent-kafka-python for jepsen/interop: BROKERS ID [member GROUP TOPIC]."""

import sys
import time

import confluent_kafka as ck
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka import admin as cka

from contract import PATIENCE, headers_of, record, say_committed, say_record, serve, stdin_ended, to_bytes


class Client:
    def __init__(self, brokers, client_id):
        self.base = {"bootstrap.servers": brokers, "client.id": client_id}
        self.admin = cka.AdminClient(self.base)

    def done(self, futures):
        return [f.result(timeout=PATIENCE) for f in futures.values()][0]

    def answer(self, r):
        op = r["op"]
        if op == "create_topic":
            topic = cka.NewTopic(r["topic"], r["partitions"], 1, config=r["configs"])
            self.done(self.admin.create_topics([topic]))
            return {}
        if op == "list_topics":
            return {"topics": list(self.admin.list_topics(timeout=PATIENCE).topics)}
        if op == "describe_topic":
            found = self.done(self.admin.describe_topics(ck.TopicCollection([r["topic"]])))
            return {"partitions": len(found.partitions)}
        if op == "delete_topic":
            self.done(self.admin.delete_topics([r["topic"]]))
            return {}
        if op == "create_partitions":
            self.done(self.admin.create_partitions([cka.NewPartitions(r["topic"], r["count"])]))
            return {}
        if op == "describe_cluster":
            found = self.admin.describe_cluster().result(timeout=PATIENCE)
            return {"brokers": len(found.nodes), "controller": found.controller.id}
        if op == "describe_configs":
            found = self.done(self.admin.describe_configs([cka.ConfigResource(cka.ResourceType.TOPIC, r["topic"])]))
            return {"configs": {name: entry.value for name, entry in found.items()}}
        if op == "alter_configs":
            entries = [
                cka.ConfigEntry(name, value, incremental_operation=cka.AlterConfigOpType.SET)
                for name, value in r["configs"].items()
            ]
            resource = cka.ConfigResource(cka.ResourceType.TOPIC, r["topic"], incremental_configs=entries)
            self.done(self.admin.incremental_alter_configs([resource]))
            return {}
        if op == "delete_records":
            self.done(self.admin.delete_records([TopicPartition(r["topic"], r["partition"], r["offset"])]))
            return {}
        if op == "committed":
            places = [TopicPartition(r["topic"], p) for p in r["partitions"]]
            found = self.done(self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(r["group"], places)]))
            at = {p.partition: p.offset for p in found.topic_partitions}
            return {"offsets": [at[p] for p in r["partitions"]]}
        if op == "list_groups":
            return {"groups": [g.group_id for g in self.admin.list_consumer_groups().result(timeout=PATIENCE).valid]}
        if op == "describe_group":
            found = self.done(self.admin.describe_consumer_groups([r["group"]]))
            return {"state": found.state.name, "members": len(found.members)}
        if op == "delete_group":
            self.done(self.admin.delete_consumer_groups([r["group"]]))
            return {}
        return getattr(self, op)(r)

    def offsets(self, r):
        consumer = ck.Consumer({**self.base, "group.id": "unused"})
        try:
            begin, end = consumer.get_watermark_offsets(TopicPartition(r["topic"], r["partition"]), timeout=PATIENCE)
            at = []
            for ms in r["times"] or []:
                found = consumer.offsets_for_times([TopicPartition(r["topic"], r["partition"], ms)], timeout=PATIENCE)
                at.append(found[0].offset)
            return {"begin": begin, "end": end, "at": at}
        finally:
            consumer.close()

    def produce(self, r):
        producer = ck.Producer({
            **self.base, "compression.type": r["codec"], "enable.idempotence": r["idempotent"], "linger.ms": 20,
            "message.max.bytes": r["max_bytes"], "message.timeout.ms": int(PATIENCE * 1000),
        })
        placed, errors = [None] * len(r["records"]), []

        def delivered(number):
            def note(err, message):
                if err is not None:
                    errors.append(err)
                else:
                    placed[number] = [message.partition(), message.offset()]

            return note

        for number, rec in enumerate(r["records"]):
            where = {} if rec["p"] < 0 else {"partition": rec["p"]}
            producer.produce(
                r["topic"], key=to_bytes(rec["k"]), value=to_bytes(rec["v"]), headers=headers_of(rec), timestamp=rec["t"],
                on_delivery=delivered(number), **where,
            )
            producer.poll(0)
        left = producer.flush(PATIENCE)
        if errors:
            raise ck.KafkaException(errors[0])
        if left:
            raise TimeoutError(f"{left} records were not acknowledged")
        return {"placed": placed}

    def consume(self, r):
        consumer = ck.Consumer({
            **self.base, "group.id": "unused", "enable.auto.commit": False, "check.crcs": True,
            "fetch.message.max.bytes": r["max_bytes"] // 4, "auto.offset.reset": "error",
        })
        try:
            at = r["from"].get("offset", ck.OFFSET_BEGINNING)
            if "time" in r["from"]:
                at = consumer.offsets_for_times([TopicPartition(r["topic"], r["partition"], r["from"]["time"])], timeout=PATIENCE)[0].offset
            consumer.assign([TopicPartition(r["topic"], r["partition"], at)])
            records, deadline = [], time.monotonic() + PATIENCE
            while len(records) < r["count"]:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"only {len(records)} records arrived")
                message = consumer.poll(1.0)
                if message is None:
                    continue
                if message.error():
                    raise ck.KafkaException(message.error())
                records.append(record(
                    message.partition(), message.offset(), message.key(), message.value(), message.headers() or [], message.timestamp()[1],
                ))
            return {"records": records}
        finally:
            consumer.close()

    def member(self, group, topic):
        consumer = ck.Consumer({
            **self.base, "group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest",
            "session.timeout.ms": 6000, "heartbeat.interval.ms": 500,
        })
        consumer.subscribe([topic])
        ended = stdin_ended()
        while not ended.is_set():
            messages = consumer.consume(100, timeout=0.2)
            for m in messages:
                if m.error():
                    print(m.error(), file=sys.stderr)
                else:
                    say_record(m.partition(), m.offset(), m.value())
            if any(not m.error() for m in messages):
                try:
                    for place in consumer.commit(asynchronous=False):
                        if place.error is None:
                            say_committed(place.partition, place.offset)
                except ck.KafkaException as e:  # the group is sharing its partitions anew
                    print(e, file=sys.stderr)
        consumer.close()


if __name__ == "__main__":
    client = Client(*sys.argv[1:3])
    if len(sys.argv) > 3:
        client.member(*sys.argv[4:6])
    else:
        serve(f"{ck.version() if isinstance(ck.version(), str) else ck.version()[0]} (librdkafka {ck.libversion()[0]})", client.answer)
