import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The program of Kafka's own Java clients for jepsen/interop: VERSION BROKERS ID [member GROUP TOPIC]. */
public final class Client {
    private static final long PATIENCE_MS = 50_000;
    private static final Gson GSON = new GsonBuilder().serializeNulls().disableHtmlEscaping().create();
    private static final PrintStream OUT = new PrintStream(new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);

    private final String version;
    private final Map<String, Object> base = new HashMap<>();
    private Admin admin;

    private Client(String version, String brokers, String id) {
        this.version = version;
        base.put("bootstrap.servers", brokers);
        base.put("client.id", id);
    }

    public static void main(String[] args) throws Exception {
        Client client = new Client(args[0], args[1], args[2]);
        if (args.length > 3) {
            client.member(args[4], args[5]);
            return;
        }
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            JsonObject answer = new JsonObject();
            try {
                answer.add("ok", client.answer(JsonParser.parseString(line).getAsJsonObject()));
            } catch (ExecutionException e) {
                answer.addProperty("error", String.valueOf(e.getCause()));
            } catch (Exception e) {
                answer.addProperty("error", String.valueOf(e));
            }
            say(answer);
        }
        if (client.admin != null) {
            client.admin.close(Duration.ofSeconds(5));
        }
    }

    private static synchronized void say(JsonObject message) {
        OUT.print(GSON.toJson(message) + "\n");
        OUT.flush();
    }

    private static <T> T get(Future<T> future) throws Exception {
        return future.get(PATIENCE_MS, TimeUnit.MILLISECONDS);
    }

    private JsonElement answer(JsonObject r) throws Exception {
        String op = r.get("op").getAsString();
        switch (op) {
            case "hello": {
                JsonObject ok = new JsonObject();
                ok.addProperty("version", version);
                ok.addProperty("language", "Java " + System.getProperty("java.specification.version"));
                return ok;
            }
            case "produce":
                return produce(r);
            case "consume":
                return consume(r);
            case "offsets":
                return offsets(r);
            default:
                if (admin == null) {
                    admin = Admin.create(base);
                }
                return administer(op, r);
        }
    }

    private JsonElement administer(String op, JsonObject r) throws Exception {
        JsonObject ok = new JsonObject();
        String topic = r.has("topic") ? r.get("topic").getAsString() : "";
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        switch (op) {
            case "create_topic": {
                Map<String, String> configs = new HashMap<>();
                r.getAsJsonObject("configs").entrySet().forEach(e -> configs.put(e.getKey(), e.getValue().getAsString()));
                get(admin.createTopics(List.of(new NewTopic(topic, r.get("partitions").getAsInt(), (short) 1).configs(configs))).all());
                return ok;
            }
            case "list_topics":
                ok.add("topics", GSON.toJsonTree(get(admin.listTopics().names())));
                return ok;
            case "describe_topic":
                ok.addProperty("partitions", get(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic).partitions().size());
                return ok;
            case "delete_topic":
                get(admin.deleteTopics(List.of(topic)).all());
                return ok;
            case "create_partitions":
                get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(r.get("count").getAsInt()))).all());
                return ok;
            case "describe_cluster": {
                DescribeClusterResult found = admin.describeCluster();
                ok.addProperty("brokers", get(found.nodes()).size());
                ok.addProperty("controller", get(found.controller()).id());
                return ok;
            }
            case "describe_configs": {
                JsonObject configs = new JsonObject();
                for (ConfigEntry e : get(admin.describeConfigs(List.of(resource)).all()).get(resource).entries()) {
                    configs.addProperty(e.name(), e.value());
                }
                ok.add("configs", configs);
                return ok;
            }
            case "alter_configs": {
                Collection<AlterConfigOp> ops = new ArrayList<>();
                r.getAsJsonObject("configs").entrySet().forEach(e ->
                    ops.add(new AlterConfigOp(new ConfigEntry(e.getKey(), e.getValue().getAsString()), AlterConfigOp.OpType.SET)));
                get(admin.incrementalAlterConfigs(Map.of(resource, ops)).all());
                return ok;
            }
            case "delete_records": {
                TopicPartition place = new TopicPartition(topic, r.get("partition").getAsInt());
                get(admin.deleteRecords(Map.of(place, RecordsToDelete.beforeOffset(r.get("offset").getAsLong()))).all());
                return ok;
            }
            default:
                return administerGroup(op, r, topic);
        }
    }

    private JsonElement administerGroup(String op, JsonObject r, String topic) throws Exception {
        JsonObject ok = new JsonObject();
        String group = r.has("group") ? r.get("group").getAsString() : "";
        switch (op) {
            case "committed": {
                Map<TopicPartition, OffsetAndMetadata> found = get(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata());
                JsonArray offsets = new JsonArray();
                for (JsonElement p : r.getAsJsonArray("partitions")) {
                    offsets.add(found.get(new TopicPartition(topic, p.getAsInt())).offset());
                }
                ok.add("offsets", offsets);
                return ok;
            }
            case "list_groups": {
                JsonArray groups = new JsonArray();
                get(admin.listConsumerGroups().all()).forEach(g -> groups.add(g.groupId()));
                ok.add("groups", groups);
                return ok;
            }
            case "describe_group": {
                ConsumerGroupDescription found = get(admin.describeConsumerGroups(List.of(group)).all()).get(group);
                ok.addProperty("state", found.state().toString());
                ok.addProperty("members", found.members().size());
                return ok;
            }
            case "delete_group":
                get(admin.deleteConsumerGroups(List.of(group)).all());
                return ok;
            default:
                throw new UnsupportedOperationException(op);
        }
    }

    private JsonElement produce(JsonObject r) throws Exception {
        Map<String, Object> config = new HashMap<>(base);
        config.put("acks", "all");
        config.put("compression.type", r.get("codec").getAsString());
        config.put("enable.idempotence", r.get("idempotent").getAsBoolean());
        config.put("linger.ms", 20);
        config.put("max.request.size", r.get("max_bytes").getAsInt());
        config.put("delivery.timeout.ms", (int) PATIENCE_MS);
        JsonArray placed = new JsonArray();
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
            List<Future<RecordMetadata>> futures = new ArrayList<>();
            for (JsonElement e : r.getAsJsonArray("records")) {
                JsonObject rec = e.getAsJsonObject();
                int partition = rec.get("p").getAsInt();
                List<Header> headers = new ArrayList<>();
                if (!rec.get("h").isJsonNull()) {
                    for (JsonElement h : rec.getAsJsonArray("h")) {
                        headers.add(new RecordHeader(h.getAsJsonObject().get("n").getAsString(), bytes(h.getAsJsonObject().get("v"))));
                    }
                }
                futures.add(producer.send(new ProducerRecord<>(r.get("topic").getAsString(), partition < 0 ? null : partition,
                    rec.get("t").getAsLong(), bytes(rec.get("k")), bytes(rec.get("v")), headers)));
            }
            for (Future<RecordMetadata> f : futures) {
                RecordMetadata m = get(f);
                JsonArray place = new JsonArray();
                place.add(m.partition());
                place.add(m.offset());
                placed.add(place);
            }
        }
        JsonObject ok = new JsonObject();
        ok.add("placed", placed);
        return ok;
    }

    private KafkaConsumer<byte[], byte[]> consumer(Map<String, Object> more) {
        Map<String, Object> config = new HashMap<>(base);
        config.put("enable.auto.commit", false);
        config.putAll(more);
        return new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private JsonElement consume(JsonObject r) throws Exception {
        TopicPartition place = new TopicPartition(r.get("topic").getAsString(), r.get("partition").getAsInt());
        JsonObject from = r.getAsJsonObject("from");
        int count = r.get("count").getAsInt();
        JsonArray records = new JsonArray();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of(
            "auto.offset.reset", "none", "max.partition.fetch.bytes", r.get("max_bytes").getAsInt()))) {
            consumer.assign(List.of(place));
            if (from.has("offset")) {
                consumer.seek(place, from.get("offset").getAsLong());
            } else if (from.has("time")) {
                consumer.seek(place, consumer.offsetsForTimes(Map.of(place, from.get("time").getAsLong())).get(place).offset());
            } else {
                consumer.seekToBeginning(List.of(place));
            }
            long deadline = System.currentTimeMillis() + PATIENCE_MS;
            while (records.size() < count) {
                if (System.currentTimeMillis() > deadline) {
                    throw new TimeoutException("only " + records.size() + " records arrived");
                }
                for (ConsumerRecord<byte[], byte[]> m : consumer.poll(Duration.ofSeconds(1))) {
                    records.add(record(m));
                }
            }
        }
        JsonObject ok = new JsonObject();
        ok.add("records", records);
        return ok;
    }

    private static JsonObject record(ConsumerRecord<byte[], byte[]> m) {
        JsonObject rec = new JsonObject();
        rec.addProperty("p", m.partition());
        rec.addProperty("o", m.offset());
        rec.add("k", text(m.key()));
        rec.add("v", text(m.value()));
        rec.addProperty("t", m.timestamp());
        JsonArray headers = new JsonArray();
        for (Header h : m.headers()) {
            JsonObject header = new JsonObject();
            header.addProperty("n", h.key());
            header.add("v", text(h.value()));
            headers.add(header);
        }
        rec.add("h", headers);
        return rec;
    }

    private JsonElement offsets(JsonObject r) throws Exception {
        TopicPartition place = new TopicPartition(r.get("topic").getAsString(), r.get("partition").getAsInt());
        JsonObject ok = new JsonObject();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of())) {
            ok.addProperty("begin", consumer.beginningOffsets(List.of(place)).get(place));
            ok.addProperty("end", consumer.endOffsets(List.of(place)).get(place));
            JsonArray at = new JsonArray();
            if (!r.get("times").isJsonNull()) {
                for (JsonElement ms : r.getAsJsonArray("times")) {
                    at.add(consumer.offsetsForTimes(Map.of(place, ms.getAsLong())).get(place).offset());
                }
            }
            ok.add("at", at);
        }
        return ok;
    }

    private void member(String group, String topic) throws Exception {
        AtomicBoolean ended = new AtomicBoolean();
        Thread watch = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {
                    continue;
                }
            } catch (java.io.IOException e) {
                System.err.println(e);
            }
            ended.set(true);
        });
        watch.setDaemon(true);
        watch.start();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of("group.id", group, "auto.offset.reset", "earliest",
            "session.timeout.ms", 6000, "heartbeat.interval.ms", 500))) {
            consumer.subscribe(List.of(topic));
            while (!ended.get()) {
                ConsumerRecords<byte[], byte[]> found = consumer.poll(Duration.ofMillis(200));
                Map<TopicPartition, OffsetAndMetadata> places = new HashMap<>();
                for (ConsumerRecord<byte[], byte[]> m : found) {
                    JsonObject said = new JsonObject();
                    said.addProperty("event", "record");
                    said.addProperty("p", m.partition());
                    said.addProperty("o", m.offset());
                    said.addProperty("v", new String(m.value(), StandardCharsets.UTF_8));
                    say(said);
                    places.put(new TopicPartition(topic, m.partition()), new OffsetAndMetadata(m.offset() + 1));
                }
                if (places.isEmpty()) {
                    continue;
                }
                try {
                    consumer.commitSync(places);
                } catch (CommitFailedException | RebalanceInProgressException e) { // the group is sharing its partitions anew
                    System.err.println(e);
                    continue;
                }
                places.forEach((place, offset) -> {
                    JsonObject said = new JsonObject();
                    said.addProperty("event", "committed");
                    said.addProperty("p", place.partition());
                    said.addProperty("o", offset.offset());
                    say(said);
                });
            }
        }
    }

    private static byte[] bytes(JsonElement text) {
        return text.isJsonNull() ? null : Base64.getDecoder().decode(text.getAsString());
    }

    private static JsonElement text(byte[] bytes) {
        return bytes == null ? JsonNull.INSTANCE : GSON.toJsonTree(Base64.getEncoder().encodeToString(bytes));
    }
}
