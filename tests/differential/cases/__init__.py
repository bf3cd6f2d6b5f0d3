"""The cases: functions that take a `Broker` (and a version), registered by the API they are for."""

CASES = []


class Case:
    """A registered case: which API it is about, and its versions if it runs once for each."""

    def __init__(self, api, function, versions, slow, last, folders):
        self.api, self.function, self.versions = api, function, versions
        self.slow, self.last, self.folders = slow, last, folders
        self.name = f"{api}-{function.__name__}".lower().replace("_", "-")


def case(api, versions=None, slow=False, last=False, folders=1):
    """Registers a case. `versions`: "all" for each version both brokers serve, or a list of them.
    `slow` ones, and ones that measure time, are left out of the quick form; `last` ones change
    what the others stand on. `folders`: the data folders of the brokers it is for."""
    def register(function):
        CASES.append(Case(api, function, versions, slow, last, folders))
        return function
    return register


# Cases for every API that both brokers serve, whatever it means.
EVERY_API = []


def every_api(function):
    """Registers a case that runs once for each API and version: `function(broker, api, version)`."""
    EVERY_API.append(function)
    return function
