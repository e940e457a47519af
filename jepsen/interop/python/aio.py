"""The program of aiokafka for jepsen/interop: BROKERS ID [member GROUP TOPIC]."""

import asyncio
import sys

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import CommitFailedError, for_code

from contract import PATIENCE, headers_of, record, say_committed, say_record, serve, stdin_ended, to_bytes


def check(code, message=""):
    if code:
        raise for_code(code)(message or "")


class Client:
    def __init__(self, brokers, client_id):
        self.base = {"bootstrap_servers": brokers, "client_id": client_id}
        self.loop = asyncio.new_event_loop()

    def answer(self, r):
        return self.loop.run_until_complete(asyncio.wait_for(self.work(r), PATIENCE))

    async def work(self, r):
        if r["op"] in ("produce", "consume", "offsets"):
            return await getattr(self, r["op"])(r)
        admin = AIOKafkaAdminClient(**self.base)
        await admin.start()
        try:
            return await self.administer(admin, r)
        finally:
            await admin.close()

    async def administer(self, admin, r):
        op = r["op"]
        if op == "create_topic":
            found = await admin.create_topics([NewTopic(r["topic"], r["partitions"], 1, topic_configs=r["configs"])])
            for name, code, *message in found.topic_errors:
                check(code, message[0] if message else name)
            return {}
        if op == "list_topics":
            return {"topics": await admin.list_topics()}
        if op == "describe_topic":
            found = (await admin.describe_topics([r["topic"]]))[0]
            check(found["error_code"])
            return {"partitions": len(found["partitions"])}
        if op == "delete_topic":
            found = await admin.delete_topics([r["topic"]])
            for name, code, *_ in found.topic_error_codes:
                check(code, name)
            return {}
        if op == "create_partitions":
            await admin.create_partitions({r["topic"]: NewPartitions(r["count"])})
            return {}
        if op == "describe_cluster":
            found = await admin.describe_cluster()
            return {"brokers": len(found["brokers"]), "controller": found["controller_id"]}
        if op == "describe_configs":
            found = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, r["topic"])])
            code, message, _, _, entries = found[0].resources[0]
            check(code, message)
            return {"configs": {e[0]: e[1] for e in entries}}
        if op == "alter_configs":
            found = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, r["topic"], r["configs"])])
            for code, message, *_ in found[0].resources:
                check(code, message)
            return {}
        if op == "delete_records":
            await admin.delete_records({TopicPartition(r["topic"], r["partition"]): RecordsToDelete(before_offset=r["offset"])})
            return {}
        if op == "committed":
            found = await admin.list_consumer_group_offsets(r["group"])
            return {"offsets": [found[TopicPartition(r["topic"], p)].offset for p in r["partitions"]]}
        if op == "list_groups":
            return {"groups": [g[0] for g in await admin.list_consumer_groups()]}
        if op == "describe_group":
            found = (await admin.describe_consumer_groups([r["group"]]))[0].groups[0]
            check(found[0])
            return {"state": found[2], "members": len(found[5])}
        raise NotImplementedError(op)

    async def offsets(self, r):
        consumer = AIOKafkaConsumer(**self.base)
        await consumer.start()
        try:
            place = TopicPartition(r["topic"], r["partition"])
            at = [(await consumer.offsets_for_times({place: ms}))[place].offset for ms in r["times"] or []]
            begin, end = await consumer.beginning_offsets([place]), await consumer.end_offsets([place])
            return {"begin": begin[place], "end": end[place], "at": at}
        finally:
            await consumer.stop()

    async def produce(self, r):
        producer = AIOKafkaProducer(
            **self.base, acks="all", compression_type=None if r["codec"] == "none" else r["codec"], enable_idempotence=r["idempotent"],
            linger_ms=20, max_request_size=r["max_bytes"],
        )
        await producer.start()
        try:
            futures = []
            for rec in r["records"]:
                futures.append(await producer.send(
                    r["topic"], key=to_bytes(rec["k"]), value=to_bytes(rec["v"]), headers=headers_of(rec), timestamp_ms=rec["t"],
                    partition=None if rec["p"] < 0 else rec["p"],
                ))
            placed = [await f for f in futures]
            return {"placed": [[m.partition, m.offset] for m in placed]}
        finally:
            await producer.stop()

    async def consume(self, r):
        consumer = AIOKafkaConsumer(
            **self.base, enable_auto_commit=False, auto_offset_reset="none", fetch_max_bytes=r["max_bytes"],
            max_partition_fetch_bytes=r["max_bytes"],
        )
        await consumer.start()
        try:
            place = TopicPartition(r["topic"], r["partition"])
            consumer.assign([place])
            if "offset" in r["from"]:
                consumer.seek(place, r["from"]["offset"])
            elif "time" in r["from"]:
                consumer.seek(place, (await consumer.offsets_for_times({place: r["from"]["time"]}))[place].offset)
            else:
                await consumer.seek_to_beginning(place)
            records = []
            while len(records) < r["count"]:
                m = await consumer.getone()
                records.append(record(m.partition, m.offset, m.key, m.value, m.headers, m.timestamp))
            return {"records": records}
        finally:
            await consumer.stop()

    async def member(self, group, topic):
        consumer = AIOKafkaConsumer(
            topic, **self.base, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest", session_timeout_ms=6000,
            heartbeat_interval_ms=500,
        )
        await consumer.start()
        ended = stdin_ended()
        while not ended.is_set():
            found = await consumer.getmany(timeout_ms=200)
            for messages in found.values():
                for m in messages:
                    say_record(m.partition, m.offset, m.value)
            if found:
                places = {place: messages[-1].offset + 1 for place, messages in found.items()}
                try:
                    await consumer.commit(places)
                except (CommitFailedError, aiokafka.errors.IllegalStateError) as e:  # the group is sharing its partitions anew
                    print(e, file=sys.stderr)
                    continue
                for place, offset in places.items():
                    say_committed(place.partition, offset)
        await consumer.stop()


if __name__ == "__main__":
    client = Client(*sys.argv[1:3])
    if len(sys.argv) > 3:
        client.loop.run_until_complete(client.member(*sys.argv[4:6]))
    else:
        serve(aiokafka.__version__, client.answer)
