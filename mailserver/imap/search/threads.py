"""The threading algorithms of RFC 5256 §3 THREAD.

Messages are numbers from 0, in mailbox order. A tree is kept as the parent of each node, -1 for none; what siblings
there are, and in which order, is only made at the end. So every step is linear, and none knows how deep a thread is.
Work is done in generators that yield now and then.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

from mailserver.imap.slices import sorted_by
from mailserver.mime.sorting import NO_ID, ids_in, own_id_in

__all__ = ["Forest", "Threadable", "by_references", "by_subject", "thread_lists"]

Work = Generator[None, None, "Forest"]
_NONE = -1
_STEPS = 5_000
#: Steps up a tree for each node and reference, after which a doubtful link is not made; mail of people needs next to
#: none, see `_Links`.
_PATIENCE = 50


@dataclass(slots=True)
class Threadable:
    """Messages in mailbox order, column by column.

    Attributes:
        sent: sent dates.
        subjects: collation keys of base subjects.
        replies: whether the subject says that it is a reply or forward.
        ids: Message-IDs, for `mime.sorting.ids_in`.
    """

    sent: list[int] = field(default_factory=list)
    subjects: list[bytes] = field(default_factory=list)
    replies: list[bool] = field(default_factory=list)
    ids: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class Forest:
    """`roots` in order, `children` of those that have any, in order. Nodes from `count` on are dummies."""

    count: int
    roots: list[int] = field(default_factory=list)
    children: dict[int, list[int]] = field(default_factory=dict)


def by_subject(messages: Threadable) -> Work:
    """ORDEREDSUBJECT: of each base subject the first message, and all others are its children."""
    order = yield from sorted_by(list(range(len(messages.sent))), messages.sent)
    forest, first = Forest(len(order)), dict[bytes, int]()
    for done, at in enumerate(order):
        root = first.setdefault(messages.subjects[at], at)
        if root == at:
            forest.roots.append(at)
        else:
            forest.children.setdefault(root, []).append(at)
        if not done % _STEPS:
            yield
    return forest


def by_references(messages: Threadable) -> Work:
    """REFERENCES, steps 1 to 6."""
    links = _Links(len(messages.ids))
    yield from links.make(messages.ids)
    parent = yield from _pruned(links.parent, len(messages.ids))
    order = yield from sorted_by(list(range(len(parent))), messages.sent)
    yield from _gathered(messages, parent, order)
    return (yield from _grown(parent, order))


class _Links:
    """Step 1: who is whose parent. Nodes that stand for no message are dummies, numbered behind the messages.

    A link must not close a loop. A node that gets a parent has none at this moment (step 1.A leaves those alone that
    have one, step 1.B cuts first), so there is a loop if it is the root of its new parent's tree. Links only join
    trees, and which nodes are joined is known by union-find at next to no cost; only after a cut may a group consist of
    several trees, and one has to walk up to see. Those walks are counted: mail that was made to have endless ones loses
    some links of such groups.
    """

    def __init__(self, count: int) -> None:
        self.parent = [_NONE] * count
        self._count = count
        self._has_children = bytearray(count)
        self._group = list(range(count))
        self._cut: set[int] = set()
        self._nodes: dict[int, int] = {}
        self._patience = _PATIENCE * count

    def make(self, ids: Sequence[bytes]) -> Generator[None, None, None]:
        """Steps 1.A and 1.B for all messages."""
        nodes = self._nodes
        for at, octets in enumerate(ids):
            own = own_id_in(octets)
            # The first message has the id; one without, or with that of another, is known by none.
            if own != NO_ID:
                nodes.setdefault(own, at)
            if not at % _STEPS:
                yield
        work = 0
        for at, octets in enumerate(ids):
            named = ids_in(octets)
            last = self._chain(named)
            self._adopt(at, last)
            work += len(named)
            if work > _STEPS:
                work = 0
                yield

    def _chain(self, named: Sequence[int]) -> int:
        """Step 1.A; the last reference's node."""
        nodes, parent, before = self._nodes, self.parent, _NONE
        for position in range(1, len(named)):
            node = nodes.get(named[position])
            if node is None:
                node = self._dummy(named[position])
            if before != _NONE and parent[node] == _NONE:
                self._link(before, node)
            before = node
        self._patience += len(named)
        return before

    def _adopt(self, node: int, last: int) -> None:
        """Step 1.B."""
        old = self.parent[node]
        if old == last:
            return
        if old != _NONE:
            self.parent[node] = _NONE
            self._cut.add(self._find(node))
        if last != _NONE:
            self._link(last, node)

    def _dummy(self, message_id: int) -> int:
        node = len(self.parent)
        self._nodes[message_id] = node
        self.parent.append(_NONE)
        self._has_children.append(0)
        self._group.append(node)
        self._patience += _PATIENCE
        return node

    def _link(self, above: int, node: int) -> None:
        """Make `above` the parent of `node`, which has none, unless that closes a loop."""
        if above == node:
            return
        group, other = self._find(above), self._find(node)
        if group == other and self._has_children[node] and self._is_below(above, node, group):
            return
        self.parent[node] = above
        self._has_children[above] = 1
        if group != other:
            self._group[other] = group
            if other in self._cut:
                self._cut.remove(other)
                self._cut.add(group)

    def _is_below(self, node: int, root: int, group: int) -> bool:
        if group not in self._cut:
            return True
        parent = self.parent
        while node != _NONE and self._patience > 0:
            if node == root:
                return True
            node = parent[node]
            self._patience -= 1
        return node != _NONE

    def _find(self, node: int) -> int:
        group = self._group
        while group[node] != node:
            group[node] = group[group[node]]
            node = group[node]
        return node


def _pruned(parent: Sequence[int], count: int) -> Generator[None, None, list[int]]:
    """Steps 2 and 3: the parent of each message, which is a message, none, or a dummy with several children.

    All dummies beneath the root go, wherever they stand; one that is a root stays if it has more than one child left.
    """
    # Of a dummy: the next message above it, or the root (a dummy) if there is none.
    above: dict[int, int] = {}
    children: dict[int, int] = {}
    out = list(parent[:count])
    for at in range(count):
        node, passed = out[at], []
        while node >= count and node not in above and parent[node] != _NONE:
            passed.append(node)
            node = parent[node]
        node = above.get(node, node)
        for dummy in passed:
            above[dummy] = node
        out[at] = node
        if node >= count:
            children[node] = children.get(node, 0) + 1
        if not at % _STEPS:
            yield
    return [_NONE if node >= count and children[node] == 1 else node for node in out]


def _gathered(messages: Threadable, parent: list[int], order: Sequence[int]) -> Generator[None, None, None]:
    """Steps 4 and 5: threads of the same base subject become one; changes `parent`."""
    count = len(parent)
    # The roots in order, and of each the message whose subject counts: itself, or a dummy's first child.
    speaker: dict[int, int] = {}
    for at in order:
        if parent[at] == _NONE:
            speaker[at] = at
        elif parent[at] >= count:
            speaker.setdefault(parent[at], at)
    yield
    table: dict[bytes, int] = {}
    for root, at in speaker.items():
        subject = messages.subjects[at]
        if not subject:
            continue
        chosen = table.setdefault(subject, root)
        if chosen < count and (root >= count or (messages.replies[chosen] and not messages.replies[root])):
            table[subject] = root
    yield
    merged: dict[int, int] = {}
    next_dummy = max(count, *parent, _NONE) + 1
    for root, at in speaker.items():
        subject = messages.subjects[at]
        chosen = table.get(subject, root)
        if chosen == root:
            continue
        if root >= count:
            merged[root] = chosen
        elif chosen >= count or (messages.replies[root] and not messages.replies[chosen]):
            parent[root] = chosen
        else:
            parent[root] = parent[chosen] = table[subject] = next_dummy
            next_dummy += 1
    yield
    if merged:
        parent[:] = [merged.get(node, node) for node in parent]


def _grown(parent: Sequence[int], order: Sequence[int]) -> Work:
    """Step 6: siblings by sent date; a dummy stands where its first child would."""
    count = len(parent)
    forest = Forest(count)
    children = forest.children
    for done, at in enumerate(order):
        node = parent[at]
        if node == _NONE:
            forest.roots.append(at)
        else:
            siblings = children.get(node)
            if siblings is None:
                siblings = children[node] = []
                if node >= count:
                    forest.roots.append(node)
            siblings.append(at)
        if not done % _STEPS:
            yield
    return forest


def thread_lists(forest: Forest, numbers: Sequence[int]) -> Generator[bytes, None, None]:
    """The thread-lists of a THREAD response (RFC 5256 §5), piece by piece; `numbers[message]` is what is shown."""
    out: list[bytes] = []
    childless: Sequence[int] = ()
    for root in forest.roots:
        # Nodes that are still to be written, and lists that are still to be closed.
        stack = [root]
        while stack:
            node = stack.pop()
            if node == _NONE:
                out.append(b")")
                continue
            out.append(b"(")
            while len(children := forest.children.get(node, childless)) == 1:
                out.append(b"%d " % numbers[node])
                node = children[0]
                if len(out) > _STEPS:
                    yield b"".join(out)
                    out.clear()
            if node < forest.count:
                out.append(b"%d" % numbers[node])
            if children:
                if node < forest.count:
                    out.append(b" ")
                stack.append(_NONE)
                stack.extend(reversed(children))
            else:
                out.append(b")")
        if len(out) > _STEPS:
            yield b"".join(out)
            out.clear()
    yield b"".join(out)
