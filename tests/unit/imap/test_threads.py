"""THREAD's algorithms: answers that were worked out by hand, and RFC 5256 §3 written down step by step as an oracle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.imap.search import threads
from mailserver.imap.search.threads import Threadable, Work, by_references, by_subject, thread_lists
from mailserver.imap.slices import sorted_by


@dataclass(slots=True)
class Mail:
    """A message: ids are small numbers, 0 for none."""

    own: int = 0
    references: Sequence[int] = ()
    subject: str = ""
    reply: bool = False
    sent: int = 0


def _threadable(mail: Sequence[Mail]) -> Threadable:
    return Threadable(
        [one.sent for one in mail], [one.subject.encode() for one in mail], [one.reply for one in mail],
        [b"".join(number.to_bytes(8, "little") for number in (one.own, *one.references)) for one in mail],
    )  # fmt: skip


def _threads(algorithm: Callable[[Threadable], Work], mail: Sequence[Mail]) -> str:
    work = algorithm(_threadable(mail))
    while True:
        try:
            next(work)
        except StopIteration as end:
            return b"".join(thread_lists(end.value, range(1, len(mail) + 1))).decode()


# --- the oracle: nodes with links, recursion, and every rule where the RFC has it


@dataclass(eq=False, slots=True)
class Node:
    """A message, or a dummy."""

    mail: Mail | None = None
    number: int = 0
    parent: Node | None = None
    children: list[Node] = field(default_factory=list)

    def is_below(self, other: Node) -> bool:
        node: Node | None = self
        while node is not None:
            if node is other:
                return True
            node = node.parent
        return False

    def cut(self) -> None:
        if self.parent is not None:
            self.parent.children.remove(self)
            self.parent = None

    def put_under(self, parent: Node) -> None:
        if not parent.is_below(self):
            parent.children.append(self)
            self.parent = parent

    @property
    def key(self) -> tuple[int, int]:
        return (self.mail.sent, self.number) if self.mail else self.first.key

    @property
    def first(self) -> Node:
        return min(self.children, key=lambda child: child.key)

    @property
    def speaker(self) -> Mail:
        mail = self.mail or self.first.mail
        assert mail is not None
        return mail


def _prune(node: Node, *, is_root: bool) -> list[Node]:
    """Step 3; what stands in the place of the node."""
    node.children = [kept for child in node.children for kept in _prune(child, is_root=False)]
    if node.mail is not None or (is_root and len(node.children) > 1):
        for child in node.children:
            child.parent = node
        return [node]
    return node.children


def _sort_children(node: Node) -> None:
    for child in node.children:
        _sort_children(child)
    node.children.sort(key=lambda child: child.key)


def _write(node: Node) -> str:
    inner = [_write(child) for child in node.children]
    if node.mail is None:
        return f"({''.join(inner)})"
    if len(inner) == 1:
        return f"({node.number} {inner[0][1:]}"
    return f"({node.number}{' ' if inner else ''}{''.join(inner)})"


def _oracle(mail: Sequence[Mail]) -> str:
    nodes = [Node(one, number) for number, one in enumerate(mail, 1)]
    table: dict[int, Node] = {}
    for node, one in zip(nodes, mail, strict=True):
        if one.own:
            table.setdefault(one.own, node)
    for node, one in zip(nodes, mail, strict=True):
        chain = [table.setdefault(number, Node()) for number in one.references]
        for above, below in pairwise(chain):
            if below.parent is None:
                below.put_under(above)
        node.cut()
        if chain:
            node.put_under(chain[-1])
    everything = [*nodes, *(node for node in table.values() if node.mail is None)]
    roots = [kept for node in everything if node.parent is None for kept in _prune(node, is_root=True)]
    roots.sort(key=lambda root: root.key)
    roots = _gather(roots)
    roots.sort(key=lambda root: root.key)
    for root in roots:
        _sort_children(root)
    return "".join(map(_write, roots))


def _gather(roots: list[Node]) -> list[Node]:
    table: dict[str, Node] = {}
    for node in roots:
        if node.speaker.subject:
            chosen = table.setdefault(node.speaker.subject, node)
            if chosen.mail and (node.mail is None or (chosen.mail.reply and not node.mail.reply)):
                table[node.speaker.subject] = node
    subjects = [(node, node.speaker.subject) for node in roots]
    out = list(roots)
    for node, subject in subjects:
        chosen = table.get(subject, node)
        if chosen is node or node not in out:
            continue
        out.remove(node)
        if node.mail is None:
            chosen.children += node.children
        elif chosen.mail is None or (node.mail.reply and not chosen.mail.reply):
            chosen.children.append(node)
        else:
            dummy = table[subject] = Node(children=[chosen, node])
            out[out.index(chosen)] = dummy
    return out


_MAIL = st.builds(
    Mail, st.integers(0, 8), st.lists(st.integers(1, 9), max_size=4), st.sampled_from(["", "a", "b", "c"]),
    st.booleans(), st.integers(0, 5),
)  # fmt: skip


@settings(max_examples=600)
@given(st.lists(_MAIL, max_size=12))
def test_references_as_the_rfc_says(mail: list[Mail]) -> None:
    assert _threads(by_references, mail) == _oracle(mail)


@pytest.mark.parametrize(
    ("mail", "expected"),
    [
        ([], ""),
        ([Mail()], "(1)"),
        ([Mail(1), Mail(2, [1]), Mail(3, [1, 2]), Mail(4, [1])], "(1 (2 3)(4))"),
        # The parent is not there.
        ([Mail(1, [9]), Mail(2, [9])], "((1)(2))"),
        ([Mail(1, [9])], "(1)"),
        # One that comes later.
        ([Mail(2, [1], sent=2), Mail(1, sent=1)], "(2 1)"),
        # Who answers whom in a circle.
        ([Mail(1, [2]), Mail(2, [1])], "(2 1)"),
        ([Mail(1, [1])], "(1)"),
        # Ids that are there twice belong to the first.
        ([Mail(1), Mail(1), Mail(2, [1])], "(1 3)(2)"),
        # Subjects.
        ([Mail(1, subject="a"), Mail(2, subject="a", reply=True)], "(1 2)"),
        ([Mail(1, subject="a", reply=True), Mail(2, subject="a")], "(2 1)"),
        ([Mail(1, subject="a"), Mail(2, subject="a")], "((1)(2))"),
        ([Mail(1, subject="a"), Mail(2, subject="a"), Mail(3, subject="a")], "((1)(2)(3))"),
        ([Mail(1, [8], "a"), Mail(2, [8], "a"), Mail(3, [9], "a"), Mail(4, [9], "a")], "((1)(2)(3)(4))"),
        ([Mail(1, [8], "a"), Mail(2, [8], "a"), Mail(3, subject="a")], "((1)(2)(3))"),
        # Order: by sent date, then as in the mailbox; a dummy stands with its first child.
        ([Mail(sent=3), Mail(sent=1), Mail(sent=2), Mail(sent=1)], "(2)(4)(3)(1)"),
        ([Mail(1, [9], sent=5), Mail(2, [9], sent=1), Mail(3, sent=3)], "((2)(1))(3)"),
    ],
)
def test_references(mail: list[Mail], expected: str) -> None:
    assert _oracle(mail) == expected
    assert _threads(by_references, mail) == expected


def test_ordered_subject() -> None:
    mail = [Mail(subject=subject, sent=sent) for subject, sent in
            (("a", 5), ("b", 2), ("a", 1), ("b", 3), ("a", 4), ("", 9), ("c", 0))]  # fmt: skip
    assert _threads(by_subject, mail) == "(7)(3 (5)(1))(2 4)(6)"


def test_a_link_is_replaced_by_what_the_message_says_itself() -> None:
    # 3 is said to be the child of 1, and says that it answers 2.
    mail = [Mail(4, [1, 3]), Mail(3, [2]), Mail(1), Mail(2)]
    assert _threads(by_references, mail) == _oracle(mail) == "(3)(4 2 1)"


@pytest.mark.parametrize("backwards", [False, True])
def test_a_chain_of_a_hundred_thousand(backwards: bool) -> None:
    """ATTACKS I10: no recursion, no quadratic work."""
    count = 100_000
    mail = [Mail(number, [number - 1] if number > 1 else [], sent=number) for number in range(1, count + 1)]
    numbers = list(range(1, count + 1))
    if backwards:
        mail.reverse()
        numbers.reverse()
    assert _threads(by_references, mail) == f"({' '.join(map(str, numbers))})"


def test_hostile_links_cost_a_bounded_number_of_steps() -> None:
    """ATTACKS I10: to know that a link closes no circle, one has to walk up all of a long chain, again and again."""
    last, some = 3_000, range(2_000)
    chain = [Mail(number, [number - 1]) for number in range(2, last + 1)]
    # Each of these has a child, is put under the end of the chain, says that it has no parent, and is put there again.
    children = [Mail(0, [5_000 + number]) for number in some]
    claims = [Mail(0, [last, 5_000 + number]) for number in some]
    cut = [Mail(5_000 + number) for number in some]
    mail = [*chain, *children, *claims, *cut, *claims]
    links = threads._Links(len(mail))
    for _ in links.make(_threadable(mail).ids):
        pass
    assert 0 <= links._patience < 10  # that much work, and no more
    for start in range(0, len(links.parent), 97):
        node, steps = start, 0
        while node >= 0:
            node, steps = links.parent[node], steps + 1
            assert steps <= len(links.parent), "a circle"


def test_ten_thousand_messages_that_all_refer_to_the_same_in_circles() -> None:
    ids = list(range(1, 101))
    mail = [Mail(1_000 + number, ids[number % 100 :] + ids[: number % 100]) for number in range(10_000)]
    assert _threads(by_references, mail).count("(") > 0


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("spread", [1, 40, 1_000_000])
def test_large_sorts_in_pieces_are_sorts(reverse: bool, spread: int) -> None:
    column = [b"%07d" % (number * 7919 % 60_013 % spread) for number in range(45_000)]
    order = list(range(len(column)))
    work, turns = sorted_by(list(order), column, reverse=reverse), 0
    while True:
        try:
            next(work)
            turns += 1
        except StopIteration as end:
            assert end.value == sorted(order, key=column.__getitem__, reverse=reverse)
            break
    assert turns > 8
