"""Chains of ARC on mail from other servers."""

from __future__ import annotations

from inspect import isawaitable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mailserver.hooks.contexts import MessageContext
from mailserver.hooks.registry import Registry
from mailserver.model.dns import Answer
from mailserver.model.envelope import Envelope
from mailserver.model.findings import AuthResult
from mailserver.model.ids import AccountId, QueueId
from mailserver.plugins.arc import ArcSettings, plugin
from mailserver.ports.resolver import LookupFailed
from tests.helpers.content import BytesContent
from tests.helpers.plugins import make_host, make_session
from tests.helpers.signing import seal, signer

LIST = signer(domain="list.test")
MAIL = b"From: anna@signer.test\r\nTo: b@example.test\r\nSubject: h\r\nDate: x\r\n\r\nbody\r\n"


class Keys:
    """DNS with the key of the list."""

    async def txt(self, name: str) -> Answer[bytes]:
        if name != LIST.name:
            raise LookupFailed("SERVFAIL")
        return Answer(records=(LIST.record.encode(),), name=name)


async def check(message: bytes, sealers: list[str] | None = None, **session: Any) -> AuthResult | None:
    registry = Registry()
    host = make_host(data_dir=Path("/nonexistent"), resolver=Keys())
    async with plugin.setup(registry, ArcSettings(trusted_sealers=sealers or []), host):
        (hook,) = registry.hooks["on_message"]
        answer = hook(
            MessageContext(
                session=make_session("192.0.2.9", **session), queue_id=QueueId("0" * 16),
                envelope=Envelope(sender=None), content=BytesContent(message),
            )
        )  # fmt: skip
        verdict = await answer if isawaitable(answer) else answer
    if verdict is None:
        return None
    assert not verdict.findings.reasons
    (result,) = verdict.findings.results
    return AuthResult(method=result.method, result=result.result, properties=result.properties)


async def test_a_chain() -> None:
    assert await check(MAIL) is None
    assert await check(seal(MAIL, LIST, 1)) == AuthResult(
        method="arc", result="pass",
        properties=(("header.oldest-pass", "0"), ("header.d", "list.test"), ("smtp.remote-ip", "192.0.2.9")),
    )  # fmt: skip
    assert await check(seal(MAIL, LIST, 1) + b"x") == AuthResult(
        method="arc", result="fail", properties=(("smtp.remote-ip", "192.0.2.9"),)
    )
    large = await check(seal(MAIL + b"text \r\n" * 100_000, LIST, 1))
    assert large is not None and large.result == "pass"


async def test_l12_only_trusted_sealers_are_heard() -> None:
    claim = "dmarc=pass header.from=signer.test"
    known = await check(seal(MAIL, LIST, 1, results=claim), ["LIST.test"])
    assert known is not None and known.value("policy.dmarc") == "pass" and known.value("policy.sealer") == "list.test"
    assert known.value("policy.dmarc-from") == "signer.test"
    unknown = await check(seal(MAIL, LIST, 1, results=claim), ["other.test"])
    assert unknown is not None and not any(name.startswith("policy.") for name, _ in unknown.properties)
    broken = await check(seal(MAIL, signer(domain="none.test"), 1, results=claim), ["none.test"])
    assert broken is not None and broken.result == "fail" and broken.value("policy.dmarc") == ""


async def test_who_is_not_examined() -> None:
    for session in ({"trusted": True}, {"service": "submission"}, {"account": AccountId("a@example.test")}):
        assert await check(seal(MAIL, LIST, 1), **session) is None


def test_settings() -> None:
    assert ArcSettings(trusted_sealers=["Lists.Example.ORG"]).trusted_sealers == ["lists.example.org"]
    with pytest.raises(ValidationError, match="must be domains"):
        ArcSettings(trusted_sealers=["a b"])
