from __future__ import annotations

from pathlib import Path

import pytest

from mailserver.model.errors import LimitReached
from mailserver.model.mailbox import SpecialUse
from mailserver.model.rights import parse_rights
from mailserver.storage.maildir.checked import Damaged
from mailserver.storage.maildir.folder import Arrival, Folder
from mailserver.storage.maildir.folder_state import STATE_FILE, FolderState


def folder_at(path: Path, uid_floor: int = 1) -> Folder:
    return Folder("A", ".A", str(path), FolderState(uid_validity=5, uid_floor=uid_floor))


def arrival(uid: int) -> Arrival:
    return Arrival(uid, f"b{uid}", True, "", 1, 1, 0, 0, frozenset())


def test_the_state_comes_back_with_what_later_versions_wrote(tmp_path: Path) -> None:
    state = FolderState(uid_validity=5, uid_floor=9, modseq_floor=77, special_use=frozenset({SpecialUse.SENT}))
    state.acl = {"anna@example.test": parse_rights("lrs"), "a b=%@example.test": parse_rights("x")}
    state.others["later"] = "anna lrs"
    state.save(str(tmp_path))
    assert FolderState.load(str(tmp_path)) == state


def test_every_changed_octet_is_noticed(tmp_path: Path) -> None:
    FolderState(uid_validity=5).save(str(tmp_path))
    path = tmp_path / STATE_FILE
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(Damaged):
            FolderState.load(str(tmp_path))
        path.write_bytes(whole[:at])
        with pytest.raises(Damaged):
            FolderState.load(str(tmp_path))


def test_floors_are_durable_before_a_number_of_the_block_is_used(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    assert folder.take_uids() == 1
    assert FolderState.load(str(tmp_path)).uid_floor > 1
    saved = [(tmp_path / STATE_FILE).stat().st_ino]
    for expected in range(2, 2500):
        assert folder.take_uids() == expected < FolderState.load(str(tmp_path)).uid_floor
        inode = (tmp_path / STATE_FILE).stat().st_ino
        if inode != saved[-1]:
            saved.append(inode)
    assert len(saved) <= 4, "a block of UIDs is one write"


def test_a_clean_stop_writes_the_exact_numbers(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    for uid in (folder.take_uids(), folder.take_uids()):
        folder.resolve(uid, arrival(uid))
    folder.settle(folder.lead)
    state = FolderState.load(str(tmp_path))
    assert (state.uid_floor, state.modseq_floor) == (3, folder.highest_modseq + 1)


def test_a_floor_that_cannot_be_written_gives_no_uid(tmp_path: Path) -> None:
    folder = folder_at(tmp_path / "missing")
    with pytest.raises(OSError):
        folder.take_uids()
    assert folder.next_uid == 1 and folder.state.uid_floor == 1


def test_the_last_uid(tmp_path: Path) -> None:
    folder = folder_at(tmp_path, uid_floor=2**32 - 2)
    assert folder.take_uids() == 2**32 - 2
    with pytest.raises(LimitReached):
        folder.take_uids()


def test_uids_become_visible_in_order(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    shown: list[int] = []
    folder.on_visible = lambda arrivals: shown.extend(item.uid for item in arrivals)
    first = folder.take_uids(4)
    folder.resolve(first + 2, arrival(first + 2))
    folder.resolve(first + 1, None)
    assert shown == [] and folder.visible_next == first and folder.waiting(first + 2)
    folder.resolve(first, arrival(first))
    assert shown == [first, first + 2] and folder.visible_next == first + 3


def test_what_is_held_is_shown_later_with_a_higher_modseq(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    shown: list[Arrival] = []
    folder.on_visible = shown.extend
    folder.hold()
    uid = folder.take_uids()
    folder.resolve(uid, arrival(uid))
    assert not shown
    folder.highest_modseq += 1
    folder.release()
    assert [item.modseq for item in shown] == [folder.highest_modseq]
