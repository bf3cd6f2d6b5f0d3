"""Kafka Connect: a distributed worker with a file source, a topic in between and a file sink.

Connectors are made, paused, restarted, stopped, their offsets changed, and deleted over REST; the
worker stops, is killed and comes back; the broker is killed under load. With `--exactly-once` the
worker's source support for it is on, and what the topic holds is compared exactly.

Prints one line per check, see ../conformance/checks.py, and `please kill-broker`, see README.md.
"""

import argparse
import os
import sys
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "conformance"))

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

import checks
from checks import Skip, expect, expect_equal, wait_for
from worker import Refused, Worker

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--bootstrap", required=True)
parser.add_argument("--libs", required=True)
parser.add_argument("--folder", required=True)
parser.add_argument("--kills-file", required=True)
parser.add_argument("--kills", type=int, default=1)
parser.add_argument("--exactly-once", action="store_true")
OPTIONS = parser.parse_args()
checks.CHECK_SECONDS = 150

SECONDS = 60
# Quiet about connections that a kill ended.
CLIENT = {"bootstrap.servers": OPTIONS.bootstrap, "log_level": 0}
ADMIN = AdminClient(CLIENT)
ID = uuid.uuid4().hex[:8]
TOPIC = f"connect-{ID}"
SOURCE = os.path.join(OPTIONS.folder, f"source-{ID}.txt")
SINK = os.path.join(OPTIONS.folder, f"sink-{ID}.txt")
INTERNAL = {kind: f"connect-{ID}-{kind}" for kind in ("offset", "config", "status")}
JSON = "org.apache.kafka.connect.json.JsonConverter"
WORKER = Worker(OPTIONS, {
    "bootstrap.servers": OPTIONS.bootstrap,
    "group.id": f"connect-{ID}",
    "key.converter": JSON,
    "value.converter": JSON,
    "offset.storage.topic": INTERNAL["offset"],
    "offset.storage.replication.factor": 1,
    "offset.storage.partitions": 3,
    "config.storage.topic": INTERNAL["config"],
    "config.storage.replication.factor": 1,
    "status.storage.topic": INTERNAL["status"],
    "status.storage.replication.factor": 1,
    "status.storage.partitions": 2,
    "offset.flush.interval.ms": 300,
    "plugin.discovery": "service_load",
    "scheduled.rebalance.max.delay.ms": 500,
    # Who was killed is missed soon: the worker, and its sinks' consumers.
    "session.timeout.ms": 6000,
    "heartbeat.interval.ms": 500,
    "consumer.session.timeout.ms": 6000,
    "consumer.heartbeat.interval.ms": 500,
    "exactly.once.source.support": "enabled" if OPTIONS.exactly_once else "disabled",
}, "worker")
LINES = []


def append(count):
    """Adds lines to the source's file; each has its number."""
    with open(SOURCE, "a", encoding="utf-8") as file:
        for _ in range(count):
            LINES.append(f"line {len(LINES)}")
            file.write(LINES[-1] + "\n")


def in_sink():
    try:
        with open(SINK, encoding="utf-8") as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return []


def wait_sink(seconds=SECONDS):
    """Waits until the sink's file has every line; once each unless something was killed."""
    wanted = set(LINES)
    try:
        wait_for(lambda: wanted <= set(in_sink()), seconds, "every line in the sink")
    except AssertionError as failure:
        missing = sorted(wanted - set(in_sink()))
        raise AssertionError(f"{failure}: {len(missing)} missing, {missing[:3]}") from None


def in_topic():
    """What the topic holds for a reader of committed records."""
    consumer = Consumer({**CLIENT, "group.id": f"reader-{ID}",
                         "isolation.level": "read_committed", "enable.auto.commit": False,
                         "enable.partition.eof": True, "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    found = []
    try:
        while True:
            message = consumer.poll(SECONDS)
            expect(message is not None, "the end of the topic is not reached")
            if message.error():
                return found
            found.append(message.value().decode())
    finally:
        consumer.close()


def configs(topic):
    resource = ConfigResource(ResourceType.TOPIC, topic)
    found = ADMIN.describe_configs([resource])[resource].result(timeout=SECONDS)
    return {key: entry.value for key, entry in found.items()}


def start():
    WORKER.start()
    WORKER.wait_ready()
    root = WORKER.ask("GET", "/")
    expect_equal(root["version"], "4.3.1", "version")
    cluster = ADMIN.describe_cluster().result(timeout=SECONDS)
    expect_equal(root["kafka_cluster_id"], cluster.cluster_id, "cluster id")


def internal_topics():
    for kind, topic in INTERNAL.items():
        expect_equal(configs(topic)["cleanup.policy"], "compact", f"cleanup.policy of {kind}")


def wrong_connector():
    try:
        WORKER.ask("PUT", "/connectors/wrong/config", {"connector.class": "no.such.Class"})
    except Refused as refused:
        return expect(refused.status in (400, 500), f"refused with {refused}")
    raise AssertionError("a connector of no class was accepted")


def source_to_sink():
    append(200)
    source = {"connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector",
              "tasks.max": "1", "file": SOURCE, "topic": TOPIC,
              "topic.creation.default.partitions": "1",
              "topic.creation.default.replication.factor": "1"}
    made = WORKER.rest("POST", "/connectors", {"name": "source", "config": source})
    expect_equal(made["config"]["topic"], TOPIC, "topic of the connector made")
    sink = {"connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector",
            "tasks.max": "2", "file": SINK, "topics": TOPIC,
            "consumer.override.auto.offset.reset": "earliest"}
    WORKER.rest("PUT", "/connectors/sink/config", sink)
    wait_sink()
    expect_equal(in_sink(), LINES, "lines in the sink")
    expect_equal(sorted(WORKER.rest("GET", "/connectors")), ["sink", "source"], "connectors")


def pause_and_resume():
    for name in ("source", "sink"):
        WORKER.rest("PUT", f"/connectors/{name}/pause")
        WORKER.wait_state(name, "PAUSED")
    append(50)
    WORKER.rest("PUT", "/connectors/sink/resume")
    WORKER.wait_state("sink", "RUNNING")
    expect_equal(len(in_sink()), len(LINES) - 50, "lines in the sink while the source pauses")
    WORKER.rest("PUT", "/connectors/source/resume")
    WORKER.wait_state("source", "RUNNING")
    wait_sink()
    expect_equal(in_sink(), LINES, "lines in the sink")


def restart_connector():
    for name in ("source", "sink"):
        WORKER.rest("POST", f"/connectors/{name}/restart?includeTasks=true&onlyFailed=false")
        WORKER.wait_state(name, "RUNNING")
    append(50)
    wait_sink()


def offsets():
    """A sink's offsets are its group's: they are read, and put back to the beginning."""
    end = len(LINES)

    def committed():
        found = WORKER.rest("GET", "/connectors/sink/offsets")["offsets"]
        return found and found[0]["offset"]["kafka_offset"] >= end
    wait_for(committed, SECONDS, f"the sink's offset {end}")
    position = os.path.getsize(SOURCE)
    wait_for(lambda: source_position() == position, SECONDS, f"the source's position {position}")
    WORKER.rest("PUT", "/connectors/sink/stop")
    WORKER.wait_state("sink", "STOPPED")
    wait_for(lambda: reset("sink"), SECONDS, "the sink's offsets deleted")
    os.remove(SINK)
    WORKER.rest("PUT", "/connectors/sink/resume")
    WORKER.wait_state("sink", "RUNNING")
    wait_sink()


def source_position():
    return WORKER.rest("GET", "/connectors/source/offsets")["offsets"][0]["offset"]["position"]


def reset(name):
    """Whether the offsets went; the group of a stopped sink may still have a member."""
    try:
        WORKER.ask("DELETE", f"/connectors/{name}/offsets")
        return True
    except Refused:
        return False


def worker_restart():
    WORKER.stop()
    append(50)
    WORKER.start()
    WORKER.wait_ready()
    wait_sink()
    expect_equal(in_topic_lines(), LINES, "lines in the topic after a clean restart")


def in_topic_lines():
    # The JSON converter's envelope around a string.
    prefix, suffix = '{"schema":{"type":"string","optional":false},"payload":"', '"}'
    return [text.removeprefix(prefix).removesuffix(suffix) for text in in_topic()]


def worker_killed():
    append(100)
    WORKER.kill()
    append(100)
    WORKER.start()
    WORKER.wait_ready()
    wait_sink()
    whole()


def whole():
    """Every line is in the topic: exactly once and in order, or at least once."""
    found = in_topic_lines()
    if OPTIONS.exactly_once:
        expect_equal(found, LINES, "lines in the topic")
    expect_equal(sorted(set(found)), sorted(LINES), "lines in the topic, each once")


def kills_done():
    with open(OPTIONS.kills_file, encoding="utf-8") as file:
        return len(file.readlines())


def broker_killed():
    if not OPTIONS.kills:
        raise Skip("no kill was asked for")
    for kill in range(1, OPTIONS.kills + 1):
        append(50)
        print("please kill-broker", flush=True)

        def killed(kill=kill):
            append(10)
            return kills_done() >= kill
        wait_for(killed, SECONDS, "the broker's restart")
        append(100)
        wait_sink()
    for name in ("source", "sink"):
        WORKER.wait_state(name, "RUNNING")
    whole()


def delete():
    for name in ("source", "sink"):
        WORKER.rest("DELETE", f"/connectors/{name}")
    wait_for(lambda: WORKER.rest("GET", "/connectors") == [], SECONDS, "no connector")
    WORKER.stop()


checks.run([
    ("worker_starts", start),
    ("internal_topics_compact", internal_topics),
    ("wrong_connector_is_refused", wrong_connector),
    ("source_to_sink", source_to_sink),
    ("pause_and_resume", pause_and_resume),
    ("restart_connector", restart_connector),
    ("offsets_read_and_reset", offsets),
    ("worker_restart", worker_restart),
    ("worker_killed", worker_killed),
    (f"broker_killed_{OPTIONS.kills}_times", broker_killed),
    ("delete_connectors", delete),
])
if WORKER.alive():
    WORKER.kill()
