"""The qsim language: one grammar, two parsers, and what `target`, `extends`, `require` and `forbid` mean."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.lark import from_lark
from lark import Lark

from qsimc import formats, resources
from qsimc.diagnostics import Diagnostic
from qsimc.formats import builtin
from qsimc.ir import lexical
from qsimc.ir.config import Config, Value, show_rule
from qsimc.ir.lexical import KEYWORDS
from qsimc.ir.predicate import Compare, Implies, Member, Ref
from qsimc.ir.select import Chain, OpType
from qsimc.pipeline.check import check
from qsimc.source import Source
from qsimc.syntax import quick, tables
from qsimc.syntax.tree import Tree

GRAMMAR = resources.read("grammar", "qsim.lark")
EVERYTHING = """
# every statement and every kind of value
dialect onnx
extends target vitis-dpu
extends "common/int8.qsim"
target vitis-cpu
option a=1 b=(x | y) c=()
let w4 = bits=4 symmetric

Conv[weight]: @w4 calib=mse percentile=99.99
~"*/attn/*"[output,]: range=-1..1 range=0.. range=..6 kernels=(int16/int8 | float16/float16) name="x"
(MatMul | Gemm | `Foo \\u0060 Bar`) -> Add {

  *: bits=16
  [bias, `my param`]: off
  [weight]:
}
`let` { }
fuse Conv -> (
    Relu | PRelu
)
model[input, output]: on
require Conv[weight]: bits <= 8  "no such kernel" as htp-w8
forbid *: asymmetric and calib in (mse | entropy)
require *: (
    per_channel and scale == float and not (type == float16) or bits != 8
    => calib == minmax
)
require *: output.bits == bias.bits
"""


def read(text: str, path: str = "c.qsim") -> tuple[Config, list[Diagnostic]]:
    found: list[Diagnostic] = []
    config = formats.read(Source(path, text), found.append, "qsim")
    assert config is not None
    return config, found


# ── the grammar ──────────────────────────────────────────────────────────────────────────────


def test_the_grammar_is_lalr_without_any_conflict() -> None:
    # `strict` also proves, with interegular, that no two terminals of a state match one text.
    Lark(GRAMMAR, parser="lalr", lexer="contextual", strict=True, postlex=tables.Newlines(), maybe_placeholders=True)


def parsed(text: str) -> tuple[Tree | None, Tree | None]:
    """Return what the quick parser and what the tables make of a text."""
    found: list[Diagnostic] = []
    tree = tables.parse(Source("x.qsim", text), found.append)
    return quick.parse(text + "\n"), None if found else tree


def bare(tree: Tree) -> object:
    """Return a tree without the range of its root, which holds every line."""
    return tree.data, tree.children


@settings(max_examples=30)
@given(from_lark(Lark(GRAMMAR, start="start"), explicit={"COMMENT": st.just("")}))
@example(EVERYTHING)
@example("Conv: on")
@example("fuse: on\n")
@example("require *: not symmetric\nA: bits=")
@example("extends targetA")
@example("(((A)))[x]: on\n\n\n# end")
def test_what_the_quick_parser_reads_the_tables_read_the_same(text: str) -> None:
    ours, theirs = parsed(text)
    if ours is not None:
        assert theirs is not None
        assert bare(ours) == bare(theirs)


def test_the_quick_parser_reads_every_kind_of_statement() -> None:
    assert quick.parse(EVERYTHING) is not None


@given(st.integers(0, len(EVERYTHING) - 1), st.sampled_from(["", ":", "(", "}", "in", " and ", "\n", '"', "=>"]))
@settings(max_examples=100)
@example(EVERYTHING.index("..6 ker") + 3, " and ")
def test_what_the_tables_refuse_the_quick_parser_refuses(at: int, inserted: str) -> None:
    ours, theirs = parsed(EVERYTHING[:at] + inserted + EVERYTHING[at + 1 :])
    assert ours is None or theirs is not None


@pytest.mark.parametrize("stem", builtin.stems())
def test_what_comes_with_qsimc_needs_no_tables(stem: str) -> None:
    assert quick.parse(builtin.source(stem).text + "\n") is not None


@pytest.mark.parametrize("line", ["(" * 2000 + "A" + ")" * 2000 + ": on", f"require *: {'not ' * 2000}symmetric"])
def test_what_is_nested_too_deeply_is_said_to_be(line: str) -> None:
    config, found = read(f"{line}\nConv: on\n")
    assert [(d.code, d.labels[0].span.line) for d in found] == [("Q0106", 1)]
    assert len(config.rules) == 1


def test_the_keywords_are_those_of_the_grammar() -> None:
    tables_ = Lark(GRAMMAR, parser="lalr", postlex=tables.Newlines())
    written = {str(terminal.pattern.value) for terminal in tables_.terminals if terminal.name.isalpha()}
    assert {word for word in written if re.fullmatch("[a-z]+", word)} == KEYWORDS


# ── names and values ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("Conv", "Conv"),
        ("torch.nn.Conv2d", "torch.nn.Conv2d"),
        ("Foo Bar", "`Foo Bar`"),
        ("model", "`model`"),  # a keyword
        ("", "``"),
        ("2d", "`2d`"),
        ('a"b', '`a"b`'),
        ("`", r"`\u0060`"),
        ("a\\b\n", r"`a\\b\n`"),
        ("\u202e", r"`\u202e`"),  # what cannot be seen is spelled out
        ("\U000e0001", r"`\udb40\udc01`"),
    ],
)
def test_every_name_has_a_spelling(text: str, spelled: str) -> None:
    assert lexical.name(text) == spelled
    config, found = read(f"{spelled}[{spelled}]: off\nConv -> {spelled} {{ }}\n")
    assert not found
    assert [rule.selector for rule in config.rules] == [OpType(text), Chain((OpType("Conv"), OpType(text)))]
    assert config.rules[0].clauses[0].roles == (text,)


@pytest.mark.parametrize("name", ["`a", "`a\n`", r"`\x`", r"`\ud800`", r"`\"`"])
def test_a_name_that_is_no_text_is_refused(name: str) -> None:
    _, found = read(f"{name}: off\n")
    assert {d.code for d in found} == {"Q0106"}


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("kernels=int16/int8", (("int16", "int8"),)),
        ("kernels=(int16/int8)", (("int16", "int8"),)),
        ("kernels=(int16 | float16/int8)", (("int16",), ("float16", "int8"))),
        ('kernels=("int 8" | (X | (uint8 | uint16)) | ())', (("int 8",), ("X", ("uint8", "uint16")), ())),
        ("kernels=()", ()),
        ("range=0..1.0", (0, 1.0)),
        ("range=..", (None, None)),
    ],
)
def test_a_value_is_read_as_what_it_is(setting: str, value: Value) -> None:
    config, found = read(f"*: {setting}\n")
    assert not found
    assert repr(config.rules[0].clauses[0].settings[0].value) == repr(value)


@pytest.mark.parametrize("setting", ["kernels=int16", "kernels=(8 | int8)", "kernels=(0..1)", "range=(0 | 1)"])
def test_a_value_of_another_kind_is_refused(setting: str) -> None:
    _, found = read(f"*: {setting}\n")
    assert [d.code for d in found] == ["Q0202"]


@pytest.mark.parametrize(
    ("number", "spelled"),
    [(8, "8"), (8.0, "8.0"), (99.99, "99.99"), (1e16, "1e16"), (1e-5, "1e-5"), (-0.5, "-0.5"), (math.inf, "1e999")],
)
def test_a_number_has_one_spelling(number: float, spelled: str) -> None:
    assert lexical.number(number) == spelled
    assert repr(lexical.read_number(spelled)) == repr(number)


def test_an_entry_can_say_nothing() -> None:
    config, found = read("Conv {\n  [weight]:\n  *:\n}\noption_ { }\n")
    assert not found
    assert [[(c.roles, c.settings) for c in rule.clauses] for rule in config.rules] == [
        [(("weight",), ()), ((), ())],
        [],
    ]


def test_an_option_can_hold_nothing() -> None:
    config, found = read("dialect aimet\noption supergroup_passes=()\n")
    assert not found
    assert config.options[0].value == ()


def test_the_dialect_of_aimet_s_torch_half_has_its_options() -> None:
    config, found = read("dialect aimet-torch\noption hw_version=V73\n")
    assert not found
    assert (config.dialect, config.options[0].value) == ("aimet-torch", "V73")


# ── restrictions ─────────────────────────────────────────────────────────────────────────────


def test_a_restriction_is_read_to_the_last_word() -> None:
    config, found = read('require Conv[weight, bias]: type == int => calib in (diffs | minmax) "why" as some-name')
    assert not found
    (restriction,) = config.restrictions
    assert (restriction.name, restriction.polarity, restriction.message) == ("some-name", "require", "why")
    assert restriction.roles == ("weight", "bias")
    claim = restriction.predicate
    assert isinstance(claim, Implies)
    assert isinstance(claim.premise, Compare)
    assert isinstance(claim.conclusion, Member)
    assert (claim.premise.left, claim.premise.right) == (Ref("type"), "int")
    assert claim.conclusion.values == ("diffs", "minmax")
    assert restriction.span.text == "type == int => calib in (diffs | minmax)"


@pytest.mark.parametrize(
    ("line", "code", "underlined", "words"),
    [
        ("require *: bitz == 8", "Q0201", "bitz", "did you mean `bits`"),
        ("require *: symetric", "Q0201", "symetric", "did you mean `symmetric`"),
        ("require *: wieght.bits == 8", "Q0201", "wieght.bits", "did you mean `weight`"),
        ("require *: calib in (diff | minmax)", "Q0201", "diff", "did you mean `diffs`"),
        ("require *: bits == many", "Q0202", "many", ""),
        ("require *: calib < mse", "Q0202", "calib < mse", ""),
        ("require *: bits ==", "Q0106", "", ""),
        ("target vitis-dpv", "Q0201", "vitis-dpv", "did you mean `vitis-dpu`"),
        ("extends target vitis-dpv", "Q0201", "vitis-dpv", "did you mean `vitis-dpu`"),
        ('extends "no-such-file.qsim"', "Q0108", '"no-such-file.qsim"', "relative"),
    ],
)
def test_a_wrong_word_is_underlined(line: str, code: str, underlined: str, words: str) -> None:
    config, found = read(line)
    assert [d.code for d in found] == [code]
    assert not underlined or found[0].labels[0].span.text == underlined
    assert words in " ".join(found[0].helps)
    assert not config.restrictions


def test_a_file_s_own_restrictions_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "c.qsim"
    path.write_text(
        'Conv[weight]: bits=16\nrequire Conv[weight]: bits <= 8 "no such kernel" as narrow\nforbid *: symmetric\n'
    )
    found = check(path)
    assert [(d.code, d.name) for d in found] == [("Q0401", "narrow")]
    assert found[0].helps == ("write one of `bits=2` to `bits=8`",)
    assert [label.span.text for label in found[0].labels] == ["bits=16", "bits <= 8"]


def test_contradictions_are_wrong_on_any_hardware(tmp_path: Path) -> None:
    path = tmp_path / "c.qsim"
    path.write_text("*: unsigned narrow_range\n")
    assert [d.name for d in check(path)] == ["unsigned-narrow"]


# ── target and extends ───────────────────────────────────────────────────────────────────────


def test_a_target_is_named_and_its_restrictions_hold(tmp_path: Path) -> None:
    path = tmp_path / "c.qsim"
    path.write_text("dialect vitis\ntarget vitis-dpu\n*[weight]: asymmetric\n")
    found = check(path)
    assert [d.name for d in found] == ["dpu-symmetric"]
    assert [label.span.text for label in found[0].labels][:2] == ["asymmetric", "vitis-dpu"]


def test_a_file_comes_after_what_it_extends(tmp_path: Path) -> None:
    (tmp_path / "base.qsim").write_text("dialect aimet\noption hw_version=V73\n*[weight]: bits=8\nfuse Conv -> Relu\n")
    config, found = read('extends "base.qsim"\n*[weight]: bits=4\n', str(tmp_path / "c.qsim"))
    assert not found
    assert [show_rule(r.selector, c.roles, s) for r in config.rules for c in r.clauses for s in c.settings] == [
        "*[weight]: bits=8",
        "*[weight]: bits=4",
    ]
    assert (config.dialect, len(config.fusions), [o.value for o in config.options]) == ("aimet", 1, ["V73"])


def test_mistakes_in_what_is_extended_are_reported_there(tmp_path: Path) -> None:
    (tmp_path / "base.qsim").write_text("*[weight]: symetric\n")
    _, found = read('extends "base.qsim"\n', str(tmp_path / "c.qsim"))
    assert [(d.code, d.file) for d in found] == [("Q0201", str(tmp_path / "base.qsim"))]


def test_a_file_cannot_extend_itself(tmp_path: Path) -> None:
    (tmp_path / "a.qsim").write_text('extends "b.qsim"\n')
    (tmp_path / "b.qsim").write_text('extends "a.qsim"\n')
    _, found = read('extends "b.qsim"\n', str(tmp_path / "a.qsim"))
    assert [d.code for d in found] == ["Q0108"]
    assert "extends itself" in found[0].message


def test_a_target_that_is_extended_is_the_target() -> None:
    config, found = read("extends target vitis-cpu\n")
    assert not found
    assert (config.target, config.dialect) == ("vitis-cpu", "vitis")
    assert {r.name for r in config.restrictions} >= {"pow2-calib", "float-reduce"}


OUTSIDE = "it lies outside the project of this file"


@pytest.mark.parametrize(
    ("path", "reasons"),
    [
        ("../base.qsim", []),
        ("../../secret.qsim", [OUTSIDE]),
        ("../link.qsim", [OUTSIDE]),
        ("/etc/passwd", [OUTSIDE]),
        ("https://example.com/base.qsim", ["there is no such file"]),
    ],
)
def test_a_file_extends_files_of_its_project_and_no_others(path: str, reasons: list[str], tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "configs").mkdir(parents=True)
    (project / "qsimc.toml").touch()
    (project / "base.qsim").write_text("*[output]: on\n", encoding="utf-8")
    (tmp_path / "secret.qsim").write_text("*[output]: off\n", encoding="utf-8")
    (project / "link.qsim").symlink_to(tmp_path / "secret.qsim")
    found: list[Diagnostic] = []
    formats.read(Source(str(project / "configs" / "cfg.qsim"), f'extends "{path}"\n'), found.append, "qsim")
    assert [finding.message.partition(": ")[2] for finding in found] == reasons
