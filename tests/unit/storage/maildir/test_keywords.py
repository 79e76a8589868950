from __future__ import annotations

from pathlib import Path

from mailserver.storage.maildir.keywords import JOURNAL, LETTERS_FILE, Keywords


def test_a_letter_is_on_disk_before_it_is_used_and_stays(tmp_path: Path) -> None:
    keywords = Keywords(str(tmp_path))
    assert keywords.info({"\\Seen", "$Work", "\\Flagged"}) == ":2,FSa"
    assert (tmp_path / LETTERS_FILE).read_bytes() == b"0 $Work\n"
    assert keywords.info({"Other"}) == ":2,b"
    again = Keywords(str(tmp_path))
    assert again.flags_of("FSab", "x") == {"\\Seen", "\\Flagged", "$Work", "Other"}
    assert again.info({"$WORK"}) == ":2,a", "keywords compare without regard to case"


def test_letters_that_mean_nothing_stay_in_the_name(tmp_path: Path) -> None:
    keywords = Keywords(str(tmp_path))
    assert keywords.flags_of("PSz", "x") == {"\\Seen"}
    assert keywords.info({"\\Seen", "\\Answered"}, "PSz") == ":2,PRSz"


def test_the_27th_keyword_goes_to_the_journal(tmp_path: Path) -> None:
    keywords = Keywords(str(tmp_path))
    names = [f"k{number:02}" for number in range(28)]
    info = keywords.info(sorted(names))
    assert info == ":2,abcdefghijklmnopqrstuvwxyz"
    further = keywords.without_letter(names)
    assert len(further) == 2
    keywords.journal({"base": further})
    again = Keywords(str(tmp_path))
    assert again.flags_of(info[3:], "base") == set(names)
    again.journal({"base": frozenset()})
    assert Keywords(str(tmp_path)).flags_of("", "base") == frozenset()


def test_a_torn_end_of_the_journal_is_passed_over(tmp_path: Path) -> None:
    keywords = Keywords(str(tmp_path))
    keywords.journal({"one": frozenset({"x"}), "two": frozenset({"y"})})
    path = tmp_path / JOURNAL
    path.write_bytes(path.read_bytes()[:-3])
    again = Keywords(str(tmp_path))
    assert [again.flags_of("", base) for base in ("one", "two")] == [{"x"}, set()]
    again.journal({"three": frozenset({"z"})})
    last = Keywords(str(tmp_path))
    assert [last.flags_of("", base) for base in ("one", "three")] == [{"x"}, {"z"}]


def test_the_journal_loses_what_it_says_of_the_gone(tmp_path: Path) -> None:
    keywords = Keywords(str(tmp_path))
    everything = {f"b{number}": frozenset({"x"}) for number in range(2000)}
    keywords.journal(everything)
    keywords.forget(["b1", "b1999", "never seen"])
    assert Keywords(str(tmp_path)).further_of("b1") == frozenset()
    assert Keywords(str(tmp_path)).further_of("b0") == {"x"}
    # Most of it is about messages that are gone: it is written anew.
    keywords.forget(base for base in everything if base != "b7")
    assert (tmp_path / JOURNAL).read_bytes().count(b"\n") == 1
    for known in (keywords, Keywords(str(tmp_path))):
        assert known.further_of("b7") == {"x"} and known.further_of("b8") == frozenset()


def test_files_of_other_programs_cannot_name_flags(tmp_path: Path) -> None:
    (tmp_path / LETTERS_FILE).write_bytes(b"0 good\n1 \\Seen\n2 with space\nx y\n99 far\n3 \xff\n4 good\n5 late\n")
    assert Keywords(str(tmp_path)).flags_of("abcdef", "x") <= {"good", "late", "\\Seen"}
