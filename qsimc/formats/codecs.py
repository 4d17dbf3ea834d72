"""How vendors spell values: each codec turns a located JSON value into a neutral one, or says what is wrong.

A codec never stops: it returns the value the vendor's program would work with, if there is one, beside the
problem, so that the rest of the file is still read.
"""

from __future__ import annotations

import json

from qsimc.diagnostics import Edit, Fix, did_you_mean
from qsimc.formats import vitis_codecs
from qsimc.formats.decoded import Codec, Decoded, Problem
from qsimc.ir.config import Value
from qsimc.source import Span
from qsimc.syntax.json import Array, Json, Object, Scalar, kind


def _bad(problem: Problem) -> Decoded:
    return Decoded(None, (problem,))


def _wrong_type(value: Json, expected: str, schema_type: str) -> Problem:
    text = f"{_python(value)} is not of type '{schema_type}'"
    return Problem(f"expected {expected}, found {kind(value)}", value.span, vendor=text)


def _python(value: Json) -> str:
    """Return a value as Python prints it, which is how a JSON-Schema message quotes it."""
    match value:
        case Scalar(scalar, _):
            return repr(scalar)
        case Array(items, _):
            return f"[{', '.join(map(_python, items))}]"
        case Object(members, _):
            return "{" + ", ".join(f"{m.key!r}: {_python(m.value)}" for m in members) + "}"


def boolean(value: Json) -> Decoded:
    """`"True"` or `"False"`, strings: AIMET refuses JSON's true and false."""
    if isinstance(value, Scalar) and value.value in ("True", "False"):
        return Decoded(value.value == "True")
    meant = _meant(value)
    fixes = () if meant is None else (Fix(f'write `"{meant}"`', (Edit(value.span, f'"{meant}"'),), safe=True),)
    helps = ('write `"True"` or `"False"`, in double quotes',)
    if not isinstance(value, Scalar) or not isinstance(value.value, str):
        wrong = _wrong_type(value, 'the string `"True"` or `"False"`', "string")
        return _bad(Problem(wrong.message, value.span, "", helps, fixes, wrong.vendor))
    # The schema's `$` also matches before a final newline, and what is not converted counts as true.
    slips_through = value.value in ("True\n", "False\n")
    vendor = None if slips_through else f"{value.value!r} does not match '^True$|^False$'"
    problem = Problem(
        f'`{json.dumps(value.value)}` is neither `"True"` nor `"False"`', value.span, "", helps, fixes, vendor
    )
    return Decoded(True if slips_through else None, (problem,))


def _meant(value: Json) -> bool | None:
    spelled = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if not isinstance(value, Scalar):
        return None
    return spelled.get(str(value.value).strip().casefold())


def text(value: Json) -> Decoded:
    """Any string."""
    if isinstance(value, Scalar) and isinstance(value.value, str):
        return Decoded(value.value)
    return _bad(_wrong_type(value, "a string", "string"))


def texts(value: Json) -> Decoded:
    """An array of strings."""
    if not isinstance(value, Array):
        return _bad(_wrong_type(value, "an array of names", "array"))
    decoded = [text(item) for item in value.items]
    problems = tuple(p for d in decoded for p in d.problems)
    return Decoded(tuple(d.value for d in decoded if d.value is not None), problems)


def chain(value: Json) -> Decoded:
    """An array of at least two operator names."""
    names = texts(value)
    if names.problems or not isinstance(value, Array) or len(value.items) >= 2:
        return names
    problem = Problem(
        f"a supergroup has at least two operators, this one has {len(value.items)}",
        value.span,
        helps=("name the operators that run as one, in order", "or remove the entry"),
        vendor=f"{_python(value)} is too short",
    )
    return Decoded(None, (problem,))


def limits(value: Json) -> Decoded:
    """`{"min": number, "max": number}`; the upper bound may be missing."""
    if not isinstance(value, Object):
        return _bad(_wrong_type(value, "an object with `min` and `max`", "object"))
    bounds: dict[str, Value] = {"min": None, "max": None}
    problems: list[Problem] = []
    for member in value.members:
        if member.key not in bounds:
            problems.append(_ignored_bound(member.key, member.key_span))
        elif isinstance(member.value, Scalar) and type(member.value.value) in (int, float):
            bounds[member.key] = member.value.value
        else:
            problems.append(_wrong_type(member.value, "a number", "number"))
    if not any(m.key == "min" for m in value.members):
        missing = "the lower bound `min` is missing"
        problems.append(Problem(missing, value.span, helps=("add `min`",), vendor="'min' is a required property"))
        return Decoded(None, tuple(problems))
    return Decoded((bounds["min"], bounds["max"]), tuple(problems))


def _ignored_bound(key: str, span: Span) -> Problem:
    near = did_you_mean(key, ("min", "max"))
    fixes = () if near is None else (Fix(f"rename to `{near}`", (Edit(span, f'"{near}"'),)),)
    helps = () if near is None else (f"did you mean `{near}`?",)
    return Problem(f"`{key}` is no bound and is ignored by AIMET", span, f"/{key}", helps, fixes)


def kernels(value: Json) -> Decoded:
    """Pairs of activation and param precision, both required: `int16/int8`."""
    return _kernels(value, ("activation", "param"))


def op_kernels(value: Json) -> Decoded:
    """Pairs of activation and param precision of one operator; the param is optional."""
    return _kernels(value, ("activation",))


def _kernels(value: Json, required: tuple[str, ...]) -> Decoded:
    if not isinstance(value, Array):
        return _bad(_wrong_type(value, "an array of kernels", "array"))
    if not value.items:
        helps = ("name a kernel, or leave `supported_kernels` out",)
        return _bad(Problem("the list of kernels is empty", value.span, helps=helps, vendor="[] should be non-empty"))
    pairs: list[Value] = []
    problems: list[Problem] = []
    for item in value.items:
        if not isinstance(item, Object):
            problems.append(_wrong_type(item, "an object with `activation` and `param`", "object"))
            continue
        members = {m.key: m for m in item.members}
        words = [_kernel(members[side].value, problems) for side in ("activation", "param") if side in members]
        problems += [_missing(side, item.span) for side in required if side not in members]
        problems += [_additional(m.key, m.key_span) for m in item.members if m.key not in ("activation", "param")]
        pairs.append(tuple(word for word in words if word is not None))
    return Decoded(tuple(pairs), tuple(problems))


def _kernel(value: Json, problems: list[Problem]) -> str | None:
    if not isinstance(value, Object):
        problems.append(_wrong_type(value, "an object with `bitwidth` and `dtype`", "object"))
        return None
    members = {m.key: m.value for m in value.members}
    problems += [_missing(key, value.span) for key in ("bitwidth", "dtype") if key not in members]
    problems += [_additional(m.key, m.key_span) for m in value.members if m.key not in ("bitwidth", "dtype")]
    if not {"bitwidth", "dtype"} <= members.keys():
        return None
    bits, dtype = members["bitwidth"], members["dtype"]
    before = len(problems)
    if not (isinstance(bits, Scalar) and type(bits.value) is int and bits.value in (4, 8, 16, 32)):
        said = f"{_python(bits)} is not one of [4, 8, 16, 32]"
        helps = ("write `4`, `8`, `16` or `32`",)
        problems.append(Problem("a kernel has 4, 8, 16 or 32 bits", bits.span, helps=helps, vendor=said))
    if not (isinstance(dtype, Scalar) and dtype.value in ("int", "float")):
        said = f"{_python(dtype)} is not one of ['int', 'float']"
        helps = ('write `"int"` or `"float"`',)
        problems.append(Problem("a kernel's dtype is `int` or `float`", dtype.span, helps=helps, vendor=said))
    if len(problems) > before:
        return None
    assert isinstance(bits, Scalar)
    assert isinstance(dtype, Scalar)
    if dtype.value == "float" and bits.value in (4, 8):
        said = "Activation dtype:float is only supported with bitwidth:16"
        helps = ("write `16` or `32`",)
        problems.append(Problem("a float kernel has 16 or 32 bits", bits.span, helps=helps, vendor=said))
    return f"{dtype.value}{bits.value}"


def _missing(key: str, span: Span) -> Problem:
    return Problem(f"`{key}` is missing", span, helps=(f"add `{key}`",), vendor=f"'{key}' is a required property")


def _additional(key: str, span: Span) -> Problem:
    said = f"Additional properties are not allowed ({key!r} was unexpected)"
    return Problem(f"no key is called `{key}` here", span, helps=("remove it",), vendor=said)


CODECS: dict[str, Codec] = {
    "bool": boolean,
    "text": text,
    "texts": texts,
    "chain": chain,
    "range": limits,
    "kernels": kernels,
    "op_kernels": op_kernels,
    **vitis_codecs.CODECS,
}
