"""Fixtures for every test: a certificate authority, and the real server."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.helpers.certs import Certificates, make_certificates
from tests.helpers.clock import FakeClock
from tests.helpers.daemon import DOMAIN, Daemon

# A shared machine is slow at times: examples are bounded by their number, never by their time.
settings.register_profile("mailserver", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mailserver")

ACCOUNTS = ("anna", "ben", "cleo")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long runs are for `make soak`: they need `-m soak` or SOAK=1."""
    if not os.environ.get("SOAK") and "soak" not in config.getoption("markexpr"):
        skip = pytest.mark.skip(reason="a long run: make soak")
        for item in items:
            if item.get_closest_marker("soak"):
                item.add_marker(skip)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Octets that nobody can read name no test: those of an archive hold the time, and each of the processes that share
    the tests makes its own."""
    if isinstance(val, bytes) and (len(val) > 60 or not all(32 <= octet < 127 for octet in val)):
        return argname
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """What a test leaves open (a socket, a transport, a file) fails this test: the collector would come across it in a
    later one, and blame that. What was there before is frozen, so that only what the test has made is looked at."""
    yield
    found: list[str] = []
    hook = sys.unraisablehook
    sys.unraisablehook = lambda one: found.append(f"{one.exc_value!r} in {one.object!r}")
    try:
        gc.collect()
    finally:
        sys.unraisablehook = hook
    gc.freeze()
    if found:
        pytest.fail("left open: " + "; ".join(found), pytrace=False)


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """A command that a test runs in this process, with no server to ask, makes its files private; other tests' need
    not be: programs that they start as other users could not read them."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """For mail.example.test and loopback."""
    return make_certificates(tmp_path_factory.mktemp("tls"), "mail.example.test")


@pytest.fixture
def fake_clock() -> FakeClock:
    """Stands still until it is moved."""
    return FakeClock()


@pytest.fixture(scope="session")
def _server_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with the accounts, made once by the command line (hashing passwords takes its time)."""
    root = tmp_path_factory.mktemp("template")
    daemon = Daemon(root / "daemon")
    for name in ACCOUNTS:
        daemon.add_account(f"{name}@{DOMAIN}")
    return daemon.data


DaemonMaker = Callable[..., Daemon]


@pytest.fixture
def make_daemon(
    tmp_path_factory: pytest.TempPathFactory, _server_template: Path, certificates: Certificates
) -> Iterator[DaemonMaker]:
    """Makes servers (not yet started) that have the accounts anna, ben and cleo@example.test and our certificate."""
    made: list[Daemon] = []

    def make(*, settings: dict[str, str] | None = None, **arguments: object) -> Daemon:
        root = tmp_path_factory.mktemp("daemon")
        shutil.copytree(_server_template, root / "maildir")
        tls = f'cert_file = "{certificates.cert_file}"\nkey_file = "{certificates.key_file}"'
        daemon = Daemon(root, settings={"tls": tls} | (settings or {}), **arguments)  # type: ignore[arg-type]
        made.append(daemon)
        return daemon

    yield make
    for daemon in made:
        if daemon.running:
            daemon.kill9()


@pytest.fixture
def daemon(make_daemon: DaemonMaker) -> Iterator[Daemon]:
    """A server of this test's own, running; its log is checked at the end."""
    with make_daemon() as running:
        yield running


@pytest.fixture(scope="module")
def shared_daemon(
    tmp_path_factory: pytest.TempPathFactory, _server_template: Path, certificates: Certificates
) -> Iterator[Daemon]:
    """A running server for all tests of a module that leave no traces that matter to the others."""
    root = tmp_path_factory.mktemp("shared")
    shutil.copytree(_server_template, root / "maildir")
    tls = f'cert_file = "{certificates.cert_file}"\nkey_file = "{certificates.key_file}"'
    with Daemon(root, settings={"tls": tls}) as running:
        yield running
