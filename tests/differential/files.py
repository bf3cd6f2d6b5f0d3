"""What both brokers left on disk after a run of `run.py`, each read by the other's tool.

Run by `cargo xtask differential` when both have stopped. Kafka's `DumpLogSegments` and
`corelane log` read every segment and index of both; then the two brokers' logs of the same topic,
and what their `__consumer_offsets` say in the end, are compared. Prints `ok NAME` or
`not ok NAME: reason`. It sends no request: that is `run.py`.
"""

import argparse
import collections
import json
import pathlib
import re
import subprocess
import sys

DUMP = "org.apache.kafka.tools.DumpLogSegments"
# Below what Linux allows one argument (128 KiB).
FILES_BYTES_MAX = 100_000
TOOL_SECONDS = 120
COMPLAINTS = ("isvalid: false", "Mismatches in", "not found in", "invalid bytes",
              "Found timestamp", "Exception", "orrupt")
OFFSETS = "__consumer_offsets"


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kafka", required=True, type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("--corelane", required=True, type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("--binary", required=True, metavar="PATH", help="corelane")
    parser.add_argument("--libs", required=True, metavar="FOLDER", help="Kafka's jars")
    parser.add_argument("--logging", required=True, metavar="FILE", help="log4j's configuration")
    parser.add_argument("--topics", required=True, type=pathlib.Path, metavar="FILE",
                        help="names and ids, as run.py wrote them")
    return parser.parse_args()


class Failed(Exception):
    """A check did not hold."""


class Judge:
    """The files of both brokers, and both tools."""

    def __init__(self, options):
        self.options = options
        self.names = json.loads(options.topics.read_text())

    def partitions(self, kind):
        """{"topic-partition": folder}, of topics that both brokers have."""
        found = {}
        if kind == "kafka":
            for folder in sorted(self.options.kafka.iterdir()):
                if folder.is_dir() and folder.name.rpartition("-")[0] in self.names:
                    found[folder.name] = folder
        else:
            for name, topic_id in self.names.items():
                for folder in sorted((self.options.corelane / "topics" / topic_id).glob("*")):
                    found[f"{name}-{folder.name}"] = folder
        return found

    def files(self, kind, *extensions, only=None):
        return [path for name, folder in self.partitions(kind).items()
                if only is None or name.rpartition("-")[0] == only
                for path in sorted(folder.iterdir())
                if path.suffix[1:] in extensions and path.stat().st_size > 0]

    def kafka_dump(self, files, *options):
        """The lines of Kafka's tool on the files."""
        lines = []
        for chunk in chunks(files):
            command = ["java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                       f"-Dlog4j2.configurationFile={self.options.logging}", "-cp",
                       f"{self.options.libs}/*", DUMP, *options, "--files", ",".join(chunk)]
            lines += said(command)
        return lines

    def corelane_dump(self, files, *options):
        """The lines of Corelane's tool on the files."""
        command = [self.options.binary, "log", "dump", *options]
        return [line for chunk in chunks(files) for line in said(command + chunk)]


def chunks(files):
    chunk, size = [], 0
    for path in files:
        if chunk and size + len(str(path)) > FILES_BYTES_MAX:
            yield chunk
            chunk, size = [], 0
        chunk.append(str(path))
        size += len(str(path)) + 1
    if chunk:
        yield chunk


def said(command):
    done = subprocess.run(command, capture_output=True, timeout=TOOL_SECONDS, text=True,
                          errors="replace")
    if done.returncode != 0:
        raise Failed(f"{command[0]} ended with {done.returncode}: "
                     f"{(done.stderr or done.stdout)[-400:]}")
    return done.stdout.splitlines()


def same(left, right, of):
    """Two lists of lines are equal, or the first that is not is told."""
    for at, (one, other) in enumerate(zip(left, right)):
        if one != other:
            raise Failed(f"{of} {at}: Kafka's tool {one!r}, Corelane's {other!r}")
    if len(left) != len(right):
        raise Failed(f"{of}: {len(left)} by Kafka's tool, {len(right)} by Corelane's")
    if not left:
        raise Failed(f"no {of} at all")
    return len(left)


def intact(lines):
    for line in lines:
        if any(complaint in line for complaint in COMPLAINTS):
            raise Failed(line)


def kept(lines):
    return [line for line in lines if line.startswith(("| offset", "baseOffset"))]


def segments(judge, kind):
    """Every batch and record of the broker's segments, as either tool prints it."""
    files = judge.files(kind, "log")
    lines = judge.kafka_dump(files, "--deep-iteration")
    intact(lines)
    ours = judge.corelane_dump(files, "--records")
    return f"{same(kept(lines), kept(ours), 'lines')} lines of {len(files)} segments"


def indexes(judge, kind):
    """Both tools read the same entries; Kafka's finds them in the log they are of."""
    files = judge.files(kind, "index", "timeindex")
    lines = judge.kafka_dump(files)
    intact(lines)
    entries = [line for line in lines if line.startswith(("offset:", "timestamp:"))]
    ours = [line for line in judge.corelane_dump(files)
            if line.startswith(("offset:", "timestamp:"))]
    intact(judge.kafka_dump(files, "--index-sanity-check"))
    return f"{same(entries, ours, 'entries')} entries of {len(files)} indexes"


def verified(judge, kind):
    """`corelane log verify` finds nothing wrong, indexes included."""
    files = judge.files(kind, "log")
    command = [judge.options.binary, "log", "verify", "--strict"]
    for chunk in chunks(files):
        said(command + chunk)
    return f"{len(files)} segments"


def snapshots(judge, kind):
    """Kafka's tool reads the snapshots of idempotent producers."""
    files = judge.files(kind, "snapshot")
    lines = judge.kafka_dump(files)
    intact(lines)
    found = sum(line.startswith("producerId:") for line in lines)
    if files and not found:
        raise Failed(f"{len(files)} snapshots name no producer")
    return f"{found} producers of {len(files)} snapshots"


ENTRY = re.compile(r"version: 0 producerId: (\d+) firstOffset: (\d+) lastOffset: (\d+) "
                   r"lastStableOffset: (\d+)")


def aborted(judge, kind):
    """Both tools read the same `.txnindex` entries; each ends at a marker that aborts, and lies
    between its own ends."""
    files = judge.files(kind, "txnindex")
    entries = entries_of(judge.kafka_dump(files))
    count = same(entries, entries_of(judge.corelane_dump(files)), "aborted transactions")
    for entry in entries:
        first, last, stable = (int(number) for number in ENTRY.fullmatch(entry).groups()[1:])
        if not (first <= last and stable <= last + 1):
            raise Failed(f"{entry} ends before it begins")
    return f"{count} of {len(files)} indexes"


def entries_of(lines):
    return [line for line in lines if line.startswith("version: ")]


def same_aborted(judge):
    """The two brokers' indexes name the same aborted transactions of the same partitions; of the
    brokers' own, where other records lie between, as many."""
    found = {}
    for kind in ("kafka", "corelane"):
        folders = {str(folder): name for name, folder in judge.partitions(kind).items()}
        found[kind] = collections.defaultdict(list)
        files = [path for path in judge.files(kind, "txnindex") if str(path.parent) in folders]
        current, met = None, {}
        for line in judge.kafka_dump(files):
            if line.startswith("Dumping "):
                current, met = folders[str(pathlib.Path(line.removeprefix("Dumping ")).parent)], {}
            elif ENTRY.fullmatch(line):
                producer, *offsets = ENTRY.fullmatch(line).groups()
                # Each broker's own ids, by the order in which they come.
                known = (met.setdefault(producer, len(met)), *offsets)
                found[kind][current].append(known if not current.startswith("__") else known[:1])
    kafka, corelane = found["kafka"], found["corelane"]
    wrong = [name for name in sorted(set(kafka) | set(corelane)) if kafka[name] != corelane[name]]
    if wrong or not kafka:
        named = [(name, kafka[name][:3], corelane[name][:3]) for name in wrong[:2]]
        raise Failed(f"{len(wrong)} of {len(kafka)} partitions differ: {named}")
    return f"{sum(map(len, kafka.values()))} aborted transactions in {len(kafka)} partitions"


BATCH = re.compile(r"(\w+): (\S+)")


def written(judge, kind):
    """{partition: [batch]} of what was appended, as far as both brokers must agree on it."""
    found, current = collections.defaultdict(list), None
    folders = {str(folder): name for name, folder in judge.partitions(kind).items()
               if not name.startswith("__")}
    files = [path for path in judge.files(kind, "log") if str(path.parent) in folders]
    for line in judge.corelane_dump(files):
        if line.startswith("Dumping "):
            current = folders[str(pathlib.Path(line.removeprefix("Dumping ")).parent)]
        elif line.startswith("baseOffset"):
            batch = dict(BATCH.findall(line))
            # Where it stands in its file depends on the sizes before it.
            batch.pop("position")
            if batch["compresscodec"] != "none":
                # The bytes differ from one compressor to the next.
                batch.pop("size")
                batch.pop("crc")
            if batch.pop("LogAppendTime", None):
                # Each broker's own clock.
                batch.pop("crc", None)
            if int(batch["producerId"]) >= 0:
                # Each broker's own numbers.
                batch.pop("crc", None)
            found[current].append(batch)
    return found


def same_logs(judge):
    """The two brokers appended the same batches to the same topics."""
    kafka, corelane = written(judge, "kafka"), written(judge, "corelane")
    wrong, batches = [], 0
    for name in sorted(set(kafka) | set(corelane)):
        left, right = relabelled(kafka[name]), relabelled(corelane[name])
        batches += len(left)
        if left != right:
            at = next((n for n, (one, other) in enumerate(zip(left, right)) if one != other),
                      min(len(left), len(right)))
            wrong.append(f"{name}: {len(left)} and {len(right)} batches, the first that differs: "
                         f"Kafka {left[at:at + 1]}, Corelane {right[at:at + 1]}")
    for one in wrong:
        print(f"DIFFERENT {one}")
    if wrong or not batches:
        raise Failed(f"{len(wrong)} of {len(kafka)} partitions differ: {'; '.join(wrong[:1])}")
    return f"{batches} batches in {len(kafka)} partitions"


def relabelled(batches):
    """Producer ids by the order in which a partition met them; markers without their time, which
    is the coordinator's."""
    met, named = {}, []
    for one in batches:
        if one["producerId"] != "-1":
            one = {**one, "producerId": met.setdefault(one["producerId"], len(met))}
        if one["isControl"] == "true":
            one = {**one, "CreateTime": None}
        named.append(one)
    return named


# Clocks, and ids that each broker draws.
OWN = {"commitTimestamp", "expireTimestamp", "currentStateTimestamp", "topicId", "memberId",
       "leader", "clientId", "clientHost"}


def stripped(value):
    if isinstance(value, dict):
        return {key: stripped(one) for key, one in value.items() if key not in OWN}
    if isinstance(value, list):
        return sorted((stripped(one) for one in value), key=str)
    return value


NOBODYS_GROUP = {"protocolType": "", "generation": 0, "protocol": None, "members": []}

OFFSETS_LINE = re.compile(r"\| offset: .*? key: (\{.*\}) payload: (.*)$")
# The end of a transaction: what it decided of offsets is not looked at.
MARKER = " endTxnMarker: "
# Kinds of records that both write alike: offsets and classic groups. Those of consumer groups name
# members, epochs and hashes that each broker draws.
ALIKE = ("0", "1", "2")


def offsets_in_the_end(judge, kind):
    """{key: value} of `__consumer_offsets` by Kafka's own decoder, the last value of each key."""
    files = judge.files(kind, "log", only=OFFSETS)
    lines = judge.kafka_dump(files, "--offsets-decoder")
    intact(lines)
    state, unread = {}, [line for line in lines if line.startswith("| offset: ")
                         and MARKER not in line and not OFFSETS_LINE.match(line)]
    if unread:
        raise Failed(f"{kind}: undecodable: {unread[0][:300]}")
    for line in lines:
        found = OFFSETS_LINE.match(line)
        if found:
            key, value = found.groups()
            if str(json.loads(key).get("type")) not in ALIKE:
                continue
            if value in ("null", "<DELETE>"):
                state.pop(key, None)
            else:
                state[key] = stripped(json.loads(value))
    if not state:
        raise Failed(f"{kind}: nothing in {len(files)} segments")
    return state


def same_offsets(judge):
    """What a restart would find in `__consumer_offsets` is the same."""
    kafka = offsets_in_the_end(judge, "kafka")
    corelane = offsets_in_the_end(judge, "corelane")
    # A join that fails leaves an empty group behind in Kafka (docs/compatibility.md).
    kafka = {key: value for key, value in kafka.items()
             if key in corelane or value.get("data") != NOBODYS_GROUP}
    keys = sorted(set(kafka) | set(corelane))
    wrong = [key for key in keys if kafka.get(key) != corelane.get(key)]
    for key in wrong:
        print(f"DIFFERENT {key}: Kafka {str(kafka.get(key))[:300]}, "
              f"Corelane {str(corelane.get(key))[:300]}")
    if wrong:
        raise Failed(f"{len(wrong)} of {len(kafka)} keys differ, the first: {wrong[0]}")
    return f"{len(kafka)} keys"


def main():
    judge = Judge(arguments())
    checks = [(f"{kind}_{check.__name__}", lambda check=check, kind=kind: check(judge, kind))
              for kind in ("kafka", "corelane")
              for check in (segments, indexes, verified, snapshots, aborted)]
    checks += [("same_logs", lambda: same_logs(judge)),
               ("same_aborted", lambda: same_aborted(judge)),
               ("same_offsets", lambda: same_offsets(judge))]
    for name, check in checks:
        try:
            print(f"ok files/{name} ({check()})")
        except (Failed, subprocess.TimeoutExpired, ValueError, KeyError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            print(f"not ok files/{name}: {reason[:700]}")
        sys.stdout.flush()


main()
