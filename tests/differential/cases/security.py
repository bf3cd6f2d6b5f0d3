"""ACLs, SASL, SCRAM credentials and delegation tokens, of brokers without any of them."""

from cases import case

SHA_256, SHA_512 = 1, 2


def entry(kind=2, name="x", pattern=3, operation=3, permission=3):
    return {"ResourceType": kind, "ResourceName": name, "ResourcePatternType": pattern,
            "Principal": "User:a", "Host": "*", "Operation": operation,
            "PermissionType": permission}


def filtered(kind=1, name=None, pattern=1, operation=1, permission=1):
    return {"ResourceTypeFilter": kind, "ResourceNameFilter": name, "PatternTypeFilter": pattern,
            "PrincipalFilter": None, "HostFilter": None, "Operation": operation,
            "PermissionType": permission}


PARTS = ("kind", "pattern", "operation", "permission")


@case("DescribeAcls", versions="all")
def describe_acls(b, v):
    b.call("DescribeAcls", v, filtered(), note="all")
    b.call("DescribeAcls", v, filtered(2, "x", 3, 3, 3), note="of a topic")
    for part in PARTS:
        for value in (0, 99, -1):
            b.call("DescribeAcls", v, filtered(**{part: value}), note=f"{part} {value}")


@case("CreateAcls", versions="all")
def create_acls(b, v):
    for note, entries in (("none", []), ("one", [entry()]), ("one twice", [entry(), entry()]),
                          ("any kind", [entry(kind=1)]), ("without a name", [entry(name="")]),
                          ("a cluster of another name", [entry(kind=4, name="foo")])):
        b.call("CreateAcls", v, {"Creations": entries}, note=note)
    for part in PARTS:
        b.call("CreateAcls", v, {"Creations": [entry(), entry(**{part: 0})]}, note=f"{part} 0")


@case("DeleteAcls", versions="all")
def delete_acls(b, v):
    for note, filters in (("none", []), ("all", [filtered()]), ("all twice", [filtered()] * 2)):
        b.call("DeleteAcls", v, {"Filters": filters}, note=note)
    for part in PARTS:
        b.call("DeleteAcls", v, {"Filters": [filtered(), filtered(**{part: 0})]},
               note=f"{part} 0")


@case("SaslHandshake", versions="all")
def handshake(b, v):
    for mechanism in ("PLAIN", "SCRAM-SHA-256", ""):
        b.call("SaslHandshake", v, {"Mechanism": mechanism}, note=f"{mechanism!r}")


@case("SaslAuthenticate", versions="all")
def authenticate(b, v):
    b.call("SaslAuthenticate", v, {"AuthBytes": b"\0user\0secret"}, note="plain")
    b.call("SaslAuthenticate", v, {"AuthBytes": b""}, note="nothing")


@case("CreateDelegationToken", versions="all")
def create_token(b, v):
    def ask(note, **more):
        value = {"Renewers": [], "MaxLifetimeMs": -1, **more}
        if v >= 3:
            value = {"OwnerPrincipalType": None, "OwnerPrincipalName": None, **value}
        b.call("CreateDelegationToken", v, value, note=note)
    ask("its own")
    ask("with a renewer", Renewers=[{"PrincipalType": "Group", "PrincipalName": "x"}])
    if v >= 3:
        ask("another's", OwnerPrincipalType="User", OwnerPrincipalName="x")
        ask("nobody's", OwnerPrincipalType="", OwnerPrincipalName="")


@case("RenewDelegationToken", versions="all")
def renew_token(b, v):
    b.call("RenewDelegationToken", v, {"Hmac": b"xx", "RenewPeriodMs": 1}, note="unknown")


@case("ExpireDelegationToken", versions="all")
def expire_token(b, v):
    b.call("ExpireDelegationToken", v, {"Hmac": b"xx", "ExpiryTimePeriodMs": 1}, note="unknown")


@case("DescribeDelegationToken", versions="all")
def describe_tokens(b, v):
    for owners in (None, [], [{"PrincipalType": "User", "PrincipalName": "x"}]):
        b.call("DescribeDelegationToken", v, {"Owners": owners}, note=f"of {owners}")


def upsertion(user, mechanism=SHA_256, iterations=4096, salt=b"0123456789abcdef",
              password=b"\xaa" * 32):
    return {"Name": user, "Mechanism": mechanism, "Iterations": iterations, "Salt": salt,
            "SaltedPassword": password}


@case("AlterUserScramCredentials", versions="all")
def credentials(b, v):
    def ask(note, deletions=(), upsertions=()):
        b.call("AlterUserScramCredentials", v, {
            "Deletions": [{"Name": user, "Mechanism": mechanism}
                          for user, mechanism in deletions],
            "Upsertions": list(upsertions)}, note=note)
    def show(note, users):
        b.call("DescribeUserScramCredentials", 0, {
            "Users": users and [{"Name": user} for user in users]}, note=note)
    a, c, d = b.name("a"), b.name("c"), b.name("d")
    ask("nothing")
    ask("delete one that is not there", [(a, SHA_256)])
    for mechanism in (0, 3, -1):
        ask(f"delete of mechanism {mechanism}", [(a, mechanism)])
        ask(f"mechanism {mechanism}", upsertions=[upsertion(a, mechanism)])
    ask("delete without a name", [("", SHA_256)])
    ask("without a name", upsertions=[upsertion("")])
    for iterations in (0, 4095, 16385, -1):
        ask(f"{iterations} iterations", upsertions=[upsertion(a, iterations=iterations)])
    ask("without a salt", upsertions=[upsertion(a, salt=b"")])
    ask("without a password", upsertions=[upsertion(a, password=b"")])
    ask("twice", upsertions=[upsertion(a), upsertion(a)])
    ask("for both mechanisms", upsertions=[upsertion(a), upsertion(a, SHA_512)])
    ask("deleted and set", [(a, SHA_256)], [upsertion(a)])
    ask("two users", upsertions=[upsertion(a), upsertion(c, iterations=8192)])
    ask("the other mechanism", upsertions=[upsertion(a, SHA_512, password=b"\xbb" * 64)])
    ask("one right, one wrong", upsertions=[upsertion(d), upsertion(c, 7)])
    show("one", [a])
    show("one twice", [a, a])
    show("one of them unknown", [c, b.name("none")])
    show("without a name", [""])
    ask("delete one of two", [(a, SHA_256)])
    ask("delete two that are not there", [(a, SHA_256), (a, SHA_256)])
    show("what is left", [a, c, d])
    ask("clean", [(a, SHA_512), (c, SHA_256), (d, SHA_256)])
