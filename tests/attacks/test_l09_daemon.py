"""ATTACKS L09 through the whole server: what SPF finds stands on the message, and bad records hold up nothing."""

from __future__ import annotations

from tests.conftest import DaemonMaker
from tests.helpers.authentication import PROXY, deliver, inbox, results
from tests.helpers.dns import DnsServer

MESSAGE = b"From: a@good.test\r\n\r\nhello\r\n"


def test_l09_what_spf_finds(make_daemon: DaemonMaker) -> None:
    with DnsServer() as dns:
        dns.add("good.test", "TXT", '"v=spf1 ip4:192.0.2.66" " include:more.test -all"')
        dns.add("more.test", "TXT", '"v=spf1 mx:good.test ip6:2001:db8::/32 -all"')
        dns.add("good.test", "MX", "10 mx.good.test.")
        dns.add("mx.good.test", "A", "192.0.2.67")
        dns.add("67.2.0.192.in-addr.arpa", "PTR", "mx.good.test.")
        dns.add("circle.test", "TXT", '"v=spf1 include:circle.test +all"')
        dns.fail("slow.test")
        with make_daemon(settings={"smtp": PROXY, "dns": f'servers = ["{dns.endpoint}"]'}) as daemon:
            found: list[bytes] = []
            for sender, peer, helo in [
                ("a@good.test", "192.0.2.66", "circle.test"), ("a@good.test", "192.0.2.67", "mx.good.test"),
                ("a@good.test", "2001:db8::5", "[IPv6:2001:db8::5]"), ("a@good.test", "192.0.2.68", "x"),
                ("", "192.0.2.66", "good.test"), ("a@slow.test", "192.0.2.66", "x"),
            ]:  # fmt: skip
                assert deliver(daemon, MESSAGE, sender=sender, peer=peer, helo=helo).code == 250
                found.append(inbox(daemon, count=len(found) + 1)[-1])
    told = ["; ".join(part for part in results(message).split("; ") if part.startswith(("spf=", "iprev=")))
            for message in found]  # fmt: skip
    assert told[0] == (
        'spf=permerror reason="its SPF record needs more than 10 lookups" smtp.helo=circle.test; '
        "iprev=permerror policy.iprev=192.0.2.66; spf=pass smtp.mailfrom=a@good.test"
    )
    assert told[1] == (
        "spf=none smtp.helo=mx.good.test; iprev=pass policy.iprev=192.0.2.67 policy.ptr=mx.good.test; "
        "spf=pass smtp.mailfrom=a@good.test"
    )
    assert b"from mx.good.test (mx.good.test [192.0.2.67])" in found[1]
    assert told[2] == 'iprev=permerror policy.iprev="2001:db8::5"; spf=pass smtp.mailfrom=a@good.test'
    assert told[3].endswith("spf=fail smtp.mailfrom=a@good.test")
    assert told[4] == "spf=pass smtp.helo=good.test; iprev=permerror policy.iprev=192.0.2.66"
    assert "spf=temperror" in told[5] and "spf=" in told[5]


def test_l09_a_fail_is_refused_where_that_is_wanted(make_daemon: DaemonMaker) -> None:
    with DnsServer() as dns:
        dns.add("good.test", "TXT", '"v=spf1 -all"')
        settings = {"smtp": PROXY, "dns": f'servers = ["{dns.endpoint}"]', "plugins.spf": "reject_fail = true"}
        with make_daemon(settings=settings) as daemon:
            reply = deliver(daemon, MESSAGE, sender="a@good.test")
            assert (reply.code, reply.status) == (550, "5.7.23")
            assert deliver(daemon, MESSAGE, sender="a@other.test").code == 250
