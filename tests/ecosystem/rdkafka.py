"""The test suites of rust-rdkafka and of librdkafka, one process per test, against one broker.

Both come as their authors published them: in the crates `rdkafka` and `rdkafka-sys`, built by
`cargo xtask provision`. `rdkafka.txt` names the tests that pass when Apache Kafka 4.3.1 answers;
those must pass here. `--write` writes that file instead. Not run are librdkafka's tests that need
no broker, those that break their own sockets, and those for a broker without topic creation.

A test that fails beside others gets a second chance alone: many of them decide by the clock.

Prints one line per test, see ../conformance/checks.py.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import time

JOBS = 4
# Of one test; librdkafka's own limits are shorter, except on a machine that stands still.
SECONDS = 120
# librdkafka's waits are this many times as long as on its authors' machine.
PATIENCE = 2
# A line of librdkafka's table of tests, up to the next.
TEST = re.compile(r"^ *_TEST\((\w+),(.*?)(?=^ *_TEST\(|^#|\{NULL)", re.MULTILINE | re.DOTALL)
# It wants a topic that is created by asking for it to take more than 100 ms.
NOT_OURS = {"rust-rdkafka/test_low_producers::test_base_producer_timeout"}
ELSEWHERE = {"TEST_F_LOCAL", "TEST_F_SOCKEM", "TEST_F_MANUAL", "TEST_F_KNOWN_ISSUE"}

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--bootstrap", required=True)
parser.add_argument("--kills-file", help="unused: nobody is killed here")
parser.add_argument("--folder", required=True, type=pathlib.Path, help="what provision made")
parser.add_argument("--scratch", required=True, type=pathlib.Path)
parser.add_argument("--passes", required=True, type=pathlib.Path, help="rdkafka.txt")
parser.add_argument("--write", action="store_true", help="write rdkafka.txt")
parser.add_argument("--only", default="", help="tests whose names have this in them")
OPTIONS = parser.parse_args()
LIBRDKAFKA = OPTIONS.folder / "librdkafka/tests"


class Job:
    """One test; `run` tells why it did not pass, or nothing."""

    def __init__(self, name, command, folder, environment, report=None):
        self.name, self.command, self.folder = name, command, folder
        self.environment, self.report = environment, report

    def run(self):
        log = OPTIONS.scratch / (self.name.replace("/", "-") + ".log")
        with open(log, "wb") as file:
            try:
                done = subprocess.run(self.command, cwd=self.folder, stdout=file, stderr=file,
                                      stdin=subprocess.DEVNULL, timeout=SECONDS,
                                      env={**os.environ, **self.environment}, check=False)
            except subprocess.TimeoutExpired:
                return f"still ran after {SECONDS} s, see {log}"
        if self.report is None:
            return None if done.returncode == 0 else f"exit code {done.returncode}, see {log}"
        try:
            tests = json.loads(self.report.read_text(errors="replace"))["tests"]
        except (OSError, ValueError):
            return f"exit code {done.returncode} and no report, see {log}"
        # A process whose only test was skipped ends well, too.
        state = tests.get(self.name.partition("/")[2], {}).get("state", "not run")
        if done.returncode != 0 or state != "PASSED":
            return f"{state}, exit code {done.returncode}, see {log}"
        return None


def rust_tests():
    """Those of the crate's integration tests; each file has a copy of `utils`, one is enough."""
    environment = {"KAFKA_HOST": OPTIONS.bootstrap, "RUST_LOG": "off"}
    for binary in sorted((OPTIONS.folder / "target/debug/deps").iterdir()):
        suite = re.fullmatch(r"(test_\w+|utils)-[0-9a-f]{16}", binary.name)
        if suite is None:
            continue
        listed = subprocess.run([binary, "--list", "--format", "terse"], check=True, text=True,
                                capture_output=True).stdout
        for test in re.findall(r"^(\S+): test$", listed, re.MULTILINE):
            if suite[1] == "utils" or not test.startswith("utils::"):
                yield Job(f"rust-rdkafka/{suite[1]}::{test}", [binary, test, "--exact"],
                          OPTIONS.folder, environment)


def c_tests():
    """librdkafka's quick suite, classic groups: what its authors' `make quick` runs."""
    conf = OPTIONS.scratch / "test.conf"
    conf.write_text(f"metadata.broker.list={OPTIONS.bootstrap}\ntest.topic.random=true\n"
                    f"test.timeout.multiplier={PATIENCE}\n")
    libraries = ":".join(str(OPTIONS.folder / "librdkafka" / part) for part in ("src", "src-cpp"))
    for name, rest in TEST.findall((LIBRDKAFKA / "test.c").read_text()):
        if set(re.findall(r"\w+", rest)) & ELSEWHERE or name.endswith("_mock"):
            continue
        scenario = re.search(r'\.scenario = "([^"]*)"', rest)
        if scenario and "default" not in scenario[1]:
            continue
        report = OPTIONS.scratch / f"{name}.json"
        yield Job(f"librdkafka/{name}", ["./test-runner", "-Q", "-E", "-L", "-p1"], LIBRDKAFKA, {
            "TESTS": name, "TEST_REPORT": str(report), "RDKAFKA_TEST_CONF": str(conf),
            "TEST_KAFKA_VERSION": "4.3.1", "TEST_CONSUMER_GROUP_PROTOCOL": "classic",
            "LD_LIBRARY_PATH": libraries, "RDKAFKA_GITVER": "released",
        }, report)


def main():
    OPTIONS.scratch.mkdir(parents=True, exist_ok=True)
    # A variable that librdkafka's runner takes for its authors' own machines.
    os.environ.pop("CI", None)
    jobs = [job for job in (*rust_tests(), *c_tests())
            if OPTIONS.only in job.name and job.name not in NOT_OURS]
    there = {job.name for job in jobs}
    wanted = there if OPTIONS.write else set(OPTIONS.passes.read_text().split())
    wanted = {name for name in wanted if OPTIONS.only in name}
    for name in sorted(wanted - there):
        print(f"not ok {name}: there is no such test")
    jobs = [job for job in jobs if job.name in wanted]
    print(f"{len(jobs)} tests, {len(there - wanted)} left out that do not pass on Kafka")
    passed, again = [], []

    def timed(job):
        started = time.monotonic()
        return job, job.run(), time.monotonic() - started

    def tell(job, reason, took, failed):
        if reason is None:
            passed.append(job.name)
            if OPTIONS.write:
                # At once: a run that is cut short has found something, too.
                OPTIONS.passes.write_text("".join(f"{name}\n" for name in sorted(passed)))
            print(f"ok {job.name}\n  {job.name} took {took:.1f} s", flush=True)
        else:
            print(f"{failed} {job.name}: {reason}", flush=True)

    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for done in concurrent.futures.as_completed([pool.submit(timed, job) for job in jobs]):
            job, reason, took = done.result()
            tell(job, reason, took, "beside others:")
            if reason is not None:
                again.append(job)
    for job in again:
        tell(*timed(job), "alone, too:" if OPTIONS.write else "not ok")


main()
