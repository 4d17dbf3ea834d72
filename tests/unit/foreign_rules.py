"""Neutral configurations drawn from the whole vocabulary, for writers: whatever they are given, they write."""

from __future__ import annotations

from hypothesis import strategies as st

from qsimc.ir.config import Clause, Config, Fusion, Rule, Setting
from qsimc.ir.select import AnyOf, Boundary, Chain, Everything, NodeName, OpType, Selector
from qsimc.ir.value import Value
from qsimc.source import Source, Span
from qsimc.spec.fields import domain, vocabulary

_SOURCE = Source("drawn.qsim", "x" * 1000)
_SPANS = st.integers(0, 998).map(lambda start: Span(_SOURCE, start, start + 1))
_VALUES: dict[str, st.SearchStrategy[Value]] = {
    "bits": st.integers(2, 32),
    "per_group": st.sampled_from([1, 32, 64, 100, 256]),
    "range": st.sampled_from([(0.0, 1.0), (-1.0, 1.0), (None, 6.0), (0.0, None), (0.0, 1e308), (-1e308, 1e308)]),
    "percentile": st.floats(50, 100),
    "kernels": st.sampled_from([(("int8", "int8"), ("int8", "int4")), (("float16", "float16"),), (("int16",),)]),
}
_OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Gather", "Relu", "Softmax", "Flatten", "HardSwish", "Cast")


def _settings() -> st.SearchStrategy[Setting]:
    fields = st.sampled_from(list(vocabulary().fields))
    return fields.flatmap(lambda name: st.builds(Setting, st.just(name), _values(name), _SPANS))


def _values(name: str) -> st.SearchStrategy[Value]:
    return _VALUES[name] if name in _VALUES else st.sampled_from(list(domain(name)))


_SELECTORS: st.SearchStrategy[Selector] = st.sampled_from(
    [
        *map(OpType, _OPERATORS),
        *[Everything()] * 4,
        Boundary(),
        NodeName("conv1"),
        NodeName("block/*", glob=True),
        AnyOf((OpType("Conv"), OpType("Gemm"), NodeName("head"))),
        Chain((OpType("Conv"), OpType("Relu"))),
    ]
)
_ROLES = st.sampled_from([(), ("act",), ("param",), ("input",), ("output",), ("weight",), ("bias",)])
_CLAUSES = st.builds(Clause, _ROLES, st.lists(_settings(), min_size=1, max_size=5).map(tuple), _SPANS)
_RULES = st.builds(Rule, _SELECTORS, st.lists(_CLAUSES, max_size=3).map(tuple), _SPANS)
_FUSIONS = st.builds(
    Fusion,
    st.sampled_from(
        [
            Chain((OpType("Conv"), OpType("Relu"))),
            Chain((AnyOf((OpType("Conv"), OpType("Gemm"))), OpType("Add"), OpType("Relu"))),
            Chain((OpType("LayerNormalization"), OpType("Relu"))),
        ]
    ),
    _SPANS,
)


def configs() -> st.SearchStrategy[Config]:
    """Configurations of the neutral dialect; much of what they say contradicts itself."""
    return st.builds(
        Config,
        st.just(_SOURCE),
        st.just("onnx"),
        st.just("qsim"),
        rules=st.lists(_RULES, max_size=5).map(tuple),
        fusions=st.lists(_FUSIONS, max_size=2).map(tuple),
    )
