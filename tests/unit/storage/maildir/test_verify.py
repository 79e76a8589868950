"""Each kind of damage to a healthy account: verify names it, rebuild mends it, and the mail is as it was."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from mailserver.model.mailbox import QuotaUsage
from mailserver.storage.maildir.checked import write_checked
from mailserver.storage.maildir.repair import maintenance
from mailserver.storage.maildir.repair.findings import Finding, Problem, Severity
from mailserver.storage.maildir.repair.verify import problems_of_store, verify_account
from tests.helpers.damage import DAMAGES, LOSSY, WORK, unsafe_name
from tests.helpers.maildir import ANNA, Seen, account_dir, content, fill, open_store, see


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Seen]]:
    data = tmp_path_factory.mktemp("healthy") / "maildir"
    asyncio.run(fill(data))
    return data, asyncio.run(see(data))


@pytest.fixture
def data(template: tuple[Path, dict[str, Seen]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(template[0], tmp_path / "maildir"))


@pytest.fixture
def before(template: tuple[Path, dict[str, Seen]]) -> dict[str, Seen]:
    return template[1]


def found(data: Path, *, full: bool = True) -> set[Problem]:
    return {finding.problem for finding in verify_account(str(account_dir(data)), full=full)}


def rebuild(data: Path) -> maintenance.Rebuilt:
    async def work() -> maintenance.Rebuilt:
        async with open_store(data) as store:
            return await maintenance.rebuild(store, ANNA, full=True)

    return asyncio.run(work())


def bad(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity is not Severity.NOTICE]


def test_a_healthy_account_has_nothing_wrong(data: Path) -> None:
    assert verify_account(str(account_dir(data)), full=True) == []
    assert problems_of_store(str(data), full=True) == {}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_named_and_mended(data: Path, before: dict[str, Seen], name: str) -> None:
    damage, problem = DAMAGES[name]
    damage(account_dir(data))
    was = content(data)
    assert problem in found(data)
    assert content(data) == was, "verify changed something"
    rebuilt = rebuild(data)
    assert problem in {finding.problem for finding in rebuilt.before}
    assert bad(rebuilt.after) == []
    assert bad(verify_account(str(account_dir(data)), full=True)) == []
    after = asyncio.run(see(data))
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("name", LOSSY)
def test_damage_that_cannot_be_undone_loses_no_message(data: Path, before: dict[str, Seen], name: str) -> None:
    damage, problem = LOSSY[name]
    damage(account_dir(data))
    assert problem in found(data)
    rebuilt = rebuild(data)
    assert bad(rebuilt.after) == []
    after = asyncio.run(see(data))
    for box in before:
        assert after[box].uid_validity == before[box].uid_validity
        assert len(after[box].messages) == len(before[box].messages)
        kept = {uid for uid in before[box].messages if after[box].messages.get(uid) == before[box].messages[uid]}
        assert len(kept) >= len(before[box].messages) - 1
        new = after[box].messages.keys() - before[box].messages.keys()
        assert not new or min(new) > max(before[box].messages)


def test_no_problem_is_another_one() -> None:
    assert len(Problem) == len(Problem.__members__)
    assert len({problem.code for problem in Problem}) == len(Problem) > 40


def test_every_problem_is_provoked() -> None:
    shown = {problem for _, problem in [*DAMAGES.values(), *LOSSY.values()]}
    elsewhere = {Problem.QUOTA_WRONG, Problem.INTENT_LEFT, Problem.MEMORY_DIFFERS}
    assert set(Problem) - shown - elsewhere == set()


def test_wrong_counters_are_told(data: Path) -> None:
    account = str(account_dir(data))
    assert verify_account(account, usage=QuotaUsage(octets=1, messages=1))[0].problem is Problem.QUOTA_WRONG


async def test_a_finished_intent_is_a_notice(data: Path) -> None:
    write_checked(str(account_dir(data) / "mailserver-renames"), "mailserver-renames", {"0": ".None/.Other"})
    (finding,) = verify_account(str(account_dir(data)))
    assert (finding.problem, finding.severity) == (Problem.INTENT_LEFT, Severity.NOTICE)


async def test_a_table_that_differs_from_the_index_is_told(data: Path) -> None:
    async with open_store(data) as store:
        account = await store.open_account(ANNA)
        async with account.open("Work") as box:
            assert await maintenance.verify(store, ANNA) == []
            box.table.flags[0] = box.flag_table.intern({"\\Draft"})
            findings = await maintenance.verify(store, ANNA)
            assert [finding.problem for finding in findings] == [Problem.MEMORY_DIFFERS]
            box.table.flags[0] = 0


def test_a_finding_is_printable(data: Path) -> None:
    unsafe_name(account_dir(data))
    for finding in verify_account(str(account_dir(data))):
        assert all(text.isprintable() for text in finding.row().values())


def test_many_findings_of_a_kind_are_counted(data: Path) -> None:
    for number in range(150):
        (account_dir(data) / WORK / "cur" / f"empty-{number}").touch(0o600)
    findings = [found for found in verify_account(str(account_dir(data))) if found.problem is Problem.FILE_EMPTY]
    assert len(findings) == 101
    assert findings[-1].text == "50 more of this kind in this folder"
