"""A configuration to begin with: it extends a target, and says in comments what that sets and what can be said."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from textwrap import wrap

from qsimc import targets
from qsimc.formats.pretty import WIDTH
from qsimc.formats.qsim_writer import write
from qsimc.ir.config import Config

_OPERATORS = {"vitis": ("Conv2d", "Linear", "ReLU")}
_ONNX = ("Conv", "Gemm", "Relu")


def starter(name: str) -> str:
    """Return a .qsim file for a hardware target, in the layout of `qsimc fmt`.

    Raises:
        LookupError: there is no such target; the message names those there are.
    """
    config = targets.load(name).config
    lines = [
        *_prose(f"A configuration for {name}.  {targets.title(name)}"),
        "# `qsimc check` says what is wrong with this file, and `qsimc fmt` lays it out.",
        "",
        f"extends target {name}",
        "",
        *_section("What holds unless a rule below says otherwise:", _set_by(config)),
        *_section(f"What it requires (`qsimc targets {name}` prints it all):", _required_by(config)),
        *_section("What rules look like; the more particular one wins, else the later:", _examples(config.dialect)),
    ]
    return "".join(f"{line}\n" for line in lines[:-1])


def _section(title: str, lines: Iterable[str]) -> list[str]:
    """Return lines as a comment with a title and a blank line below it, nothing if there are none."""
    listed = [f"#   {line}".rstrip() for line in lines]
    return [f"# {title}", "#", *listed, ""] if listed else []


def _prose(text: str) -> list[str]:
    return wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ")


def _set_by(config: Config) -> list[str]:
    """Return the statements of a target but for its header and its restrictions."""
    written = write(replace(config, target=None, restrictions=()), compact=True)
    return written.partition("\n\n")[2].splitlines()


def _required_by(config: Config) -> list[str]:
    said = (f"{r.message} ({r.name})" for r in config.restrictions if r.message)
    return [line for text in said for line in wrap(text, WIDTH, subsequent_indent="  ")]


def _examples(dialect: str) -> list[str]:
    conv, linear, relu = _OPERATORS.get(dialect, _ONNX)
    examples = (
        ("Softmax[output]: off", "the outputs of every Softmax"),
        (f"({conv} | {linear})[bias]: off", "the biases of two operators"),
        ('"/layer1/conv1/Conv": off', "all tensors of one node, by its name"),
        ('~"/head/*": off', "those of every node with such a name"),
        (f"fuse {conv} -> {relu}", "they run as one: nothing is quantized between them"),
    )
    width = max(len(example) for example, _ in examples)
    return [f"{example:<{width}}  # {meaning}" for example, meaning in examples]
