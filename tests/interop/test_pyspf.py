"""SPF beside pyspf (python3-spf), on records that Hypothesis makes: the same result for each.

Four differences are known, and kept out. pyspf counts each host of `mx` and each name of the client that has no address
as a void lookup, so that a domain's good record is an error for a client of the other family; for us a term is void
once. It refuses a modifier that it does not know when it comes twice (RFC 7208 §6: to be ignored, however often), and a
record that includes itself even where that is never reached; and it looks at `exp` only when there is a fail.
"""

from __future__ import annotations

import asyncio
import importlib.util
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailserver.plugins.spf import checking
from tests.helpers.zones import ZoneResolver

pytestmark = pytest.mark.interop
_FILE = Path("/usr/lib/python3/dist-packages/spf.py")

DOMAINS = ["a.test", "b.test", "c.test", "d.test", "mail.a.test", "none.test", "slow.test"]
PEERS = ["192.0.2.66", "192.0.2.130", "2001:db8::42", "::ffff:192.0.2.66"]
_PTR = {"192.0.2.66": "66.2.0.192.in-addr.arpa", "192.0.2.130": "130.2.0.192.in-addr.arpa"}

macros = st.builds(
    "%{{{}{}{}{}}}".format, st.sampled_from("slodivhSLDp"), st.sampled_from(["", "1", "2", "127"]),
    st.sampled_from(["", "r"]), st.sampled_from(["", ".", "-", "+-"]),
)  # fmt: skip
specs = st.one_of(
    st.sampled_from(DOMAINS), st.builds("{}.{}".format, macros, st.sampled_from(DOMAINS)),
    st.sampled_from(["%{d}", "%{o}", "%{h}", "%{d2}", "a.test.", "a/b.test", "a..test"]),
)  # fmt: skip
signs = st.sampled_from(["", "", "+", "-", "~", "?"])
cidr = st.sampled_from(["", "", "", "/24", "/32", "/0", "//64", "/24//64"])
good_terms = st.one_of(
    st.builds("{}all".format, signs),
    st.builds("{}{}".format, signs, st.sampled_from([
        "ip4:192.0.2.66", "ip4:192.0.2.0/25", "IP4:192.0.2.130/31", "ip6:2001:db8::/32", "ip6:::1", "ptr",
    ])),
    st.builds("{}{}{}".format, signs, st.sampled_from(["a", "mx"]), cidr),
    st.builds("{}{}:{}{}".format, signs, st.sampled_from(["a", "mx", "A"]), specs, cidr),
    st.builds("{}{}:{}".format, signs, st.sampled_from(["include", "exists", "ptr"]), specs),
    st.builds("{}={}".format, st.sampled_from(["redirect", "exp"]), specs), st.sampled_from(["a=b", "x.y=%{d}"]),
)  # fmt: skip
bad_terms = st.sampled_from([
    "all.", "all/8", "ip4:192.0.2", "ip4:192.0.2.66/33", "ip4:192.0.2.066", "ip6:2001", "ip4", "ip6:", "=a", "!", "a=%",
    "ip6:2001:db8::42/129", "a/33", "a//129", "a/024", "a/", "a:a.test/", "a:", "mx:a", "exists", "include", "a:a.1",
    "redirect=a.b-", "exists:%", "exists:%{x}.a.test", "exists:%{c}.a.test", "exp=", "redirect=", "ptr:", "a:%",
])  # fmt: skip
terms = st.one_of(*[good_terms] * 12, bad_terms)
records = st.lists(terms, max_size=5).map(lambda found: " ".join(["v=spf1", *found]))
zones = st.fixed_dictionaries({
    name: st.lists(
        st.one_of(
            records.map(lambda text: {"SPF": text}),
            st.sampled_from(["192.0.2.66", "192.0.2.1"]).map(lambda a: {"A": a}),
            st.just({"AAAA": "2001:db8::42"}), st.sampled_from(["a.test", "b.test"]).map(lambda h: {"MX": [10, h]}),
        ),
        max_size=4,
    )
    for name in DOMAINS[:5]
})  # fmt: skip


@pytest.fixture(scope="module")
def pyspf() -> Any:
    if not _FILE.exists():
        pytest.skip("python3-spf is not installed")
    spec = importlib.util.spec_from_file_location("spf", _FILE)
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        # Where it was not compiled before, Python finds fault with its strings.
        warnings.simplefilter("ignore")
        spec.loader.exec_module(module)
    module.MAX_VOID_LOOKUPS = 1000
    return module


def lookup(module: Any, zone: dict[str, Any]) -> Any:
    """`spf.DNSLookup` over the same zone."""

    def find(name: str, kind: str, strict: Any = True, timeout: Any = None) -> Iterator[Any]:
        entries = zone.get(name.lower().rstrip("."), [])
        if "TIMEOUT" in entries:
            raise module.TempError("DNS timeout")
        for entry in entries:
            ((type_, value),) = entry.items()
            if type_ == "SPF":
                yield (name, "TXT"), (value.encode(),)
            elif type_ == "AAAA":
                yield (name, type_), socket.inet_pton(socket.AF_INET6, value)
            else:
                yield (name, type_), tuple(value) if type_ == "MX" else value

    return find


def all_zones(zone: dict[str, Any]) -> dict[str, Any]:
    return zone | {
        "slow.test": ["TIMEOUT"],
        _PTR["192.0.2.66"]: [{"PTR": "mail.a.test"}],
        _PTR["192.0.2.130"]: [{"PTR": "b.test"}],
    }  # fmt: skip


@settings(max_examples=400)
@given(zones, st.sampled_from(PEERS), st.sampled_from(["al-ex@a.test", "o.b+c@mail.a.test", "postmaster@b.test"]))
@example({"a.test": [{"SPF": "v=spf1 exp=b.test -all"}], "b.test": []}, PEERS[0], "al-ex@a.test")
def test_the_same_result(pyspf: Any, zone: dict[str, Any], peer: str, sender: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checking, "_MAX_VOID", 1000)
        full = all_zones(zone)
        patch.setattr(pyspf, "DNSLookup", lookup(pyspf, full))
        theirs, _, words = pyspf.query(i=peer, s=sender, h="h.a.test").check()
        ours = asyncio.run(checking.SpfCheck(ZoneResolver(full), peer, "h.a.test", sender).run())
    if "trivial recursion" not in words and "MUST appear at most once" not in words:
        assert ours.result == theirs, (ours, words, full)
