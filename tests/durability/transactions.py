"""Transactions under kill -9: what committed is there once and whole, what aborted is nowhere.

Starts the broker it is given, lets transactional producers append to lists in several partitions
at once, kills the broker every few seconds, and at the end reads everything with read_committed:

    python transactions.py --broker target/release/corelane --seconds 30

Each transaction has a number of its own and puts one value into two or three partitions; a quarter
is aborted on purpose. A commit whose answer was lost may have happened or not, but wholly. Exit
code 1 and a line for each finding when something is lost, doubled, out of order or read uncommitted.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

TOPIC = "lists"
PARTITIONS = 4
PRODUCERS = 3
KILL_SECONDS = (2.0, 5.0)


class Broker:
    """The process, its folder and its port, which stays over restarts."""

    def __init__(self, binary):
        self.binary, self.folder, self.port = binary, tempfile.mkdtemp(prefix="corelane-txn-"), 0
        self.process = None

    def start(self):
        command = [self.binary, "start", "--data-dir", os.path.join(self.folder, "data"),
                   "--listen", f"127.0.0.1:{self.port}", "--admin-listen", "127.0.0.1:0",
                   "--override", "corelane.journal.bytes=67108864"]
        log = open(os.path.join(self.folder, "log"), "a")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        for line in self.process.stdout:
            if line.startswith("ready "):
                self.port = int(line.split("kafka=")[1].split()[0].rsplit(":", 1)[1])
                threading.Thread(target=self.process.stdout.read, daemon=True).start()
                return
        raise SystemExit(f"the broker did not start: see {log.name}")

    def end(self, number):
        self.process.send_signal(number)
        self.process.wait(timeout=60)


class Writer(threading.Thread):
    """One transactional producer; `outcomes` says of each transaction what is known of it."""

    def __init__(self, number, address, until, seed):
        super().__init__()
        self.number, self.address, self.until = number, address, until
        self.random = random.Random(seed * 100 + number)
        self.outcomes = []
        self.restarts = 0

    def open(self):
        while True:
            producer = Producer({"bootstrap.servers": self.address, "linger.ms": 0,
                                 "transactional.id": f"writer-{self.number}",
                                 "transaction.timeout.ms": 10000, "log_level": 0})
            try:
                producer.init_transactions(30)
                return producer
            except KafkaException:
                self.restarts += 1

    def run(self):
        producer, sequence = self.open(), 0
        while time.monotonic() < self.until:
            sequence += 1
            value = f"{self.number}:{sequence}".encode()
            parts = self.random.sample(range(PARTITIONS), self.random.choice((2, 3)))
            commit, decided = self.random.random() < 0.75, False
            outcome = "aborted"
            try:
                producer.begin_transaction()
                for part in parts:
                    producer.produce(TOPIC, value, partition=part)
                if commit:
                    outcome = "unknown"
                    producer.commit_transaction(30)
                    outcome = "committed"
                else:
                    producer.flush(20)
                    producer.abort_transaction(30)
                decided = True
            except KafkaException as error:
                cause = error.args[0]
                if cause.txn_requires_abort():
                    # The client knows that it did not commit.
                    try:
                        producer.abort_transaction(30)
                        outcome, decided = "aborted", True
                    except KafkaException:
                        pass
            self.outcomes.append((self.number, sequence, parts, outcome))
            if not decided:
                self.restarts += 1
                producer = self.open()
        # What is open now would hold readers up until it times out.
        self.open()


def read(address, isolation):
    consumer = Consumer({"bootstrap.servers": address, "group.id": "check",
                         "isolation.level": isolation, "enable.partition.eof": True,
                         "enable.auto.commit": False, "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(TOPIC, part, 0) for part in range(PARTITIONS)])
    lists, ended = defaultdict(list), set()
    deadline = time.monotonic() + 120
    while len(ended) < PARTITIONS and time.monotonic() < deadline:
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error():
            ended.add(message.partition())
            continue
        number, sequence = message.value().decode().split(":")
        lists[message.partition()].append((int(number), int(sequence)))
    consumer.close()
    return lists, len(ended) == PARTITIONS


def findings(outcomes, lists):
    counts = defaultdict(int)
    for part, values in lists.items():
        last = {}
        for number, sequence in values:
            counts[part, number, sequence] += 1
            if sequence < last.get(number, 0):
                yield f"partition {part}: {number}:{sequence} is behind {number}:{last[number]}"
            last[number] = sequence
    expected = set()
    for number, sequence, parts, outcome in outcomes:
        found = [counts[part, number, sequence] for part in parts]
        expected.update((part, number, sequence) for part in parts)
        name = f"transaction {number}:{sequence} in {parts} ({outcome})"
        if any(count > 1 for count in found):
            yield f"{name}: doubled: {found}"
        elif outcome == "committed" and 0 in found:
            yield f"{name}: lost: {found}"
        elif outcome == "aborted" and any(found):
            yield f"{name}: read although aborted: {found}"
        elif len(set(found)) > 1:
            yield f"{name}: in part: {found}"
    for place in set(counts) - expected:
        yield f"nobody wrote {place}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", required=True, help="path of the corelane binary")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    broker = Broker(options.broker)
    broker.start()
    address = f"127.0.0.1:{broker.port}"
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result(30)
    until = time.monotonic() + options.seconds
    writers = [Writer(n, address, until, options.seed) for n in range(PRODUCERS)]
    for writer in writers:
        writer.start()
    chance, kills = random.Random(options.seed), 0
    while time.monotonic() < until:
        time.sleep(min(chance.uniform(*KILL_SECONDS), max(0.1, until - time.monotonic())))
        broker.end(signal.SIGKILL)
        kills += 1
        broker.start()
    for writer in writers:
        writer.join(timeout=180)
    lists, whole = read(address, "read_committed")
    outcomes = [outcome for writer in writers for outcome in writer.outcomes]
    wrong = list(findings(outcomes, lists))
    if not whole:
        wrong.append("the end of a partition was not reached: a transaction hangs")
    if any(writer.is_alive() for writer in writers):
        wrong.append("a producer cannot go on")
    broker.end(signal.SIGTERM)
    told = defaultdict(int)
    for outcome in outcomes:
        told[outcome[3]] += 1
    restarts = sum(writer.restarts for writer in writers)
    print(f"{dict(told)} transactions, {kills} kills, {restarts} producers begun anew, "
          f"{sum(map(len, lists.values()))} records read")
    for line in wrong:
        print(line)
    if not wrong:
        shutil.rmtree(broker.folder)
    else:
        print(f"its data: {broker.folder}")
    sys.stdout.flush()
    os._exit(1 if wrong else 0)


main()
