"""Questions to strangers' web servers, over real TLS connections on loopback."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import sys
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from mailserver.net import web as web_module
from mailserver.net.web import HttpsClient
from mailserver.ports.web import WebAnswer, WebFailed
from tests.helpers.certs import Certificates, make_certificates
from tests.helpers.names import FakeResolver
from tests.helpers.web_server import WebServer

NAME = "web.far.test"
CA_FILE = ""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("web"), NAME)


@pytest.fixture
async def server(certificates: Certificates) -> AsyncIterator[WebServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.cert_file, certificates.key_file)
    async with WebServer(context) as running:
        yield running


@pytest.fixture(autouse=True)
def _authority(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "CA_FILE", str(certificates.ca_file))


@pytest.fixture
def names() -> FakeResolver:
    resolver = FakeResolver()
    resolver.has("addresses", NAME, "127.0.0.1")
    return resolver


async def ask(
    server: WebServer, names: FakeResolver, *, name: str = NAME, allow_private: bool = True, within: float = 20.0,
    ca_file: str | None = None, most: int = 1000,
) -> WebAnswer:  # fmt: skip
    async with HttpsClient(names, allow_private=allow_private) as client:
        return await client.get(
            f"https://{name}:{server.port}/x.txt", most=most, within=within,
            ca_file=CA_FILE if ca_file is None else ca_file,
        )  # fmt: skip


async def failure(server: WebServer, names: FakeResolver, **how: object) -> WebFailed:
    with pytest.raises(WebFailed) as caught:
        await ask(server, names, **how)  # type: ignore[arg-type]
    return caught.value


async def test_an_answer(server: WebServer, names: FakeResolver) -> None:
    async def answer(request: web.Request) -> web.Response:
        assert "gzip" not in request.headers["Accept-Encoding"]
        assert "Cookie" not in request.headers
        return web.Response(text="hello", content_type="Text/Plain", headers={"Set-Cookie": "a=b"})

    server.answer = answer
    assert await ask(server, names) == WebAnswer(status=200, media_type="text/plain", body=b"hello")
    assert server.requests == [f"GET {NAME}:{server.port} /x.txt"]


async def test_a_body_has_a_bound(server: WebServer, names: FakeResolver) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * 1001)

    server.answer = answer
    assert "more than 1000 octets" in (await failure(server, names)).text
    assert len((await ask(server, names, most=1001)).body) == 1001


async def test_an_endless_body_is_cut(server: WebServer, names: FakeResolver) -> None:
    sent = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 4096)
            sent += 4096

    server.answer = answer
    assert "more than 1000 octets" in (await failure(server, names)).text
    assert sent < 100 << 20


async def test_a_redirect_is_an_answer_and_nothing_is_followed(server: WebServer, names: FakeResolver) -> None:
    async def answer(request: web.Request) -> web.Response:
        raise web.HTTPMovedPermanently(f"https://{NAME}:{server.port}/elsewhere")

    server.answer = answer
    assert (await ask(server, names)).status == 301
    assert len(server.requests) == 1


async def test_nothing_is_unpacked(server: WebServer, names: FakeResolver) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(b"x" * 1_000_000), headers={"Content-Encoding": "gzip"})

    server.answer = answer
    assert "content coding" in (await failure(server, names)).text


async def test_all_of_it_has_one_time(server: WebServer, names: FakeResolver) -> None:
    waiting = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        await waiting.wait()
        return web.Response()

    server.answer = answer
    assert "within 0.2 s" in (await failure(server, names, within=0.2)).text
    waiting.set()


async def test_a_certificate_of_an_unknown_authority(server: WebServer, names: FakeResolver) -> None:
    error = await failure(server, names, ca_file="")
    assert error.untrusted
    assert "certificate is not good" in error.text
    assert server.requests == []


async def test_a_certificate_for_another_name(server: WebServer, names: FakeResolver) -> None:
    names.has("addresses", "other.test", "127.0.0.1")
    error = await failure(server, names, name="other.test")
    assert error.untrusted
    assert "other.test" in error.text
    assert server.requests == []


@pytest.mark.parametrize(("address", "words"), [
    ("127.0.0.1", "a loopback address"), ("10.1.2.3", "a private address"), ("169.254.169.254", "a link-local address"),
    ("::1", "a loopback address"), ("64:ff9b::a01:203", "a private address behind a translator"),
])  # fmt: skip
async def test_private_addresses_are_not_connected_to(
    server: WebServer, names: FakeResolver, address: str, words: str
) -> None:
    names.has("addresses", NAME, address)
    assert f"{address} is {words}" in (await failure(server, names, allow_private=False)).text
    # Neither when the address stands in the URL.
    literal = f"[{address}]" if ":" in address else address
    assert f"is {words}" in (await failure(server, names, name=literal, allow_private=False)).text
    assert server.connections == 0


async def test_a_good_address_beside_a_private_one_is_used(server: WebServer, names: FakeResolver) -> None:
    """Each is looked at for itself; 0.0.0.0 is refused in any case."""
    names.has("addresses", NAME, "0.0.0.0", "127.0.0.1")
    assert (await ask(server, names)).status == 404


async def test_names_that_lead_nowhere(server: WebServer, names: FakeResolver) -> None:
    assert (await failure(server, names, name="nowhere.test")).text == "nowhere.test does not exist"
    names.fails("addresses", NAME, "no answer from 192.0.2.53")
    assert (await failure(server, names)).text == "no answer from 192.0.2.53"


async def test_what_is_no_http(server: WebServer, names: FakeResolver) -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.write(b"SSH-2.0-Nonsense\r\n\r\n")
        request.transport.close()
        return web.Response()

    server.answer = answer
    assert "rules of HTTP" in (await failure(server, names)).text


async def test_connections_have_a_bound(
    server: WebServer, names: FakeResolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_module, "MOST_CONNECTIONS", 2)
    open_now, most = 0, 0
    both = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        if open_now == 2:
            both.set()
        await both.wait()
        open_now -= 1
        return web.Response()

    server.answer = answer
    async with HttpsClient(names, allow_private=True) as client:
        url = f"https://{NAME}:{server.port}/"
        await asyncio.gather(*(client.get(url, most=10, within=20, ca_file=CA_FILE) for _ in range(6)))
    assert (most, len(server.requests)) == (2, 6)


async def test_other_schemes_and_broken_urls(server: WebServer, names: FakeResolver) -> None:
    async with HttpsClient(names) as client:
        for url in ("http://web.far.test/", "file:///etc/passwd", "https://", "https://x:99999/"):
            with pytest.raises(WebFailed):
                await client.get(url, most=10, within=5)
    assert server.connections == 0


async def test_authorities_that_cannot_be_read(server: WebServer, names: FakeResolver) -> None:
    assert "/nowhere.pem" in (await failure(server, names, ca_file="/nowhere.pem")).text


async def test_a_document_is_given(server: WebServer, names: FakeResolver) -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.headers["Content-Type"] == "application/x"
        return web.Response(status=201, body=await request.read())

    server.answer = answer
    async with HttpsClient(names, allow_private=True) as client:
        url = f"https://{NAME}:{server.port}/in"
        found = await client.post(url, b"\0octets", "application/x", most=100, within=20, ca_file=CA_FILE)
        assert (found.status, found.body) == (201, b"\0octets")
        with pytest.raises(WebFailed, match="more than 3 octets"):
            await client.post(url, b"\0octets", "application/x", most=3, within=20, ca_file=CA_FILE)
    async with HttpsClient(names) as client:
        with pytest.raises(WebFailed, match="not connected to"):
            await client.post(url, b"", "application/x", most=100, within=20, ca_file=CA_FILE)
    assert server.requests == [f"POST {NAME}:{server.port} /in"] * 2
