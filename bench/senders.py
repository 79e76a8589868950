"""What SPF, the client's name and DMARC cost for one message, with all answers of DNS remembered; and pyspf beside it.

    python -m bench.senders

CPU time, the least of seven runs. The domain's record includes five others in a chain, the author is a subdomain
without a record of its own. pyspf is Debian's (python3-spf), run against a table of answers and again after each that
is missing; where it is not installed it is left out.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from mailserver.hooks.contexts import HeloContext, MailContext, MessageContext
from mailserver.hooks.dispatch import Hooks
from mailserver.hooks.registry import HookOptions, Registry
from mailserver.mime.auth_results import authentication_results
from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Envelope, Recipient
from mailserver.model.findings import Findings
from mailserver.model.ids import QueueId
from mailserver.net.dns.resolver import DnsResolver
from mailserver.net.dns.servers import Servers
from mailserver.net.settings import DnsSettings
from mailserver.plugins import dmarc, iprev, spf
from mailserver.plugins.spf.checking import SpfCheck
from mailserver.ports.clock import SystemClock
from tests.helpers.content import BytesContent
from tests.helpers.dns import DnsServer
from tests.helpers.plugins import make_host, make_session

PEER, HELO = "192.0.2.66", "mx.far.test"
TEXTS = {
    "far.test": "v=spf1 include:a.far.test include:b.far.test mx -all",
    "a.far.test": "v=spf1 ip4:192.0.2.0/26 include:c.far.test ~all",
    "b.far.test": "v=spf1 ip4:203.0.113.0/24 include:d.far.test ~all",
    "c.far.test": "v=spf1 ip4:198.51.100.0/24 ~all",
    "d.far.test": "v=spf1 ip4:192.0.2.128/25 include:e.far.test ~all",
    "e.far.test": f"v=spf1 ip4:{PEER} ~all",
    "mx.far.test": f"v=spf1 ip4:{PEER} -all",
    "_dmarc.far.test": "v=DMARC1; p=reject; rua=mailto:reports@far.test",
}
HEADER = (
    b"Received: from a.far.test by mx.far.test with ESMTPS id abc;\r\n\tFri, 20 Nov 2026 10:00:00 +0000\r\n" * 3
    + b"From: Bob <bob@news.far.test>\r\nTo: anna@example.test\r\nSubject: The minutes of our meeting on Thursday\r\n"
    b"Date: Fri, 20 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@far.test>\r\nMIME-Version: 1.0\r\n\r\n"
)
_RUNS, _TIMES = 7, 300
_PYSPF = Path("/usr/lib/python3/dist-packages/spf.py")


class Domains:
    def domain(self, name: str) -> None:
        return None


async def least(work: Callable[[], Awaitable[Any]]) -> float:
    """Microseconds."""
    best = 9e9
    for _ in range(_RUNS):
        start = time.process_time()
        for _ in range(_TIMES):
            await work()
        best = min(best, (time.process_time() - start) / _TIMES)
    return best * 1e6


async def message(hooks: Hooks) -> Findings:
    """What the hooks find from HELO to the end of the message, and the field that it becomes."""
    session = make_session(peer=PEER, helo=HELO)
    envelope = Envelope(
        sender=EmailAddress("bounce", "far.test"), recipients=(Recipient(address=EmailAddress("anna", "example.test")),)
    )
    found = (await hooks.helo(HeloContext(session=session))).findings
    found += (await hooks.mail(MailContext(session=session, envelope=envelope, findings=found))).findings
    content = BytesContent(HEADER + b"x" * 3500)
    ctx = MessageContext(session=session, queue_id=QueueId("q"), envelope=envelope, content=content, findings=found)
    found += (await hooks.message(ctx)).findings
    authentication_results("mail.example.test", found.results)
    return found


def pyspf() -> Any:
    """None: it is not installed."""
    spec = importlib.util.spec_from_file_location("spf", _PYSPF) if _PYSPF.exists() else None
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def replay(module: Any, resolver: DnsResolver) -> str:
    """pyspf's evaluation, again and again until all that it asks for is there."""
    answers: dict[tuple[str, str], list[Any]] = {}

    class Missing(BaseException):
        pass

    class Query(module.query):  # type: ignore[misc]
        def dns(self, name: str, kind: str, cnames: Any = None, ignore_void: bool = False) -> list[Any]:
            if (name, kind) not in answers:
                raise Missing((name, kind))
            return answers[name, kind]

    while True:
        try:
            return str(Query(i=PEER, s="bounce@far.test", h=HELO).check()[0])
        except Missing as missing:
            name, kind = missing.args[0]
            texts = (await resolver.txt(name)).records if kind == "TXT" else ()
            answers[name, kind] = [(text,) for text in texts]


async def run() -> None:
    """Print a line for each."""
    with DnsServer() as dns:
        for name, text in TEXTS.items():
            dns.add(name, "TXT", f'"{text}"')
        dns.add("66.2.0.192.in-addr.arpa", "PTR", f"{HELO}.")
        dns.add(HELO, "A", PEER)
        clock = SystemClock()
        resolver = DnsResolver(Servers(DnsSettings(servers=[dns.endpoint]), clock), clock)
        async with AsyncExitStack() as stack:
            registries = {}
            for plugin in (iprev.plugin, spf.plugin, dmarc.plugin):
                registry = registries[plugin.name] = Registry(HookOptions(plugin=plugin.name, timeout=60.0))
                host = make_host(resolver=resolver, clock=clock, directory=Domains())
                await stack.enter_async_context(plugin.setup(registry, plugin.settings(), host))
            everything = Hooks(list(registries.values()))
            assert [r.result for r in (await message(everything)).results] == ["pass"] * 4
            nothing = await least(lambda: message(Hooks([])))
            for name, chosen in [("all three", list(registries.values())), *((n, [r]) for n, r in registries.items())]:
                hooks = Hooks(chosen)
                print(f"{name}: {await least(partial(message, hooks)) - nothing:.0f} us")
            check = await least(lambda: SpfCheck(resolver, PEER, HELO, "bounce@far.test").run())
            print(f"one evaluation of SPF: {check:.0f} us")
            module = pyspf()
            if module is not None:
                assert await replay(module, resolver) == "pass"
                print(f"the same by pyspf, replayed: {await least(partial(replay, module, resolver)):.0f} us")
        await resolver.close()


if __name__ == "__main__":
    uvloop.run(run())
