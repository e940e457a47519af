//! The program of Rust's rdkafka for jepsen/interop: BROKERS ID [member GROUP TOPIC].

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use futures::executor::block_on;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{DeliveryResult, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{json, Value};

type Answer<T> = Result<T, Box<dyn Error>>;

const PATIENCE: Duration = Duration::from_secs(50);

fn main() -> Answer<()> {
    let args: Vec<String> = std::env::args().collect();
    let mut base = ClientConfig::new();
    base.set("bootstrap.servers", &args[1]).set("client.id", &args[2]);
    let client = Client { base };
    if args.len() > 3 {
        return client.member(&args[4], &args[5]);
    }
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        match client.answer(&request) {
            Ok(ok) => say(&json!({ "ok": ok })),
            Err(e) => say(&json!({ "error": e.to_string() })),
        }
    }
    Ok(())
}

fn say(message: &Value) {
    let mut out = std::io::stdout().lock();
    // Whoever does not listen is gone.
    let _ = writeln!(out, "{message}").and_then(|()| out.flush());
}

fn bytes(text: &Value) -> Answer<Option<Vec<u8>>> {
    Ok(match text.as_str() {
        Some(t) => Some(STANDARD.decode(t)?),
        None => None,
    })
}

fn text(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, |b| Value::from(STANDARD.encode(b)))
}

fn word<'a>(r: &'a Value, name: &str) -> &'a str {
    r[name].as_str().unwrap_or("")
}

fn number(r: &Value, name: &str) -> i64 {
    r[name].as_i64().unwrap_or(0)
}

/// Acks collects what became of each record, by its number.
struct Acks(Mutex<HashMap<usize, Result<(i32, i64), String>>>);

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, result: &DeliveryResult<'_>, record: Box<usize>) {
        let outcome = match result {
            Ok(m) => Ok((m.partition(), m.offset())),
            Err((e, _)) => Err(e.to_string()),
        };
        self.0.lock().unwrap().insert(*record, outcome);
    }
}

struct Client {
    base: ClientConfig,
}

impl Client {
    fn consumer(&self, more: &[(&str, &str)]) -> Answer<BaseConsumer> {
        let mut config = self.base.clone();
        config.set("enable.auto.commit", "false").set("group.id", "unused");
        for (name, value) in more {
            config.set(*name, *value);
        }
        Ok(config.create()?)
    }

    fn answer(&self, r: &Value) -> Answer<Value> {
        match word(r, "op") {
            "hello" => {
                let version = format!("0.39.0 (librdkafka {})", rdkafka::util::get_rdkafka_version().1);
                Ok(json!({ "version": version, "language": "Rust" }))
            }
            "produce" => self.produce(r),
            "consume" => self.consume(r),
            "offsets" => self.offsets(r),
            "list_topics" => {
                let found = self.consumer(&[])?.fetch_metadata(None, PATIENCE)?;
                let names: Vec<&str> = found.topics().iter().map(|t| t.name()).collect();
                Ok(json!({ "topics": names }))
            }
            "describe_topic" => {
                let found = self.consumer(&[])?.fetch_metadata(Some(word(r, "topic")), PATIENCE)?;
                Ok(json!({ "partitions": found.topics()[0].partitions().len() }))
            }
            "list_groups" => {
                let found = self.consumer(&[])?.fetch_group_list(None, PATIENCE)?;
                let names: Vec<&str> = found.groups().iter().map(|g| g.name()).collect();
                Ok(json!({ "groups": names }))
            }
            "describe_group" => {
                let found = self.consumer(&[])?.fetch_group_list(Some(word(r, "group")), PATIENCE)?;
                let group = found.groups().first().ok_or("no such group")?;
                Ok(json!({ "state": group.state(), "members": group.members().len() }))
            }
            "committed" => {
                let consumer = self.consumer(&[("group.id", word(r, "group"))])?;
                let mut places = TopicPartitionList::new();
                let partitions: Vec<i32> = r["partitions"].as_array().into_iter().flatten().map(|p| p.as_i64().unwrap_or(-1) as i32).collect();
                for p in &partitions {
                    places.add_partition(word(r, "topic"), *p);
                }
                let found = consumer.committed_offsets(places, PATIENCE)?;
                let mut offsets = Vec::new();
                for p in partitions {
                    let place = found.find_partition(word(r, "topic"), p).ok_or("a partition is missing")?;
                    offsets.push(place.offset().to_raw().unwrap_or(-1));
                }
                Ok(json!({ "offsets": offsets }))
            }
            op => self.administer(op, r),
        }
    }

    fn administer(&self, op: &str, r: &Value) -> Answer<Value> {
        let admin: AdminClient<DefaultClientContext> = self.base.create()?;
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        let topic = word(r, "topic");
        let configs = || r["configs"].as_object().into_iter().flatten().map(|(name, v)| (name.as_str(), v.as_str().unwrap_or("")));
        let refused = |what: (String, RDKafkaErrorCode)| -> Box<dyn Error> { format!("{}: {}", what.0, what.1).into() };
        match op {
            "create_topic" => {
                let mut new = NewTopic::new(topic, number(r, "partitions") as i32, TopicReplication::Fixed(1));
                for (name, value) in configs() {
                    new = new.set(name, value);
                }
                for outcome in block_on(admin.create_topics([&new], &options))? {
                    outcome.map_err(refused)?;
                }
            }
            "delete_topic" => {
                for outcome in block_on(admin.delete_topics(&[topic], &options))? {
                    outcome.map_err(refused)?;
                }
            }
            "create_partitions" => {
                let new = NewPartitions::new(topic, number(r, "count") as usize);
                for outcome in block_on(admin.create_partitions([&new], &options))? {
                    outcome.map_err(refused)?;
                }
            }
            "describe_configs" => {
                let mut found = HashMap::new();
                for outcome in block_on(admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options))? {
                    for entry in outcome?.entries {
                        found.insert(entry.name, entry.value);
                    }
                }
                return Ok(json!({ "configs": found }));
            }
            "alter_configs" => {
                let mut change = AlterConfig::new(ResourceSpecifier::Topic(topic));
                for (name, value) in configs() {
                    change = change.set(name, value);
                }
                for outcome in block_on(admin.alter_configs([&change], &options))? {
                    outcome.map_err(|(what, e)| -> Box<dyn Error> { format!("{what:?}: {e}").into() })?;
                }
            }
            "delete_records" => {
                let mut places = TopicPartitionList::new();
                places.add_partition_offset(topic, number(r, "partition") as i32, Offset::Offset(number(r, "offset")))?;
                for place in block_on(admin.delete_records(&places, &options))?.elements() {
                    place.error()?;
                }
            }
            "delete_group" => {
                for outcome in block_on(admin.delete_groups(&[word(r, "group")], &options))? {
                    outcome.map_err(refused)?;
                }
            }
            _ => return Err(format!("rdkafka has no {op}").into()),
        }
        Ok(json!({}))
    }

    fn produce(&self, r: &Value) -> Answer<Value> {
        let mut config = self.base.clone();
        config
            .set("compression.type", word(r, "codec"))
            .set("enable.idempotence", if r["idempotent"] == true { "true" } else { "false" })
            .set("message.max.bytes", number(r, "max_bytes").to_string())
            .set("message.timeout.ms", PATIENCE.as_millis().to_string())
            .set("linger.ms", "20");
        let producer: ThreadedProducer<Acks> = config.create_with_context(Acks(Mutex::new(HashMap::new())))?;
        let records = r["records"].as_array().ok_or("no records")?;
        for (i, rec) in records.iter().enumerate() {
            let (key, value) = (bytes(&rec["k"])?, bytes(&rec["v"])?);
            let mut headers = OwnedHeaders::new();
            for h in rec["h"].as_array().into_iter().flatten() {
                headers = headers.insert(Header { key: word(h, "n"), value: bytes(&h["v"])?.as_deref() });
            }
            let mut out: BaseRecord<'_, [u8], [u8], _> =
                BaseRecord::with_opaque_to(word(r, "topic"), Box::new(i)).timestamp(number(rec, "t")).headers(headers);
            if let Some(k) = key.as_deref() {
                out = out.key(k);
            }
            if let Some(v) = value.as_deref() {
                out = out.payload(v);
            }
            if number(rec, "p") >= 0 {
                out = out.partition(number(rec, "p") as i32);
            }
            producer.send(out).map_err(|(e, _)| e)?;
        }
        producer.flush(PATIENCE)?;
        let acks = producer.context().0.lock().unwrap();
        let mut placed = Vec::new();
        for i in 0..records.len() {
            let (partition, offset) = acks.get(&i).ok_or("a record was not acknowledged")?.clone()?;
            placed.push(json!([partition, offset]));
        }
        Ok(json!({ "placed": placed }))
    }

    fn consume(&self, r: &Value) -> Answer<Value> {
        let fetch = (number(r, "max_bytes") / 4).to_string();
        let consumer = self.consumer(&[
            ("auto.offset.reset", "error"),
            ("check.crcs", "true"),
            ("fetch.message.max.bytes", &fetch),
        ])?;
        let (topic, partition, from) = (word(r, "topic"), number(r, "partition") as i32, &r["from"]);
        let mut at = Offset::Beginning;
        if let Some(offset) = from["offset"].as_i64() {
            at = Offset::Offset(offset);
        } else if let Some(ms) = from["time"].as_i64() {
            at = Offset::Offset(by_time(&consumer, topic, partition, ms)?);
        }
        let mut places = TopicPartitionList::new();
        places.add_partition_offset(topic, partition, at)?;
        consumer.assign(&places)?;
        let (deadline, mut records) = (Instant::now() + PATIENCE, Vec::new());
        while (records.len() as i64) < number(r, "count") {
            if Instant::now() > deadline {
                return Err(format!("only {} records arrived", records.len()).into());
            }
            let Some(m) = consumer.poll(Duration::from_secs(1)) else { continue };
            let m = m?;
            let headers: Vec<Value> = m
                .headers()
                .map(|hs| hs.iter().map(|h| json!({ "n": h.key, "v": text(h.value) })).collect())
                .unwrap_or_default();
            records.push(json!({
                "p": m.partition(), "o": m.offset(), "k": text(m.key()), "v": text(m.payload()), "h": headers,
                "t": m.timestamp().to_millis(),
            }));
        }
        Ok(json!({ "records": records }))
    }

    fn offsets(&self, r: &Value) -> Answer<Value> {
        let consumer = self.consumer(&[])?;
        let (topic, partition) = (word(r, "topic"), number(r, "partition") as i32);
        let (begin, end) = consumer.fetch_watermarks(topic, partition, PATIENCE)?;
        let mut at = Vec::new();
        for ms in r["times"].as_array().into_iter().flatten() {
            at.push(by_time(&consumer, topic, partition, ms.as_i64().ok_or("a time is no number")?)?);
        }
        Ok(json!({ "begin": begin, "end": end, "at": at }))
    }

    fn member(&self, group: &str, topic: &str) -> Answer<()> {
        let ended = Arc::new(AtomicBool::new(false));
        let set = ended.clone();
        std::thread::spawn(move || {
            let mut rest = Vec::new();
            let _ = std::io::stdin().read_to_end(&mut rest); // an error ends it, too
            set.store(true, Ordering::SeqCst);
        });
        let consumer = self.consumer(&[
            ("group.id", group),
            ("auto.offset.reset", "earliest"),
            ("session.timeout.ms", "6000"),
            ("heartbeat.interval.ms", "500"),
        ])?;
        consumer.subscribe(&[topic])?;
        while !ended.load(Ordering::SeqCst) {
            match consumer.poll(Duration::from_millis(200)) {
                None => {}
                Some(Err(e)) => eprintln!("{e}"),
                Some(Ok(m)) => {
                    let value = String::from_utf8_lossy(m.payload().unwrap_or_default()).into_owned();
                    say(&json!({ "event": "record", "p": m.partition(), "o": m.offset(), "v": value }));
                    match consumer.commit_message(&m, CommitMode::Sync) {
                        Ok(()) => say(&json!({ "event": "committed", "p": m.partition(), "o": m.offset() + 1 })),
                        Err(e) => eprintln!("{e}"), // the group is sharing its partitions anew
                    }
                }
            }
        }
        Ok(()) // dropping the consumer leaves the group
    }
}

fn by_time(consumer: &BaseConsumer, topic: &str, partition: i32, ms: i64) -> Answer<i64> {
    let mut places = TopicPartitionList::new();
    places.add_partition_offset(topic, partition, Offset::Offset(ms))?;
    let found = consumer.offsets_for_times(places, PATIENCE)?;
    let place = found.find_partition(topic, partition).ok_or("the partition is missing")?;
    Ok(place.offset().to_raw().ok_or("no offset")?)
}
