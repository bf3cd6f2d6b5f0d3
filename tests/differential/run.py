"""Sends the same requests to Apache Kafka and to Corelane and shows every difference.

Run by `cargo xtask differential`, which starts both brokers. Prints `ok NAME` or
`not ok NAME: reason` per API, as the programs of `tests/conformance` do.
"""

import argparse
import collections
import importlib
import json
import os
import pathlib
import pkgutil
import re
import sys
import threading
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import cases
import compare
from allowed import ALLOWED
from broker import Broker
from schema import Schemas

CASE_SECONDS = 180
SHOWN_PER_CASE = 6
# Cases of a run in which Kafka may answer the same requests in two ways.
WAVERING_MAX = 3
# What is counted beside the verdicts.
FIELDS, UNLIKE = "fields", "fields that differ"


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kafka", required=True, metavar="HOST:PORT")
    parser.add_argument("--corelane", required=True, metavar="HOST:PORT")
    parser.add_argument("--libs", required=True, metavar="FOLDER", help="Kafka's jars")
    parser.add_argument("--only", action="append", default=[], metavar="API|CASE")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--folders", type=int, default=1, help="data folders of each broker")
    parser.add_argument("--docs", type=pathlib.Path, help="the page whose table is to be written")
    parser.add_argument("--topics", type=pathlib.Path, metavar="FILE",
                        help="where to write the names and ids of what was left, for files.py")
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_args()


class Judged:
    """One compared request, and in which fields its answers differ."""

    def __init__(self, step, verdict, found, fields):
        self.api, self.value = step.api, step.value
        self.what = f"{step.api} v{step.version} {step.note}"
        self.verdict, self.found, self.fields = verdict, found, fields
        self.unexplained = [one for one in found if not one.allowed]


class Session:
    """A run: both brokers, and what was counted so far."""

    def __init__(self, options):
        self.options = options
        schemas = Schemas(options.libs)
        base_ms = int(time.time() * 1000) - 60_000
        self.brokers = [Broker("Kafka", options.kafka, schemas, base_ms),
                        Broker("Corelane", options.corelane, schemas, base_ms)]
        for broker in self.brokers:
            broker.seed, broker.quick_form = options.seed, options.quick
        self.comparison = compare.Comparison(*self.brokers)
        self.counts = collections.defaultdict(collections.Counter)
        self.differences = collections.defaultdict(list)
        self.used = collections.Counter()
        self.used_by = collections.defaultdict(set)
        self.versions = {}
        self.wavering = []

    def prepare(self):
        """Both brokers serve, and coordinate groups; learns the versions that both serve."""
        for broker in self.brokers:
            broker.begin("warm-up")
            def coordinates(broker=broker):
                answer = broker.quiet("OffsetFetch", 7, {
                    "GroupId": "warm-up", "Topics": None, "RequireStable": False})
                return answer.get("ErrorCode") == 0
            # Creates `__consumer_offsets`.
            broker.quiet("FindCoordinator", 3, {"Key": "warm-up", "KeyType": 0})
            broker.until("a group coordinator", coordinates)
            answer = broker.quiet("ApiVersions", 3, {
                "ClientSoftwareName": "differential", "ClientSoftwareVersion": "1"})
            ranges = {one["ApiKey"]: (one["MinVersion"], one["MaxVersion"])
                      for one in answer["ApiKeys"]}
            for api, message in broker.schemas.requests.items():
                if message.key in ranges:
                    low, high = ranges[message.key]
                    self.versions.setdefault(api, []).append(range(low, high + 1))
            broker.end()
        self.versions = {api: sorted(set(both[0]) & set(both[1]))
                         for api, both in self.versions.items() if len(both) == 2}
        # Kafka advertises these and refuses them (KAFKA-18659).
        self.versions["Produce"] = [v for v in self.versions["Produce"] if v >= 3]
        for broker in self.brokers:
            broker.served = self.versions

    def plan(self):
        """(name, api, function with its version) of what is to run."""
        yield from self.registered(last=False)
        for function in cases.EVERY_API if self.options.folders == 1 else ():
            for api in sorted(self.versions):
                name = f"{api}-{function.__name__}".lower().replace("_", "-")
                if not self.wanted(api, name):
                    continue
                for version in self.chosen(api, "all"):
                    def run(broker, function=function, api=api, version=version):
                        return function(broker, api, version)
                    yield f"{name}-v{version}", api, run
        yield from self.registered(last=True)

    def registered(self, last):
        for one in cases.CASES:
            if one.last != last or (self.options.quick and one.slow):
                continue
            if one.folders != self.options.folders:
                continue
            if not self.wanted(one.api, one.name):
                continue
            if one.api not in self.versions and one.versions == "all":
                continue
            if one.versions is None:
                yield one.name, one.api, one.function
                continue
            for version in self.chosen(one.api, one.versions):
                def run(broker, function=one.function, version=version):
                    return function(broker, version)
                yield f"{one.name}-v{version}", one.api, run

    def chosen(self, api, versions):
        """The versions a case runs in."""
        served = self.versions[api]
        if versions != "all":
            return [version for version in versions if version in served]
        if self.options.quick:
            return sorted({served[0], served[len(served) // 2], served[-1]})
        return served

    def wanted(self, api, name):
        only = self.options.only
        return not only or any(api.lower() == one.lower() or re.match(one.lower(), name)
                               for one in only)

    def run(self, name, api, function):
        """Runs a case; once more, under another name, when it found a difference.

        Where Kafka does the rest of its work behind an answer, its next answer depends on whose
        turn it was. A difference is nobody's fault if the second time nothing differs and Corelane
        says what it had said before: then it was Kafka that said something else.
        """
        transcripts, errors = self.transcripts(name, function)
        judged = self.judge(name, transcripts)
        unlike = [(number, one) for number, step in enumerate(judged) for one in step.unexplained]
        if unlike and not any(errors) and len(self.wavering) < WAVERING_MAX:
            again = f"{name}-again"
            second, second_errors = self.transcripts(again, function)
            same = [len(steps) for steps in second] == [len(steps) for steps in transcripts]
            judged_again = self.judge(name, second)
            if (same and not any(second_errors)
                    and not any(step.unexplained for step in judged_again)
                    and all(self.comparison.says_again(second[1][number], one, again, name)
                            for number, one in unlike)):
                self.wavering.append(name)
                for number, one in unlike:
                    print(f"Kafka alone wavers in {name}: {judged[number].what}: {one}")
                transcripts, judged = second, judged_again
        self.count(name, api, judged, transcripts, errors)

    def transcripts(self, name, function):
        """What both brokers answered to a case, and what went wrong in it."""
        transcripts, errors = [[], []], [None, None]

        def side(index):
            broker = self.brokers[index]
            broker.begin(name)
            try:
                function(broker)
            except Exception:
                errors[index] = traceback.format_exc(limit=-2).strip().replace("\n", " | ")
            transcripts[index] = broker.end()

        threads = [threading.Thread(target=side, args=(index,), daemon=True) for index in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(CASE_SECONDS)
            if thread.is_alive():
                raise SystemExit(f"case {name} still ran after {CASE_SECONDS} s: "
                                 f"{[len(broker.steps) for broker in self.brokers]} steps, "
                                 f"{self.brokers[0].steps[-1].note}")
        return transcripts, errors

    def judge(self, name, transcripts):
        return [Judged(left, *self.comparison.step(name, left, right))
                for left, right in zip(*transcripts)]

    def count(self, name, api, judged, transcripts, errors):
        kafka, corelane = transcripts
        for step in judged:
            self.counts[step.api].update(
                {step.verdict: 1, FIELDS: step.fields, UNLIKE: len(step.found)})
            for one in step.found:
                if one.allowed:
                    self.used[one.allowed] += 1
                    self.used_by[one.allowed].add(step.api)
            if step.unexplained:
                what = f"{name}: {step.what}"
                self.differences[step.api].append(what)
                print(f"DIFFERENT {what}")
                if self.options.verbose:
                    print(f"    request {compare.shorten(step.value)}")
                for one in step.unexplained[:SHOWN_PER_CASE]:
                    print(f"    {one}")
                    for answer in getattr(one, "answers", ()):
                        print(f"      {str(answer)[:300]}")
        if len(kafka) != len(corelane) or any(errors):
            self.counts[api][compare.DIFFERENT] += 1
            self.differences[api].append(name)
            print(f"DIFFERENT {name}: {len(kafka)} steps with Kafka, {len(corelane)} with Corelane")
            for broker, error in zip(self.brokers, errors):
                if error:
                    print(f"    {broker.kind}: {error}")


def main():
    options = arguments()
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "cases")
    for module in pkgutil.iter_modules([here]):
        importlib.import_module(f"cases.{module.name}")
    session = Session(options)
    session.prepare()
    started = time.monotonic()
    for name, api, function in session.plan():
        begun = time.monotonic()
        session.run(name, api, function)
        took = time.monotonic() - begun
        if options.verbose or took > 5:
            print(f"ran {name} in {took:.1f} s")
    print(f"seed {options.seed}, {time.monotonic() - started:.0f} s")
    if options.topics:
        options.topics.write_text(json.dumps(topics_left(session)))
    report(session)


def topics_left(session):
    """{name: Corelane's id} of the topics that both brokers have in the end."""
    found = []
    for broker in session.brokers:
        broker.begin("afterwards")
        answer = broker.quiet("Metadata", 12, {"Topics": None, "AllowAutoTopicCreation": False})
        found.append({one["Name"]: one["TopicId"].hex for one in answer["Topics"]})
        broker.end()
    kafka, corelane = found
    # Where Kafka wavered, the first of two runs may have left other logs.
    return {name: corelane[name] for name in kafka if name in corelane
            and not f"{name}-".startswith(tuple(f"{case}-" for case in session.wavering))}


def report(session):
    total = collections.Counter()
    for api in sorted(session.counts, key=session.brokers[0].schemas.key):
        counts = session.counts[api]
        total.update(counts)
        compared = answers(counts)
        title = api if session.options.folders == 1 else f"{api} with several folders"
        said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in
                         (compare.EQUAL, compare.ALLOWED_ONLY, compare.DIFFERENT))
        if session.differences[api]:
            first = "; ".join(session.differences[api][:3])
            print(f"not ok {title}: of {compared} answers {said}; not listed: {first}")
        else:
            print(f"ok {title} ({compared} answers: {said})")
    print(f"{answers(total)} answers compared: {dict(total)}")
    if session.wavering:
        print(f"run twice, because Kafka alone gave another answer: {', '.join(session.wavering)}")
    reasons = collections.Counter()
    for one, count in session.used.items():
        reasons[one.reason] += count
    for reason, count in reasons.most_common():
        print(f"{count} fields: {reason}")
    if not session.options.only and not session.options.quick:
        for one in ALLOWED:
            here = one.folders == session.options.folders
            if here and not session.used[one] and not one.sometimes:
                print(f"not ok allowed: never needed: {one.api} {one.path} {one.case}")
    if (session.options.docs and session.options.folders == 1
            and not session.options.only and not session.options.quick):
        write_docs(session)


BEGIN, END = "<!-- generated by `cargo xtask differential` -->", "<!-- end of what is generated -->"


def write_docs(session):
    """Puts the counts and the reasons into the page, between its two marks."""
    lines = ["| API | answers | equal | allowed | different | fields | fields that differ |",
             "|---|--:|--:|--:|--:|--:|--:|"]
    total = collections.Counter()
    for api in sorted(session.counts, key=session.brokers[0].schemas.key):
        counts = session.counts[api]
        total.update(counts)
        lines.append(row(api, counts))
    lines.append(row("**all**", total))
    whole = 100 * total[compare.EQUAL] / answers(total)
    alike = 100 * (1 - total[UNLIKE] / total[FIELDS])
    lines += ["", f"{alike:.2f} % of the fields are equal, and {whole:.2f} % of the answers in "
              f"every field. Seed {session.options.seed}. What is allowed, and why:", ""]
    rules = [one for one in ALLOWED if session.used[one]]
    for reason in dict.fromkeys(one.reason for one in rules):
        apis = sorted({api for one in rules if one.reason == reason
                       for api in session.used_by[one]})
        lines.append(f"- {', '.join(apis)}: {reason}.")
    text = session.options.docs.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    session.options.docs.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}")


def answers(counts):
    return sum(counts[verdict] for verdict in (compare.EQUAL, compare.ALLOWED_ONLY,
                                               compare.DIFFERENT))


def row(name, counts):
    return (f"| {name} | {answers(counts)} | {counts[compare.EQUAL]} "
            f"| {counts[compare.ALLOWED_ONLY]} | {counts[compare.DIFFERENT]} "
            f"| {counts[FIELDS]} | {counts[UNLIKE]} |")


main()
