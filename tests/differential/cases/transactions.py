"""Transactions: producers, partitions, offsets and ends, and what operators see of them.

What a transaction does to the logs of its partitions is in `produce.py` and `fetch.py`.
"""

from batches import TRANSACTIONAL, batch
from cases import case

UNKNOWN_PRODUCER = 9_000_000_000
# Not now: the broker makes its topic, loads, or is still writing the last end.
AGAIN = (14, 15, 16, 51)


class Transaction:
    """A transactional id and its producer; `v` of each API is the case's, as far as it goes."""

    def __init__(self, b, v, suffix="tx"):
        self.b, self.v, self.id = b, v, b.name(suffix)
        self.producer, self.epoch = -1, -1

        def found():
            answer = b.quiet("FindCoordinator", 3, {"Key": self.id, "KeyType": 1})
            if answer.get("ErrorCode") != 0:
                return False
            # It is found before it has loaded.
            states = b.quiet("DescribeTransactions", 0, {"TransactionalIds": [self.id]})
            return states["TransactionStates"][0]["ErrorCode"] not in AGAIN
        b.until("a transaction coordinator", found)

    def version(self, api, top=None):
        served = self.b.served[api]
        return min(self.v, served[-1] if top is None else top)

    def begin(self, timeout=60_000):
        """Becomes the id's producer, quietly."""
        def initialized():
            answer = self.init_quietly(timeout)
            if answer.get("ErrorCode") in AGAIN:
                return False
            assert answer.get("ErrorCode") == 0, f"{self.b.kind}: {answer}"
            self.producer, self.epoch = answer["ProducerId"], answer["ProducerEpoch"]
            return True
        self.b.until("a producer", initialized)
        return self

    def init_quietly(self, timeout=60_000):
        return self.b.quiet("InitProducerId", 4, {
            "TransactionalId": self.id, "TransactionTimeoutMs": timeout})

    def init(self, note, v=None, **fields):
        return self.b.call("InitProducerId", self.version("InitProducerId") if v is None else v, {
            "TransactionalId": self.id, "TransactionTimeoutMs": 60_000, **fields}, note=note)

    def named(self, **fields):
        return {"TransactionalId": self.id, "ProducerId": self.producer,
                "ProducerEpoch": self.epoch, **fields}

    def add(self, note, *topics, v=None, quiet=False, **fields):
        """`topics`: (name, partitions) each. Up to version 3, a client's."""
        named = self.named(**fields)
        v = self.version("AddPartitionsToTxn", 3) if v is None else v
        value = {f"V3AndBelow{key}": one for key, one in named.items()}
        value["V3AndBelowTopics"] = [{"Name": name, "Partitions": list(parts)}
                                     for name, parts in topics]
        ask = self.b.quiet if quiet else self.b.call
        return ask("AddPartitionsToTxn", v, value, note=note)

    def add_until(self, *topics):
        """Adds, quietly, once the end of the last transaction is written."""
        def added():
            answer = self.add("", *topics, v=3, quiet=True)
            codes = {one["PartitionErrorCode"] for topic in answer["ResultsByTopicV3AndBelow"]
                     for one in topic["ResultsByPartition"]}
            assert codes <= {0, *AGAIN}, f"{self.b.kind}: {answer}"
            return codes == {0}
        self.b.until("partitions in the transaction", added)

    def batched(self, note, *transactions, v=None):
        """`transactions`: (fields, verify only, topics) each. From version 4, a broker's."""
        return self.b.call("AddPartitionsToTxn", v or max(self.v, 4), {"Transactions": [
            {**self.named(**fields), "VerifyOnly": verify,
             "Topics": [{"Name": name, "Partitions": list(parts)} for name, parts in topics]}
            for fields, verify, topics in transactions]}, note=note)

    def add_offsets(self, note, group, **fields):
        return self.b.call("AddOffsetsToTxn", self.version("AddOffsetsToTxn"), {
            **self.named(**fields), "GroupId": group}, note=note)

    def commit_offsets(self, note, group, *parts, v=None, topic=None, **fields):
        v = self.version("TxnOffsetCommit") if v is None else v
        return self.b.call("TxnOffsetCommit", v, {
            **self.named(), "GroupId": group, "GenerationId": -1, "MemberId": "",
            "GroupInstanceId": None, "Topics": [{"Name": topic or self.b.name(), "Partitions": [
                {"PartitionIndex": index, "CommittedOffset": offset, "CommittedLeaderEpoch": -1,
                 "CommittedMetadata": "m"} for index, offset in parts]}], **fields}, note=note)

    def end(self, note, commit, v=None, follow=True, **fields):
        """Ends the transaction; goes on with the epoch of the answer if it has one."""
        v = self.version("EndTxn") if v is None else v
        answer = self.b.call("EndTxn", v, {**self.named(**fields), "Committed": commit}, note=note)
        if follow and v >= 5 and answer.get("ErrorCode") == 0:
            self.producer, self.epoch = answer["ProducerId"], answer["ProducerEpoch"]
        return answer

    def settle(self):
        """Waits until no marker is on its way."""
        def settled():
            answer = self.b.quiet("DescribeTransactions", 0, {"TransactionalIds": [self.id]})
            return not answer["TransactionStates"][0]["TransactionState"].startswith("Prepare")
        self.b.until("the end of a transaction", settled)

    def describe(self, note):
        self.settle()
        answer = self.b.quiet("DescribeTransactions", 0, {"TransactionalIds": [self.id]})
        # Kafka keeps them in a hash set.
        for state in answer.get("TransactionStates", ()):
            for topic in state["Topics"]:
                topic["Partitions"].sort()
        self.b.note("DescribeTransactions", 0, note, answer)


@case("FindCoordinator", versions="all")
def transaction_coordinators(b, v):
    Transaction(b, v)
    for key in (b.name(), "", "x" * 300):
        b.call("FindCoordinator", v, {"Key": key, "KeyType": 1, "CoordinatorKeys": [key]},
               note=f"of {len(key)} characters")


@case("InitProducerId", versions="all")
def transactional_producers(b, v):
    name = b.topic()
    tx = Transaction(b, v).begin()
    tx.init("another producer")
    tx.init("no time", TransactionTimeoutMs=0)
    tx.init("negative time", TransactionTimeoutMs=-1)
    tx.init("the longest time", TransactionTimeoutMs=900_000)
    tx.init("too long", TransactionTimeoutMs=900_001)
    tx.init("no id", TransactionalId="")
    if v >= 3:
        tx.init("an id without an epoch", ProducerId=tx.producer)
        tx.init("an epoch without an id", ProducerEpoch=0)
    tx.begin()
    tx.add_until((name, [0]))
    tx.init("with an open transaction")
    tx.settle()
    tx.describe("it was aborted")
    tx.init("once more")
    tx.add("the one that was shut out", (name, [0]))
    tx.end("the one that was shut out", True)


@case("InitProducerId", versions=[3, 4, 5])
def producers_that_go_on(b, v):
    tx = Transaction(b, v).begin()

    def ask(note, producer, epoch):
        return tx.init(note, ProducerId=producer, ProducerEpoch=epoch)
    ask("its own", tx.producer, tx.epoch)
    ask("the one before", tx.producer, tx.epoch)
    ask("its own again", tx.producer, tx.epoch + 1)
    ask("two before", tx.producer, tx.epoch)
    ask("of the future", tx.producer, tx.epoch + 7)
    ask("negative", tx.producer, -3)
    ask("another producer's", tx.producer + UNKNOWN_PRODUCER, tx.epoch)
    fresh = Transaction(b, v, "fresh")
    fresh.init("nobody's", ProducerId=UNKNOWN_PRODUCER, ProducerEpoch=4)


@case("AddPartitionsToTxn", versions=[0, 1, 2, 3])
def partitions_of_clients(b, v):
    name, other = b.topic(partitions=3), b.topic("other")
    tx = Transaction(b, v)
    tx.add("an id that nobody knows", (name, [0]), ProducerId=1, ProducerEpoch=0)
    tx.begin()
    tx.add("two", (name, [0, 1]))
    tx.add("one of them again", (name, [1]))
    tx.add("of two topics", (name, [2]), (other, [0]))
    tx.describe("ongoing")
    tx.add("one unknown", (name, [0, 9]))
    tx.add("an unknown topic", (b.name("unknown"), [0]), (name, [0]))
    tx.add("another epoch", (name, [0]), ProducerEpoch=tx.epoch + 1)
    tx.add("another producer", (name, [0]), ProducerId=tx.producer + UNKNOWN_PRODUCER)
    tx.add("no id", (name, [0]), TransactionalId="")
    tx.add("nothing")
    tx.add("no partitions", (name, []))


@case("AddPartitionsToTxn", versions=[4, 5])
def partitions_of_brokers(b, v):
    name = b.topic(partitions=3)
    tx = Transaction(b, v).begin()
    topics = [(name, [0, 1])]
    tx.batched("verify before", ({}, True, topics))
    tx.batched("add", ({}, False, [(name, [0])]))
    tx.batched("verify", ({}, True, topics))
    tx.batched("another epoch", ({"ProducerEpoch": tx.epoch + 1}, True, topics))
    tx.batched("another producer", ({"ProducerId": UNKNOWN_PRODUCER}, True, topics))
    tx.batched("an id that nobody knows", ({"TransactionalId": b.name("none")}, True, topics))
    tx.batched("no id", ({"TransactionalId": ""}, True, topics))
    tx.batched("unknown partition", ({}, True, [(name, [0, 9])]))
    tx.batched("unknown partition added", ({}, False, [(name, [0, 9])]))
    tx.describe("ongoing")


@case("AddOffsetsToTxn", versions="all")
def groups_in_transactions(b, v):
    tx = Transaction(b, v)
    tx.add_offsets("an id that nobody knows", b.name("g"), ProducerId=1, ProducerEpoch=0)
    tx.begin()
    tx.add_offsets("a group", "warm-up")
    tx.add_offsets("again", "warm-up")
    tx.describe("ongoing")
    tx.add_offsets("no group", "")
    tx.add_offsets("another epoch", "warm-up", ProducerEpoch=tx.epoch + 1)
    tx.add_offsets("another producer", "warm-up", ProducerId=UNKNOWN_PRODUCER)
    tx.add_offsets("no id", "warm-up", TransactionalId="")
    tx.end("abort", False)
    tx.settle()


@case("EndTxn", versions="all")
def ends(b, v):
    name = b.topic(partitions=2)
    tx = Transaction(b, v)
    tx.end("an id that nobody knows", True, ProducerId=1, ProducerEpoch=0)
    tx.begin()
    tx.end("no id", True, TransactionalId="")
    tx.end("commit of nothing", True)
    tx.end("abort of nothing", False)
    tx.settle()
    for commit in (True, False):
        what = "commit" if commit else "abort"
        tx.begin()
        tx.add_until((name, [0, 1]))
        tx.end(f"{what}: another producer", commit, ProducerId=UNKNOWN_PRODUCER)
        tx.end(f"{what}: an epoch above", commit, ProducerEpoch=tx.epoch + 1)
        tx.end(f"{what}: an epoch below", commit, ProducerEpoch=tx.epoch - 1)
        before = tx.epoch
        tx.end(what, commit)
        tx.describe(f"{what}: complete")
        tx.end(f"{what}: again", commit, follow=False, ProducerEpoch=before)
        tx.end(f"{what}: the opposite", not commit, follow=False, ProducerEpoch=before)
        tx.end(f"{what}: of the next that was not begun", commit)
        tx.settle()
        tx.end(f"{what}: the opposite of the next", not commit)
        tx.settle()
        tx.describe(f"{what}: in the end")


@case("EndTxn", versions=[2, 5])
def ends_of_transactions_without_time(b, v):
    """The sweep is every ten seconds unless the brokers were started with another interval."""
    if getattr(b, "quick_form", False):
        return
    name = b.topic()
    tx = Transaction(b, v).begin(timeout=1)
    tx.add_until((name, [0]))

    def over():
        answer = b.quiet("DescribeTransactions", 0, {"TransactionalIds": [tx.id]})
        return answer["TransactionStates"][0]["TransactionState"] == "CompleteAbort"
    b.until("the abort", over, seconds=40)
    tx.describe("its time was up")
    tx.end("commit", True)
    tx.end("abort", False)
    tx.settle()


@case("TxnOffsetCommit", versions="all")
def offsets_in_transactions(b, v):
    name, group = b.topic(partitions=3), b.name("group")
    tx = Transaction(b, v).begin()

    def fetch(note, stable):
        b.call("OffsetFetch", 7, {"GroupId": group, "RequireStable": stable, "Topics": [
            {"Name": name, "PartitionIndexes": [0, 1]}]}, note=note)
    b.until("the group", lambda: b.quiet("OffsetFetch", 7, {
        "GroupId": group, "Topics": None, "RequireStable": False}).get("ErrorCode") == 0)
    tx.commit_offsets("not in the transaction", group, (2, 1), v=min(v, 4))
    for commit in (True, False):
        what = "commit" if commit else "abort"
        tx.begin()
        answer = b.quiet("AddOffsetsToTxn", 3, {**tx.named(), "GroupId": group})
        assert answer["ErrorCode"] == 0, f"{b.kind}: {answer}"
        tx.commit_offsets(f"{what}: two", group, (0, 5), (1, 6))
        fetch(f"{what}: pending", False)
        fetch(f"{what}: pending, stable", True)
        tx.commit_offsets(f"{what}: unknown partition", group, (0, 7), (9, 1))
        tx.commit_offsets(f"{what}: unknown topic", group, (0, 1), topic=b.name("unknown"))
        tx.commit_offsets(f"{what}: another epoch", group, (0, 1), ProducerEpoch=tx.epoch + 1)
        tx.commit_offsets(f"{what}: an old epoch", group, (0, 1), ProducerEpoch=tx.epoch - 1)
        tx.commit_offsets(f"{what}: another producer", group, (0, 1), ProducerId=UNKNOWN_PRODUCER)
        tx.commit_offsets(f"{what}: no group", "", (0, 1))
        tx.commit_offsets(f"{what}: a generation", group, (0, 1),
                          **({"GenerationId": 3, "MemberId": "m"} if v >= 3 else {}))
        tx.end(what, commit)
        tx.settle()
        fetch(f"{what}: done", False)
        fetch(f"{what}: done, stable", True)


@case("TxnOffsetCommit", versions="all")
def offsets_of_producers_that_the_group_knows(b, v):
    """By a producer of an epoch, of some transactional id, to a group whose log knows the producer
    at the same or a newer epoch, with and without a transaction there."""
    name, group = b.topic(partitions=2), b.name("group")
    tx, other = Transaction(b, v).begin(), Transaction(b, v, "other").begin()
    b.until("the group", lambda: b.quiet("OffsetFetch", 7, {
        "GroupId": group, "Topics": None, "RequireStable": False}).get("ErrorCode") == 0)

    def asked(what):
        for epoch in (-1, 0, tx.epoch - 1, tx.epoch, tx.epoch + 1):
            for note, more in (("", {}), ("of another id, ", {"TransactionalId": other.id}),
                               ("of an unknown id, ", {"TransactionalId": b.name("nobody")}),
                               ("of no id, ", {"TransactionalId": ""})):
                # In an open transaction of its own it would be taken, and stay.
                if more or epoch != tx.epoch:
                    tx.commit_offsets(f"{what}: {note}epoch {epoch - tx.epoch:+}", group, (0, 1),
                                      ProducerEpoch=epoch, **more)
        tx.commit_offsets(f"{what}: an unknown topic", group, (0, 1), topic=b.name("unknown"),
                          ProducerEpoch=tx.epoch - 1)
        tx.commit_offsets(f"{what}: no group", "", (0, 1), ProducerEpoch=tx.epoch - 1)
        tx.commit_offsets(f"{what}: a generation", group, (0, 1), ProducerEpoch=tx.epoch - 1,
                          **({"GenerationId": 3, "MemberId": "m"} if v >= 3 else {}))
    for _ in range(3):
        tx.begin()
    asked("never heard of")
    for commit in (True, False):
        answer = b.quiet("AddOffsetsToTxn", 3, {**tx.named(), "GroupId": group})
        assert answer["ErrorCode"] == 0, f"{b.kind}: {answer}"
        tx.commit_offsets("its own", group, (0, 5))
        asked("open")
        tx.end("ends", commit)
        tx.settle()
        asked("ended")
        tx.begin()
        asked("a newer producer that the log has not seen")


def marked(b, v, note, *markers):
    """`markers`: (producer, epoch, commit, coordinator's epoch, version, topics) each. Kafka never
    answers one that names a partition twice, or none beside others."""
    b.call("WriteTxnMarkers", v, {"Markers": [
        {"ProducerId": producer, "ProducerEpoch": epoch, "TransactionResult": commit,
         "CoordinatorEpoch": coordinator, "TransactionVersion": version,
         "Topics": [{"Name": name, "PartitionIndexes": list(parts)} for name, parts in topics]}
        for producer, epoch, commit, coordinator, version, topics in markers]}, note=note)


@case("WriteTxnMarkers", versions="all")
def markers_of_clients(b, v):
    name, other = b.topic(partitions=4), b.topic("other")
    first = UNKNOWN_PRODUCER

    def written(note):
        for isolation in (0, 1):
            b.call("ListOffsets", 7, {"ReplicaId": -1, "IsolationLevel": isolation, "Topics": [
                {"Name": topic, "Partitions": [
                    {"PartitionIndex": index, "CurrentLeaderEpoch": -1, "Timestamp": -1}
                    for index in parts]} for topic, parts in ((name, range(4)), (other, [0]))]},
                   note=f"{note}: ends")
        b.call("DescribeProducers", 0, {"Topics": [
            {"Name": name, "PartitionIndexes": [0, 1, 2, 3]},
            {"Name": other, "PartitionIndexes": [0]}]}, note=f"{note}: producers")

    def mark(note, *markers):
        marked(b, v, note, *markers)
    mark("nothing")
    mark("no topic", (first + 0, 0, True, 0, 0, []))
    mark("no partition", (first + 0, 0, True, 0, 0, [(name, [])]))
    mark("an unknown topic", (first + 0, 0, True, 0, 0, [(b.name("unknown"), [0])]))
    mark("no topic's name", (first + 0, 0, True, 0, 0, [("", [0])]))
    mark("unknown partitions", (first + 0, 0, True, 0, 0, [(name, [0, 9, -1])]))
    mark("a producer that nobody knows", (first + 1, 3, True, 0, 0, [(name, [1, 2]), (other, [0])]))
    mark("the same again", (first + 1, 3, True, 0, 0, [(name, [1, 2]), (other, [0])]))
    written("nothing was open")
    mark("an older epoch", (first + 1, 2, False, 0, 0, [(name, [1])]))
    mark("a newer epoch", (first + 1, 4, False, 0, 0, [(name, [1])]))
    mark("a newer coordinator", (first + 1, 4, False, 5, 0, [(name, [1])]))
    mark("an older coordinator", (first + 1, 4, False, 4, 0, [(name, [1, 2])]))
    mark("a coordinator of no epoch", (first + 1, 4, False, -1, 0, [(name, [1, 3])]))
    mark("both old", (first + 1, 0, False, -1, 0, [(name, [1])]))
    mark("a producer twice", (first + 3, 0, True, 0, 0, [(name, [0])]),
         (first + 3, 1, False, 0, 0, [(name, [3])]))
    mark("a producer twice in one place", (first + 4, 0, True, 0, 0, [(name, [0])]),
         (first + 4, 1, False, 0, 0, [(name, [0])]))
    mark("several, one of them wrong", (first + 5, 0, True, 0, 0, [(name, [0])]),
         (first + 1, 0, True, 0, 0, [(name, [1, 9])]))
    mark("nobody's", (-1, 0, True, 0, 0, [(name, [0])]))
    mark("no epoch", (first + 7, -1, True, 0, 0, [(name, [0])]))
    mark("the last epoch", (first + 8, 32767, True, 0, 0, [(name, [0])]))
    if v >= 2:
        for version in (1, 2, 3, 127, -1):
            mark(f"version {version}", (first + 9, 0, True, 0, version, [(name, [0])]))
    written("in the end")


@case("WriteTxnMarkers", versions="all")
def markers_of_open_transactions(b, v):
    name = b.topic(partitions=3)
    tx = Transaction(b, 3).begin()
    tx.add_until((name, [0, 1, 2]))

    def produce(note, index, sequence, epoch):
        b.call("Produce", 9, {"TransactionalId": tx.id, "Acks": -1, "TimeoutMs": 9000,
                              "TopicData": [{"Name": name, "PartitionData": [
                                  {"Index": index, "Records": batch(
                                      at=b.base_ms, producer=tx.producer, epoch=epoch,
                                      sequence=sequence, attributes=TRANSACTIONAL)}]}]},
               note=note)

    def stable(note):
        b.call("ListOffsets", 7, {"ReplicaId": -1, "IsolationLevel": 1, "Topics": [
            {"Name": name, "Partitions": [
                {"PartitionIndex": index, "CurrentLeaderEpoch": -1, "Timestamp": -1}
                for index in range(3)]}]}, note=note)

    def mark(note, epoch, commit, index, version=0):
        marked(b, v, note, (tx.producer, epoch, commit, 0, version, [(name, [index])]))
    for index in range(3):
        produce(f"to {index}", index, 0, tx.epoch)
    stable("open")
    mark("an older epoch", tx.epoch - 1, False, 0)
    mark("abort", tx.epoch, False, 0)
    mark("its own epoch, as of version 2", tx.epoch, False, 1, 2)
    mark("the next epoch, as of version 2", tx.epoch + 1, False, 1, 2)
    stable("two of three")
    produce("after the abort", 0, 1, tx.epoch)
    produce("after the abort that bumped", 1, 1, tx.epoch)
    produce("where it is open", 2, 1, tx.epoch)
    # Its epoch is too old for partition 1, of which Kafka's coordinator never hears the end: only
    # another producer of the id gets an epoch that every partition takes.
    tx.begin()
    tx.settle()
    stable("all")
    b.call("DescribeProducers", 0, {"Topics": [
        {"Name": name, "PartitionIndexes": [0, 1, 2]}]}, note="producers")


@case("DescribeTransactions")
def described(b):
    name = b.topic(partitions=2)
    tx = Transaction(b, 3).begin()
    tx.describe("empty")
    tx.add_until((name, [1, 0]))
    tx.describe("ongoing")
    b.call("DescribeTransactions", 0, {"TransactionalIds": []}, note="none")
    b.call("DescribeTransactions", 0, {"TransactionalIds": [b.name("none")]}, note="unknown")
    b.call("DescribeTransactions", 0, {"TransactionalIds": [""]}, note="no name")
    tx.end("commit", True)
    tx.describe("committed")


@case("ListTransactions", versions="all")
def listed(b, v):
    name = b.topic()
    tx = Transaction(b, 3).begin()
    other = Transaction(b, 3, "other").begin()
    other.add_until((name, [0]))

    def ask(note, **fields):
        answer = b.quiet("ListTransactions", v, {
            "StateFilters": [], "ProducerIdFilters": [], "DurationFilter": -1,
            "TransactionalIdPattern": None, **fields})
        # Other cases leave theirs.
        ours = [one for one in answer.get("TransactionStates", ())
                if one["TransactionalId"].startswith(b.name())]
        b.note("ListTransactions", v, note, {**answer, "TransactionStates": ours})
    ask("all")
    ask("ongoing", StateFilters=["Ongoing"])
    ask("two states", StateFilters=["Ongoing", "Empty"])
    ask("lower case", StateFilters=["ongoing"])
    ask("unknown states", StateFilters=["Odd", "Dead", "PrepareEpochFence", "Odd", ""])
    ask("a producer", ProducerIdFilters=[tx.producer])
    ask("an unknown producer", ProducerIdFilters=[UNKNOWN_PRODUCER])
    ask("a producer and a state", ProducerIdFilters=[tx.producer], StateFilters=["Ongoing"])
    if v >= 1:
        ask("of an hour", DurationFilter=3_600_000)
        ask("of no time", DurationFilter=0)
        ask("negative time", DurationFilter=-5)
    if v >= 2:
        ask("by pattern", TransactionalIdPattern=".*other")
        ask("part of the name", TransactionalIdPattern="other")
        ask("empty pattern", TransactionalIdPattern="")
        b.call("ListTransactions", v, {
            "StateFilters": [], "ProducerIdFilters": [], "DurationFilter": -1,
            "TransactionalIdPattern": "("}, note="no pattern")
    other.end("abort", False)
    other.settle()
