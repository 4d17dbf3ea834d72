"""Programs of the qsim language: drawn from its grammar with words that mean something, then laid out at random."""

from __future__ import annotations

import re

from hypothesis import strategies as st
from hypothesis.extra.lark import from_lark
from lark import Lark

from qsimc import resources
from qsimc.ir.lexical import KEYWORDS

_WORDS = (
    "on off symmetric per_tensor bits type calib range kernels percentile unsigned_symmetric int mse minmax true Conv"
    " Relu torch.nn.Conv2d weight output output.bits vitis aimet onnx vitis-dpu vitis-cpu include_cle hw_version base"
)
_NUMBERS = "0 8 16 -1 99.99 1e3 8.0 0.50 1e999"
_STRINGS = ('"/a/b"', '"x.qsim"', r'"\u0041\n"', '"é # ("', '""', '"  "')
_NAMES = ("`a b`", "`let`", "`Conv`", "``", r"`\u0060`", '`"`', "`# (`")


def _spaced(*texts: str) -> st.SearchStrategy[str]:
    """Return tokens with blanks behind them, so that no two of them become one."""
    return st.sampled_from([text + blank for text in texts for blank in (" ", "\t ")])


# Blanks come with the tokens: drawing those between every two would take most of the time.
_GRAMMAR = re.sub(r"^%ignore .*$", "", resources.read("grammar", "qsim.lark"), flags=re.M)
_STATEMENTS = from_lark(
    Lark(_GRAMMAR, start="start", parser="lalr", maybe_placeholders=True),
    explicit={
        "NAME": _spaced(*_WORDS.split()),
        "NUMBER": _spaced(*_NUMBERS.split()),
        "STRING": _spaced(*_STRINGS),
        "QUOTED_NAME": _spaced(*_NAMES),
        "_NL": st.sampled_from(("\n", "\n\n", "\r\n  ")),
        **{word.upper(): _spaced(word) for word in KEYWORDS},
    },
)

_COMMENTS = (
    "",
    "\n",
    "\n\n",
    "  # a comment\n",
    "#\n",
    "\n# on its own\n",
    "\n\n  # parted\n\n",
    f" # {'long ' * 20}\n",
)
_GAP = re.compile(r"[\n({\[|,)\]}]")


@st.composite
def programs(draw: st.DrawFn) -> str:
    """Programs with comments, blank lines and line breaks wherever there is some mark; not all are well-formed."""
    text = draw(_STATEMENTS)
    gaps = [match.end() for match in _GAP.finditer(text)]
    wanted = draw(st.lists(st.tuples(st.sampled_from(gaps), st.sampled_from(_COMMENTS)), max_size=6)) if gaps else []
    for at, comment in sorted(wanted, reverse=True):
        text = text[:at] + comment + text[at:]
    return draw(st.sampled_from(("", "# title\n", "# title\n\n", "\n\n"))) + text
