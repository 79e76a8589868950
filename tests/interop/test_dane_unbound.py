"""DANE by what a real validating resolver says of zones that were signed for the test, with real TLS dialogues."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mailserver.model.delivery import Outcome
from mailserver.wire.tlsa import written
from tests.helpers.authority import issue, tlsa
from tests.helpers.protected import Protected
from tests.helpers.receiver import Receiver
from tests.interop.unbound import Unbound, needs_unbound, sign

pytestmark = [pytest.mark.interop, needs_unbound]

ZONE = """
@ SOA ns hostmaster 1 7200 3600 1209600 60
@ NS ns
ns A 127.0.0.1
good MX 10 mxgood
mxgood A 127.0.0.1
_{port}._tcp.mxgood TLSA {good}
forged MX 10 mxforged
mxforged A 127.0.0.1
_{port}._tcp.mxforged TLSA {other}
nothing MX 10 mxnothing
mxnothing A 127.0.0.1
alias MX 10 mxalias
mxalias CNAME mxgood
shared MX 10 mxshared
mxshared A 127.0.0.1
_{port}._tcp.mxshared CNAME _{port}._tcp.mxgood
hosted MX 10 mxhosted
mxhosted CNAME host.plain.test.
_{port}._tcp.mxhosted TLSA {good}
cloud MX 10 host.plain.test.
tampered MX 10 mxtampered
mxtampered A 127.0.0.1
_{port}._tcp.mxtampered TLSA {other}
cut MX 10 mxcut
mxcut A 127.0.0.1
implicit A 127.0.0.1
_{port}._tcp.implicit TLSA {other}
"""
PLAIN = """$ORIGIN plain.test.
$TTL 300
@ SOA ns hostmaster 1 7200 3600 1209600 60
@ NS ns
ns A 127.0.0.1
@ MX 10 mxforged.signed.test.
host A 127.0.0.1
_{port}._tcp.host TLSA {other}
"""

D, T = Outcome.DELIVERED, Outcome.DEFERRED
#: Domain → what becomes of mail for it, under which policy, and whether its server was connected to.
EXPECTED = {
    "good.signed.test": (D, "dane", True),
    "forged.signed.test": (T, "dane", True),
    "nothing.signed.test": (D, "opportunistic", True),
    "alias.signed.test": (D, "dane", True),
    "shared.signed.test": (D, "dane", True),
    # RFC 7672 §2.2.2: an alias out of the signed zone, with records at its beginning.
    "hosted.signed.test": (D, "dane", True),
    "cloud.signed.test": (D, "opportunistic", True),
    "tampered.signed.test": (T, "dane", False),
    "cut.signed.test": (T, "dane", False),
    "implicit.signed.test": (T, "dane", True),
    "plain.test": (D, "opportunistic", True),
}


async def test_dane_as_dnssec_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = issue("whatever.test", expired=True)
    async with Receiver(tls=own.server_context(tmp_path)) as mx:
        (good,) = written([tlsa(own.certificate, 3, 1, 1)])
        (other,) = written([tlsa(issue("x.test").certificate, 3, 1, 1)])
        signed, anchor = sign("signed.test", ZONE.format(port=mx.port, good=good, other=other))
        # Somebody changes the records of one host, and takes those and the proof of their absence from another.
        digest = other.split(" ")[-1]
        tampered = rf"(?mi)^(_{mx.port}\._tcp\.mxtampered\.\S* .* TLSA 3 1 1 ){digest}"
        signed, changed = re.subn(tampered, rf"\g<1>{good.split(' ')[-1]}", signed)
        signed, cut = re.subn(r"(?mi)^mxcut\S* .* (?:RRSIG )?NSEC .*\n", "", signed)
        assert (changed, cut) == (1, 2)
        zones = {"signed.test": signed, "plain.test": PLAIN.format(port=mx.port, other=other)}
        with Unbound(tmp_path, zones, [anchor], explain=True) as unbound:
            async with Protected.running(tmp_path, monkeypatch, endpoint=unbound.endpoint) as world:
                found = {}
                for domain in EXPECTED:
                    before = mx.connections
                    result = await world.send(mx.port, domain, to=[f"ben@{domain}"])
                    found[domain] = (result.outcome, result.policy, mx.connections > before)
    assert found == EXPECTED
    assert len(mx.messages) == sum(outcome is D for outcome, _, _ in EXPECTED.values())
    assert all(message.tls for message in mx.messages)
