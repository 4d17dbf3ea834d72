"""Damage to seeds, for engines that do not see which code an input reaches."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.fuzz.targets import corpus

_MOST_EDITS = 6
_ODD = (
    b"\x00",
    b"\xff",
    b"\xc3",
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b"(",
    b")",
    b",",
    b":",
    b"\n",
    b"\r",
    b"-",
    b"@",
)
_ODD_WORDS = (b"NaN", b"1e999", b"null", b"true", b"9" * 30, b"\\ud800", b"[" * 80, b'"": ', b"\x80\x80\x80\x80\x08")


@st.composite
def damaged(draw: st.DrawFn, target: str) -> bytes:
    """Draw a seed of a target's corpus with some of its bytes cut, copied, replaced or followed by odd ones."""
    seeds = [path.read_bytes() for path in corpus(target)]
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, _MOST_EDITS))):
        start, end = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        data = data[:start] + draw(_replacement(data[start:end], seeds)) + data[end:]
    return data


def _replacement(cut: bytes, seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """Return what may stand in the place of some bytes: most often those bytes with a little more or less."""
    return st.one_of(
        st.sampled_from(_ODD + _ODD_WORDS).map(lambda odd: cut + odd),
        st.sampled_from(_ODD + _ODD_WORDS).map(lambda odd: odd + cut[1:]),
        st.binary(max_size=8).map(lambda some: some + cut[len(some) :]),
        st.sampled_from(seeds).map(lambda other: cut + other[: len(cut)]),
        st.sampled_from([b"", cut + cut, cut[:1]]),
    )
