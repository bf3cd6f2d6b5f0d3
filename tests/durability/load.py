"""The load of the durability suite and its verdict: what was acknowledged, and what is there.

`produce` runs idempotent producers with acks=all until SIGTERM, then flushes, and writes one line
per acknowledged record: producer, partition, sequence, offset. `verify` reads the topic back.
cargo xtask test --only durability starts both and kills the broker in between.
"""

import argparse
import os
import signal
import sys
import time
from collections import defaultdict

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

TOPIC = "durability"
PARTITIONS = 8
PRODUCERS = 3
# Records a producer may have on the way: bounds memory while the broker is away.
IN_FLIGHT_MAX = 2000
# Reading back ends without the log's end when nothing came for so long.
SILENCE_SECONDS_MAX = 60


def payload(producer, partition, sequence):
    """Content that names itself, of sizes from a few bytes to a few KiB."""
    name = f"{producer}:{partition}:{sequence}:".encode()
    size = (sequence * 7919 + partition * 104729) % 3000
    return name + bytes([sequence % 251]) * size


def create_topic(bootstrap, config):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    future = admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1, config=config)])[TOPIC]
    try:
        future.result(timeout=30)
    except Exception as error:  # the answer may have been lost with a killed broker
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


class Load:
    """One idempotent producer over all partitions."""

    def __init__(self, name, bootstrap, acks):
        self.name, self.acks = name, acks
        self.sequence = [0] * PARTITIONS
        self.in_flight = 0
        self.failed = []
        codec = ["none", "lz4", "zstd"][name % 3]
        self.producer = Producer({
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 2,
            "compression.type": codec,
            "message.timeout.ms": 300000,
            "retry.backoff.ms": 20,
            "retry.backoff.max.ms": 200,
            "reconnect.backoff.ms": 10,
            "reconnect.backoff.max.ms": 100,
            "socket.timeout.ms": 10000,
        })

    def send(self):
        partition = sum(self.sequence) % PARTITIONS
        sequence = self.sequence[partition]
        if self.in_flight >= IN_FLIGHT_MAX:
            return False

        def delivered(error, message):
            self.in_flight -= 1
            if error is not None:
                self.failed.append(f"{self.name} {partition} {sequence}: {error}")
            else:
                self.acks.write(f"{self.name} {partition} {sequence} {message.offset()}\n")

        self.producer.produce(
            TOPIC, payload(self.name, partition, sequence), partition=partition,
            on_delivery=delivered,
        )
        self.sequence[partition] += 1
        self.in_flight += 1
        return True


def produce(bootstrap, path, config):
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    create_topic(bootstrap, config)
    with open(path, "w", buffering=1) as acks:
        loads = [Load(name, bootstrap, acks) for name in range(PRODUCERS)]
        while not stopping:
            for load in loads:
                for _ in range(20):
                    if not load.send():
                        break
                load.producer.poll(0)
            time.sleep(0.005)
        left = sum(load.producer.flush(60) for load in loads)
        failures = [failure for load in loads for failure in load.failed]
    for failure in failures[:10]:
        print("failed:", failure, file=sys.stderr)
    print(f"{left} left, {len(failures)} failed", file=sys.stderr)
    # No consumer of this process is left to close; librdkafka's threads need no farewell.
    os._exit(1 if left or failures else 0)


def read_acks(path):
    """(partition, offset) -> (producer, sequence), and the number of lines."""
    acked, lines = {}, 0
    with open(path) as file:
        for line in file:
            producer, partition, sequence, offset = map(int, line.split())
            acked[(partition, offset)] = (producer, sequence)
            lines += 1
    return acked, lines


def read_topic(bootstrap, take):
    """Gives every record of the topic to `take`; whether it was read to its end, and the count."""
    consumer = Consumer({
        "bootstrap.servers": bootstrap,
        "group.id": "durability-verify",
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "enable.partition.eof": True,
        "check.crcs": True,
    })
    consumer.assign([TopicPartition(TOPIC, partition, 0) for partition in range(PARTITIONS)])
    ended, count, heard = set(), 0, time.monotonic()
    while len(ended) < PARTITIONS and time.monotonic() < heard + SILENCE_SECONDS_MAX:
        before = count
        for message in consumer.consume(5000, timeout=0.5):
            if message.error() is None:
                take(message.partition(), message.offset(), message.value())
                count += 1
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
            else:
                print(f"consumer: {message.error()}")
        heard = time.monotonic() if count > before else heard
    consumer.close()
    return len(ended) == PARTITIONS, count


def check(name, wrong):
    if wrong:
        print(f"not ok {name}: {len(wrong)} wrong, first {wrong[:3]}")
    else:
        print(f"ok {name}")


def verify(bootstrap, path, _config):
    acked, lines = read_acks(path)
    there, seen, next_offset, last = {}, defaultdict(int), defaultdict(int), {}
    invented, sparse, disordered = [], [], []

    # Judged as it comes: a long load's values do not fit into memory.
    def take(partition, offset, value):
        producer, named_partition, sequence = map(int, value.split(b":", 3)[:3])
        if named_partition != partition or value != payload(producer, partition, sequence):
            invented.append((partition, offset, value[:40]))
        if offset != next_offset[partition]:
            sparse.append((partition, next_offset[partition], offset))
        next_offset[partition] = offset + 1
        if sequence != last.get((producer, partition), -1) + 1:
            disordered.append((producer, partition, last.get((producer, partition), -1), sequence))
        last[(producer, partition)] = sequence
        there[(partition, offset)] = (producer, sequence)
        seen[(producer, partition, sequence)] += 1

    complete, count = read_topic(bootstrap, take)
    print(f"{lines} records acked, {count} in the log")
    check("the log was read to its end", [] if complete else ["nothing came any more"])
    check("no two acks share an offset", [] if len(acked) == lines else [f"{lines} acks"])

    # The load ends with everything acknowledged, so that the log holds the acks and nothing else.
    check("every acked record is at its offset",
          [(key, name) for key, name in acked.items() if there.get(key) != name])
    check("no record is there twice", [name for name, count in seen.items() if count > 1])
    check("each producer's records are in order", disordered)
    check("nothing was invented or damaged", invented)
    check("nothing unacknowledged is there", [key for key in there if key not in acked])
    check("offsets are dense", sparse)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=["produce", "verify"])
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--acks", required=True)
    parser.add_argument("--config", nargs="*", default=[], help="key=value of the topic")
    options = parser.parse_args()
    config = dict(pair.split("=", 1) for pair in options.config)
    {"produce": produce, "verify": verify}[options.task](options.bootstrap, options.acks, config)


main()
