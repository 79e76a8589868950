"""Mail through the whole server over DANE, with signatures that a real unbound examines."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mailserver.wire.tlsa import written
from tests.conftest import DaemonMaker
from tests.helpers.authority import issue, tlsa
from tests.helpers.daemon import Daemon
from tests.helpers.receiver import Receiver
from tests.helpers.submitting import submit
from tests.helpers.waiting import until
from tests.interop.unbound import Unbound, needs_unbound, sign

pytestmark = [pytest.mark.interop, needs_unbound]

ZONE = """
@ SOA ns hostmaster 1 7200 3600 1209600 60
@ NS ns
ns A 127.0.0.1
@ MX 10 mx
mx A 127.0.0.1
"""


def outcome(daemon: Daemon, recipient: str) -> str:
    """The line of the log that says what became of the first attempt."""

    def lines() -> list[str]:
        return [
            line for line in daemon.log_text().splitlines()
            if f"recipient={recipient} " in line and (" sent " in line or " deferred " in line)
        ]  # fmt: skip

    return until(lines, lambda: daemon.log_text()[-4000:])[0]


async def test_what_dnssec_proves_decides(make_daemon: DaemonMaker, tmp_path: Path) -> None:
    ours, other = issue("mx.good.test"), issue("mx.good.test")
    async with Receiver(tls=ours.server_context(tmp_path)) as mx:
        zones, anchors = {}, []
        pins = {"good.test": ours, "wrong.test": other, "absent.test": None, "forged.test": other}
        for name, pinned in pins.items():
            (pin,) = written([tlsa(pinned.certificate, 3, 1, 1)]) if pinned else ("",)
            record = f"_{mx.port}._tcp.mx TLSA {pin}\n" if pinned else ""
            zones[name], anchor = sign(name, ZONE + record)
            anchors.append(anchor)
        # Somebody in between puts in the pin of the certificate that the server shows.
        digests = [tlsa(each.certificate, 3, 1, 1).data.hex() for each in (other, ours)]
        assert digests[0] in zones["forged.test"].replace(" ", "")
        zones["forged.test"] = zones["forged.test"].replace(" 3 1 1 ", f" 3 1 1 {digests[1]} ; ")
        with Unbound(tmp_path, zones, anchors, explain=False) as unbound:
            settings = {
                "dns": f'servers = ["{unbound.endpoint}"]',
                "queue": f'port = {mx.port}\nallow_private_addresses = true\nretry = ["1h"]',
            }
            with make_daemon(settings=settings) as daemon:
                lines = {}
                for name in pins:
                    await asyncio.to_thread(submit, daemon, f"x@{name}")
                    lines[name] = await asyncio.to_thread(outcome, daemon, f"x@{name}")
                await asyncio.to_thread(daemon.stop)
    assert " sent " in lines["good.test"]
    assert " sent " in lines["absent.test"]
    assert "matches no TLSA record" in lines["wrong.test"]
    assert "DNSSEC validation fails" in lines["forged.test"]
    assert sorted(message.recipients[0] for message in mx.messages) == ["TO:<x@absent.test>", "TO:<x@good.test>"]
    assert all(message.tls for message in mx.messages)
