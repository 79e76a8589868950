"""What was said of a message stays with it, up to a size."""

from __future__ import annotations

import orjson

from mailserver.model.findings import AuthResult, Findings, Judgement, Reason
from mailserver.queue.judgements import judgement_fields, judgements_of


def back(*judgements: Judgement) -> tuple[tuple[Judgement, ...], int]:
    """As it is read again, and the octets that it took."""
    octets = orjson.dumps(judgement_fields(judgements))
    return judgements_of(orjson.loads(octets)), len(octets)


def test_what_is_said_of_all_is_kept_once() -> None:
    common = Findings(
        (AuthResult(method="spf", result="pass", properties=(("smtp.mailfrom", "x@far.test"),)),),
        tuple(Reason("test", 1.5, f"reason {number}" * 5, "advice") for number in range(10)),
    )
    judgements = tuple(
        Judgement(account=f"{number}@example.test", findings=common + Findings((), (Reason("own", -1.0, "mine"),)))
        for number in range(1000)
    )
    found, octets = back(*judgements)
    assert found == judgements and octets < 100_000


def test_what_is_too_much_is_not_known_later_but_what_follows_from_it_is() -> None:
    large = Findings((), tuple(Reason("test", 1.0, f"{number} " + "x" * 290) for number in range(30)))
    other = Findings((), tuple(Reason("other", 1.0, f"{number} " + "x" * 290) for number in range(30)))
    many = Findings((), tuple(Reason("test", 1.0, str(number)) for number in range(61)))
    small = Findings((), (Reason("test", 1.0, "x"),))
    found, octets = back(
        Judgement(account="a", findings=large), Judgement(account="b", findings=other, quarantined=True),
        Judgement(account="c", findings=many, refusal="No"), Judgement(account="d", findings=small),
    )  # fmt: skip
    assert [one.findings for one in found] == [large, None, None, small] and octets < 20_000
    assert (found[1].quarantined, found[2].refusal) == (True, "No")


def test_texts_are_cut_and_can_be_written() -> None:
    odd = Findings(
        (AuthResult(method="dkim", result="fail", reason="\udcff" * 400, properties=(("x", "y"),) * 20),),
        (Reason("test", 1.0, "\ud800 text", "z" * 4000),),
    )
    ((found,), octets) = back(Judgement(findings=odd, refusal="w\udcff" * 400))
    assert found.findings is not None and octets < 3000
    assert found.findings.results[0].properties == (("x", "y"),) * 12
    assert found.findings.reasons[0].text == "? text" and len(found.refusal) == 300
