"""A day of DMARC reports: what is counted, and what is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mailserver.api import AuthResult
from mailserver.mime.dmarc_feedback import read_feedback
from mailserver.plugins.aggregate_reports.dmarc_report import DmarcReports
from tests.helpers.aggregate_reporting import FAR, TODAY, parsed
from tests.helpers.dmarc_reporting import World, evaluated
from tests.helpers.dmarc_reports import XSD
from tests.helpers.xsd import faults

FAILED: dict[str, Any] = {"passed": False, "dkim_aligned": False, "disposition": "reject"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path).running() as running:
        yield running


async def document(world: World) -> str:
    text = world.file()
    assert faults(text, XSD) == []
    return text.decode()


# what is counted


async def test_the_report_of_a_day(world: World) -> None:
    world.asks("mailto:dmarc@far.test")
    forged = evaluated(
        peer="2001:db8::66", sender="", helo="evil.test", author="sub.far.test",
        overrides=(("mailing_list", "a & b <x>"),), **FAILED | {"disposition": "none"},
        results=(AuthResult(method="spf", result="none", properties=(("smtp.helo", "evil.test"),)),),
    )  # fmt: skip
    world.count(evaluated(), evaluated(), forged)
    assert await world.send() == 0 and await world.next_day() == 1
    text = await document(world)
    assert text == f"""<?xml version="1.0" encoding="UTF-8"?>
<feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0">
 <version>1.0</version>
 <report_metadata>
  <org_name>example.test</org_name>
  <email>postmaster@example.test</email>
  <report_id>{TODAY}.far.test@example.test</report_id>
  <date_range>
   <begin>1799971200</begin>
   <end>1800057599</end>
  </date_range>
  <generator>mailserver</generator>
 </report_metadata>
 <policy_published>
  <domain>far.test</domain>
  <discovery_method>treewalk</discovery_method>
  <p>reject</p>
  <sp>reject</sp>
  <np>reject</np>
  <fo>0</fo>
  <adkim>r</adkim>
  <aspf>s</aspf>
  <testing>n</testing>
 </policy_published>
 <record>
  <row>
   <source_ip>192.0.2.25</source_ip>
   <count>2</count>
   <policy_evaluated>
    <disposition>pass</disposition>
    <dkim>pass</dkim>
    <spf>fail</spf>
   </policy_evaluated>
  </row>
  <identifiers>
   <header_from>far.test</header_from>
   <envelope_from>mail.far.test</envelope_from>
  </identifiers>
  <auth_results>
   <dkim>
    <domain>far.test</domain>
    <selector>s1</selector>
    <result>pass</result>
   </dkim>
   <dkim>
    <domain>list.test</domain>
    <selector>x</selector>
    <result>fail</result>
   </dkim>
   <spf>
    <domain>mail.far.test</domain>
    <scope>mfrom</scope>
    <result>softfail</result>
   </spf>
  </auth_results>
 </record>
 <record>
  <row>
   <source_ip>2001:db8::66</source_ip>
   <count>1</count>
   <policy_evaluated>
    <disposition>none</disposition>
    <dkim>fail</dkim>
    <spf>fail</spf>
    <reason>
     <type>mailing_list</type>
     <comment>a &amp; b &lt;x&gt;</comment>
    </reason>
   </policy_evaluated>
  </row>
  <identifiers>
   <header_from>sub.far.test</header_from>
   <envelope_from></envelope_from>
  </identifiers>
  <auth_results>
   <spf>
    <domain>evil.test</domain>
    <scope>mfrom</scope>
    <result>none</result>
   </spf>
  </auth_results>
 </record>
</feedback>
"""
    assert "bounce" not in text, "no address of a person"
    found = read_feedback(text.encode())
    assert (found["messages"], found["failed"], found["domain"]) == (3, 1, FAR)


@pytest.mark.parametrize(
    ("fields", "disposition", "reason"),
    [
        ({"p": "none"}, "none", ""),
        ({"p": "none", "sp": "reject"}, "none", ""),
        ({"p": "none", "sp": "reject", "author": "sub.far.test"}, "pass", ""),
        ({"p": "reject", "np": "none", "author": "sub.far.test"}, "none", ""),
        (FAILED, "reject", ""),
        (FAILED | {"p": "none"}, "reject", "local_policy"),
        (FAILED | {"disposition": "none", "overrides": (("trusted_forwarder", ""),)}, "none", "trusted_forwarder"),
    ],
)
async def test_dispositions_and_their_reasons(
    world: World, fields: dict[str, Any], disposition: str, reason: str
) -> None:
    world.asks("mailto:dmarc@far.test")
    world.count(evaluated(**fields))
    await world.next_day()
    (row,) = read_feedback((await document(world)).encode())["rows"]
    assert (row["disposition"], row["reasons"]) == (disposition, (reason,) if reason else ())


async def test_what_others_say_cannot_break_a_report(world: World) -> None:
    world.asks("mailto:dmarc@far.test")
    odd = "</domain>\x00\x1b\ud800\uffff" + "x" * 999
    results = (
        AuthResult(method="dkim", result="fail", properties=(("header.d", odd), ("header.s", odd))),
        AuthResult(method="dkim", result="unheard-of", properties=(("header.d", "x.test"),)),
        AuthResult(method="spf", result="fail"),
    )  # fmt: skip
    world.count(evaluated(author=odd, sender=odd, results=results, overrides=(("other", odd),), fo=odd))
    await world.next_day()
    assert len(await document(world)) < 5000


async def test_only_of_domains_that_ask(world: World) -> None:
    world.count(evaluated(rua=()))
    assert (await world.shown())["sent"] == []


async def test_what_is_in_no_record_is_told_as_a_number(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DmarcReports, "limits", replace(DmarcReports.limits, rows=3))
    world.asks("mailto:dmarc@far.test")
    for _ in range(2):
        world.count(*(evaluated(peer=f"192.0.2.{number}") for number in range(5)))
        assert len((await world.row())["rows"]) == 3
    assert (await world.row())["messages"] == 10, "those without a row count, too"
    await world.next_day()
    assert "4 more messages are in no record" in await document(world)


async def test_the_last_policy_of_the_day_is_told(world: World) -> None:
    world.asks("mailto:dmarc@far.test")
    world.count(evaluated(p="none"), evaluated())
    await world.next_day()
    assert "<p>reject</p>" in await document(world)


# what is sent


async def test_the_message(world: World) -> None:
    world.asks("mailto:dmarc@far.test")
    world.count(evaluated(), evaluated(**FAILED))
    await world.next_day()
    ((envelope, octets),) = world.queued.values()
    assert envelope.sender is None, "nothing ever comes back"
    text, file = parsed(octets).iter_parts()
    assert "1 x far.test from [192.0.2.25]: proved by nothing, refused" in text.get_content()
    assert str(file.get_filename()).endswith(".xml.gz")


async def test_switched_off_it_is_not_counted_either(tmp_path: Path) -> None:
    async with World(tmp_path, send=False).running() as world:
        world.count(evaluated())
        assert (await world.shown())["sent"] == []


async def test_another_organisation_must_agree(world: World) -> None:
    """RFC 9990 §4."""
    world.asks("mailto:a@victim.test", "mailto:b@reports.test", "mailto:c@mail.far.test", "https://far.test/x")
    world.agrees("reports.test")
    world.count(evaluated())
    await world.next_day()
    assert set(world.sent_to()) == {"b@reports.test", "c@mail.far.test"}
    row = await world.row()
    assert row["state"] == "sent" and "victim.test does not say" in row["trouble"]


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("v=DMARC1; rua=mailto:other@reports.test", ["other@reports.test"]),
        ("v=DMARC1; rua=mailto:other@elsewhere.test", []),
        ("v=DMARC1; rua=mailto:a@reports.test,mailto:other@elsewhere.test", []),
        ("v=DMARC1;", ["b@reports.test"]),
        ("v=spf1 -all", []),
    ],
)
async def test_another_organisation_may_say_where(world: World, text: str, sent: list[str]) -> None:
    world.asks("mailto:b@reports.test")
    world.agrees("reports.test", text)
    world.count(evaluated())
    await world.next_day()
    assert world.sent_to() == sent
    assert (await world.row())["state"] == ("sent" if sent else "failed")


async def test_domains_of_a_public_suffix_are_other_organisations(world: World) -> None:
    world.dns.has("txt", "_dmarc.test", b"v=DMARC1; p=none; psd=y")
    world.asks("mailto:b@reports.test")
    world.count(evaluated())
    await world.next_day()
    assert world.queued == {}


@pytest.mark.parametrize(("limit", "sent"), [("!10m", 1), ("!1k", 0), ("!500", 0), ("!1g", 1), ("!0", 1)])
async def test_limits_of_size(world: World, limit: str, sent: int) -> None:
    world.asks(f"mailto:dmarc@far.test{limit}")
    world.count(evaluated())
    await world.next_day()
    assert len(world.queued) == sent
    if not sent:
        assert "octets" in (await world.row())["trouble"]


async def test_what_cannot_be_looked_up_is_asked_again_for_a_day(world: World) -> None:
    world.asks("mailto:dmarc@far.test", "mailto:b@reports.test")
    world.dns.fails("txt", "far.test._report._dmarc.reports.test")
    world.count(evaluated())
    await world.next_day()
    row = await world.row()
    assert (row["state"], row["told"], len(world.queued)) == ("waiting", ["mailto:dmarc@far.test"], 1)
    world.clock.advance(301)
    world.agrees("reports.test")
    assert await world.send() == 1
    assert ((await world.row())["state"], len(world.queued)) == ("sent", 2)

