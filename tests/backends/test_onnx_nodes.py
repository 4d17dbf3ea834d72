"""The list of nodes that rewrites work on: after any edits it knows what a new list of the same nodes would."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from onnx import NodeProto
from onnx.helper import make_node
from qsimc_onnx.nodes import NodeList
from qsimc_onnx.rewrite import Names

TENSORS = "abcdef"

Edit = tuple[str, int, int]


def chain(start: int = 0) -> list[NodeProto]:
    """Return nodes of which each reads two tensors; no two make the same one."""
    return [
        make_node("Add", [TENSORS[n % len(TENSORS)], f"t{start + n - 1}"], [f"t{start + n}"], f"n{start + n}")
        for n in range(6)
    ]


def names(nodes: Sequence[NodeProto]) -> list[str]:
    return [node.name for node in nodes]


def apply(edits: Sequence[Edit]) -> tuple[NodeList, list[NodeProto]]:
    """Return a list of nodes after edits, and the same edits made to a plain list."""
    plain = chain()
    held = NodeList(plain)
    for count, (kind, place, size) in enumerate(edits, start=1):
        fresh = chain(100 * count)[:size]
        if kind == "append" or not plain:
            plain += fresh
            for node in fresh:
                held.append(node)
            continue
        node = plain[place % len(plain)]
        at = next(position for position, other in enumerate(plain) if other is node)
        if kind == "remove":
            held.remove(node)
            del plain[at]
        elif kind == "change":
            node.input[0] = TENSORS[size]
            node.output[0] = f"changed{count}"
            held.reread(node)
        else:
            around = [*fresh[: size // 2], node, *fresh[size // 2 :]] if kind == "beside" else fresh
            held.replace(node, around)
            plain[at : at + 1] = around
    return held, plain


edits = st.lists(
    st.tuples(
        st.sampled_from(["append", "remove", "change", "beside", "replace"]), st.integers(0, 50), st.integers(0, 5)
    ),
    max_size=12,
)


@given(edits)
def test_edits_leave_the_list_of_the_nodes_that_are_there(asked: Sequence[Edit]) -> None:
    held, plain = apply(asked)
    assert names(list(held)) == names(plain)
    known = NodeList(plain)
    for tensor in {name for node in plain for name in (*node.input, *node.output)} | set(TENSORS):
        assert held.maker(tensor) is known.maker(tensor)
        assert names(held.readers(tensor)) == names([node for node in plain if tensor in node.input])
        assert held.reader_count(tensor) == len(held.readers(tensor))


def test_a_name_that_is_taken_is_numbered_from_two_and_none_is_given_twice() -> None:
    taken = Names({"a", "a_3", "b_2"})
    assert [taken.fresh(name) for name in ("a", "a", "a", "b", "b", "b")] == ["a_2", "a_4", "a_5", "b", "b_3", "b_4"]
