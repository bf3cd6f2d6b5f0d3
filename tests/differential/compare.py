"""Two transcripts of one case, compared field by field.

What a broker makes up itself (ids, clocks, ports) is compared by the rules of `rules.py`; a
difference that remains is looked up in `allowed.py`.
"""

import re
import uuid

from allowed import ALLOWED
import batches
import rules

EQUAL, ALLOWED_ONLY, DIFFERENT = "equal", "allowed", "different"


def shape_of(path):
    """A path without its indexes."""
    return re.sub(r"\[[^\]]*\]", "[]", path)


class Difference:
    """One field in which the answers differ, and the reason why it may."""

    def __init__(self, path, kafka, corelane):
        self.path, self.kafka, self.corelane, self.allowed = path, kafka, corelane, None

    def __str__(self):
        return f"{self.path}: Kafka {shorten(self.kafka)}, Corelane {shorten(self.corelane)}"


NO_ID = "00000000-0000-0000-0000-000000000000"


class Missing:
    """Stands for a field that is not there."""

    def __repr__(self):
        return "nothing"


MISSING = Missing()
AN_ANSWER = "an answer"


def shorten(value):
    text = repr(value)
    return text if len(text) <= 400 else text[:400] + "…"


class Comparison:
    """Compares steps; remembers which made-up value of Kafka's stands for which of Corelane's."""

    def __init__(self, kafka, corelane):
        self.kafka, self.corelane = kafka, corelane
        self.pairs, self.taken = {}, set()

    def step(self, case, kafka, corelane):
        """(verdict, differences, fields compared) of one request's two answers."""
        if (kafka.api, kafka.version, kafka.note) != (corelane.api, corelane.version,
                                                      corelane.note):
            return DIFFERENT, [Difference("request", f"{kafka.api} v{kafka.version} {kafka.note}",
                                          f"{corelane.api} v{corelane.version} {corelane.note}")], 1
        left = dict(leaves(kafka.api, "", kafka.outcome, self.kafka.labels()))
        right = dict(leaves(corelane.api, "", corelane.outcome, self.corelane.labels()))
        if "_outcome" in left or "_outcome" in right:
            # One word says it all: the fields of an answer nobody else gave do not count.
            left = {"_outcome": left.get("_outcome", AN_ANSWER)}
            right = {"_outcome": right.get("_outcome", AN_ANSWER)}
        left, right = without_strangers(left, right), without_strangers(right, left)
        found = []
        paths = list(left) + [path for path in right if path not in left]
        for path in paths:
            mine, theirs = left.get(path, MISSING), right.get(path, MISSING)
            if not self._same(kafka.api, path, mine, theirs):
                found.append(Difference(path, mine, theirs))
        if "_outcome" in left and found:
            found[0].answers = (kafka.outcome, corelane.outcome)
        for one in found:
            one.allowed = next((rule for rule in ALLOWED if rule.covers(case, kafka, one)), None)
        if not found:
            return EQUAL, [], len(paths)
        explained = all(one.allowed for one in found)
        return (ALLOWED_ONLY if explained else DIFFERENT), found, len(paths)

    def says_again(self, step, difference, case, first_case):
        """Whether Corelane's answer to the same step of a second run has the same in this field."""
        said = dict(leaves(step.api, "", step.outcome, self.corelane.labels()))
        if rules.rule_for(step.api, shape_of(difference.path)):
            return difference.path in said
        if difference.path == "_outcome" and "_outcome" not in said:
            said["_outcome"] = AN_ANSWER
        again = said.get(difference.path, MISSING)
        if isinstance(again, str):
            again = again.replace(case, first_case)
        return again == difference.corelane

    def _same(self, api, path, kafka, corelane):
        if kafka == corelane and type(kafka) is type(corelane):
            return True
        shape = shape_of(path)
        rule = rules.rule_for(api, shape)
        if rule is None or MISSING in (kafka, corelane) or None in (kafka, corelane):
            return False
        return rule.same(self, kafka, corelane)

    def paired(self, kind, kafka, corelane):
        """Whether a made-up value stands for the same thing it stood for before."""
        if NO_ID in (kafka, corelane):
            return False
        known = self.pairs.get((kind, kafka))
        if known is not None:
            return known == corelane
        if (kind, corelane) in self.taken:
            return False
        self.pairs[(kind, kafka)] = corelane
        self.taken.add((kind, corelane))
        return True


# Of an element that is told by its name: it is there.
LISTED = "listed"


def without_strangers(mine, theirs):
    """Without the fields of elements that only one broker lists: that they are there says it."""
    strangers = tuple(f"{path}." for path, value in mine.items()
                      if value is LISTED and path not in theirs)
    if not strangers:
        return mine
    return {path: value for path, value in mine.items() if not path.startswith(strangers)}


def leaves(api, path, value, ids):
    """(path, value) of every leaf, lists in an order that both brokers share."""
    if isinstance(value, dict):
        if not value and path:
            yield path, {}
        for name, one in value.items():
            yield from leaves(api, f"{path}.{name}" if path else name, one, ids)
    elif isinstance(value, list):
        shape = shape_of(path)
        named = rules.name_of(api, shape)
        if named:
            for one in value:
                yield f"{path}[{one[named]}]", LISTED
                rest = {name: field for name, field in one.items() if name != named}
                yield from leaves(api, f"{path}[{one[named]}]", rest, ids)
            return
        key = rules.order_of(api, shape, ids)
        ordered = sorted(value, key=key) if key else value
        yield f"{path}.length", len(value)
        for index, one in enumerate(ordered):
            yield from leaves(api, f"{path}[{index}]", one, ids)
    elif path.endswith(".Records") and (value is None or isinstance(value, bytes)):
        parsed = batches.read(value)
        if parsed is None:
            yield path, None
        else:
            yield from leaves(api, path, parsed, ids)
    elif isinstance(value, (bytes, uuid.UUID)):
        yield path, value.hex() if isinstance(value, bytes) else str(value)
    else:
        yield path, value
