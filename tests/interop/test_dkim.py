"""Our DKIM signatures, judged by programs that had no part in them: dkimpy and opendkim from Debian."""

from __future__ import annotations

import json
from collections.abc import Sequence
from inspect import isawaitable
from pathlib import Path
from typing import Any

import pytest

from mailserver.hooks.contexts import BeforeSendContext
from mailserver.hooks.registry import Registry
from mailserver.model.address import EmailAddress
from mailserver.model.dns import Answer
from mailserver.model.envelope import Envelope
from mailserver.model.ids import AccountId, QueueId
from mailserver.model.verdict import Accept
from mailserver.plugins.dkim import plugin
from mailserver.plugins.dkim.settings import DkimSettings
from mailserver.ports.clock import SystemClock
from mailserver.ports.directory import Domain
from tests.helpers.content import BytesContent
from tests.helpers.plugins import make_host
from tests.interop.programs import needs, run

PYTHON = "/usr/bin/python3"

#: Reads {"records": {name: text}, "messages": [text]} and says for each message what each of its signatures is worth.
VERIFY = """
import json, sys
try:
    import dkim
except ImportError:
    sys.exit("no dkimpy")
given = json.load(sys.stdin)
records = {name + ".": text.encode() for name, text in given["records"].items()}
def look(name, timeout=5):
    return records.get(name.decode() if isinstance(name, bytes) else name)
def verify(message, number):
    try:
        return message.verify(idx=number, dnsfunc=look)
    except dkim.DKIMException as error:
        return str(error)
messages = [dkim.DKIM(text.encode("latin-1")) for text in given["messages"]]
print(json.dumps([[verify(message, n) for n in range(2)] for message in messages]))
"""

HEADER = b"From: Anna <anna@example.test>\r\nTo: b@far.test\r\nSubject: h\xc3\xa4\r\nMIME-Version: 1.0\r\n"
BODIES: tuple[bytes, ...] = (
    b"", b"\r\n", b"\r\n\r\n\r\n", b"hello\r\n", b"hello", b" \t x \t \r\n\r\n y\r\n \r\n\r\n", b"x" * 5000 + b"\r\n",
    b"line\r\n" * 50_000, b"\r\n" * 70_000 + b"end", b"tail \r\n" * 10 + b" \r\n", "grüße\r\n".encode() * 30,
)  # fmt: skip


class Domains:
    """One served domain."""

    def domain(self, name: str) -> Domain | None:
        return Domain(name=name) if name == "example.test" else None

    def domains(self) -> list[Domain]:
        return [Domain(name="example.test")]


async def signed(root: Path, messages: Sequence[bytes]) -> tuple[list[bytes], dict[str, str]]:
    """The messages with their signatures, folded as they may be, and the records of the keys."""
    (root / ".server").mkdir()
    registry = Registry()
    host = make_host(data_dir=root, directory=Domains(), resolver=_NoDns(), clock=SystemClock())
    found = []
    async with plugin.setup(registry, DkimSettings(), host):
        (sign,) = registry.hooks["before_send"]
        (rows,) = [c.value for c in registry.contributions["operation"] if c.name == "dkim.list"]
        envelope = Envelope(sender=EmailAddress.parse("anna@example.test"), account=AccountId("anna@example.test"))
        for message in messages:
            context = BeforeSendContext(
                queue_id=QueueId("0123456789abcdef"), envelope=envelope, content=BytesContent(message)
            )
            answer = sign(context)
            verdict: Any = await answer if isawaitable(answer) else answer
            assert isinstance(verdict, Accept)
            fields = "".join(f"{f.name}: {f.value}\r\n".replace(" ", "\r\n ") for f in verdict.headers)
            fields = fields.replace("DKIM-Signature:\r\n ", "DKIM-Signature: ")
            found.append(fields.encode("ascii") + message)
        records = {row["name"]: row["record"] for row in await rows({"domain": "example.test"})}
    return found, records


class _NoDns:
    async def txt(self, name: str) -> Answer[bytes]:
        return Answer(records=(), name=name)


@needs(PYTHON)
async def test_dkimpy_finds_both_signatures_good(tmp_path: Path) -> None:
    messages, records = await signed(tmp_path, [HEADER + b"\r\n" + body for body in BODIES])
    # What relays may do, and what nobody may.
    folded = messages[3].replace(b"Subject: ", b"SUBJECT:\r\n\t ").replace(b"hello", b"hello \t")
    second_from = messages[3].replace(b"To: ", b"From: evil@example.test\r\nTo: ")
    second_subject = messages[3].replace(b"To: ", b"Subject: other\r\nTo: ")
    added_cc = messages[3].replace(b"To: ", b"Cc: other@far.test\r\nTo: ")
    other_body = messages[3] + b"more\r\n"
    tampered = [second_from, second_subject, added_cc, other_body]
    given = {"records": records, "messages": [m.decode("latin-1") for m in [*messages, folded, *tampered]]}
    done = run([PYTHON, "-c", VERIFY], tmp_path, stdin=json.dumps(given).encode())
    if "no dkimpy" in done.output:
        pytest.skip("not installed: python3-dkim")
    assert done.code == 0, done.output
    results = json.loads(done.output)
    assert results[: len(messages) + 1] == [[True, True]] * (len(messages) + 1)
    assert all(result is not True for both in results[len(messages) + 1 :] for result in both)
    assert len(results) == len(messages) + 1 + len(tampered)


@needs("opendkim")
async def test_opendkim_finds_the_rsa_signature_good(tmp_path: Path) -> None:
    # A message that does not end its last line exists in files only, and opendkim reads those line by line.
    bodies = [body for body in BODIES if not body or body.endswith(b"\r\n")]
    messages, records = await signed(tmp_path, [HEADER + b"\r\n" + body for body in bodies])
    keys, config = tmp_path / "keys", tmp_path / "opendkim.conf"
    keys.write_text("".join(f"{name} {record}\n" for name, record in records.items()))
    config.write_text(f"TestPublicKeys {keys}\nMode v\nOn-SignatureError accept\n")
    for number, message in enumerate([*messages, messages[3] + b"more\r\n"]):
        path = tmp_path / f"{number}.eml"
        path.write_bytes(message)
        done = run(["opendkim", "-x", config, "-vv", "-t", path], tmp_path)
        good = "verification (s=" in done.output and "succeeded" in done.output
        assert good is (number < len(messages)), f"{number}: {done.output}"
