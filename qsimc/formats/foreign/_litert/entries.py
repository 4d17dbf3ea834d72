"""The entries of a LiteRT recipe as located values: what the file says, before what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qsimc.diagnostics import did_you_mean
from qsimc.formats.foreign._litert import policy as litert
from qsimc.formats.foreign._litert.policy import Mode, Tensor
from qsimc.formats.foreign._names import valid_regex
from qsimc.formats.foreign._shared import Findings, below, members
from qsimc.ir.loss import LossKind
from qsimc.source import Span
from qsimc.syntax.json import Array, Json, Member, Object, Scalar, kind

KEYS = ("regex", "operation", "algorithm_key", "op_config")
CONFIG = (
    "activation_tensor_config", "weight_tensor_config", "compute_precision", "explicit_dequantize", "skip_checks",
    "min_weight_elements",
)  # fmt: skip
TENSOR = ("num_bits", "symmetric", "granularity", "dtype", "algorithm_params")
ALGORITHMS = (litert.NONE, litert.MINMAX, "OCTAV", *litert.policy().algorithms)

_ROTATIONS = ("HADAMARD_ROTATION", "DECOMPOSED_HADAMARD_ROTATION")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value of an entry stands."""

    span: Span
    pointer: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: the operations that it speaks of, and their configuration; `forced` leaves out the quantizer's checks.

    `places` are those of the keys it has, by their path within the entry: `op_config/weight_tensor_config/num_bits`.
    """

    regex: str
    operation: str
    mode: Mode
    places: Mapping[str, Place]
    forced: bool = False

    def place(self, path: str) -> Place:
        """Return where a key stands; where it is left out, what it is missing from."""
        while path not in self.places:
            path = path.rpartition("/")[0]
        return self.places[path]


def entries(document: Json, findings: Findings) -> list[Entry]:
    """Return the entries that can be read, in file order; everything wrong with them is reported."""
    if not isinstance(document, Array):
        findings.wrong(document, "a recipe", "an array of entries", "")
        return []
    read = (_Entry(findings, item, f"/{index}").entry() for index, item in enumerate(document.items))
    return [entry for entry in read if entry is not None]


class _Entry:
    """Reads one entry."""

    def __init__(self, findings: Findings, value: Json, pointer: str) -> None:
        self.findings = findings
        self.value = value
        self.pointer = pointer
        self.places = {"": Place(value.span, pointer)}
        self.sound = True
        self.forced = False

    def entry(self) -> Entry | None:
        if not isinstance(self.value, Object):
            self.findings.wrong(self.value, "an entry of a recipe", "an object", self.pointer)
            return None
        found = self._members("", self.value, KEYS, "an entry of a recipe", refused=False)
        regex = self._text("regex", found.get("regex"), ())
        operation = self._text("operation", found.get("operation"), (litert.EVERY, *litert.policy().operations))
        algorithm = self._text("algorithm_key", found.get("algorithm_key"), ALGORITHMS)
        for key in KEYS[:3]:
            if key not in found:
                self._bad("", f"an entry needs `{key}`")
        if why := valid_regex(regex):
            self._bad("regex", f"`{regex[:60]}` is no regular expression: {why}")
        mode = Mode()
        if algorithm != litert.NONE:
            if "op_config" not in found:
                self._bad("", "an entry needs `op_config`, but for the algorithm `no_quantize`")
            else:
                mode = self._config(found["op_config"].value, algorithm)
        return Entry(regex, operation, mode, self.places, self.forced) if self.sound else None

    def _config(self, value: Json, algorithm: str) -> Mode:
        path = "op_config"
        if not isinstance(value, Object):
            self._wrong(path, value, "an object")
            return Mode()
        found = self._members(path, value, CONFIG, f"`{path}`", refused=True)
        weight = found.get("weight_tensor_config")
        if weight is None:
            self._bad(path, "`op_config` needs `weight_tensor_config`, even where operations have no weights")
        activation = found.get("activation_tensor_config")
        mode = Mode(
            algorithm,
            None if activation is None else self._tensor(f"{path}/activation_tensor_config", activation.value),
            None if weight is None else self._tensor(f"{path}/weight_tensor_config", weight.value),
            self._word(path, found, "compute_precision", litert.PRECISIONS, "FLOAT"),
            self._flag(path, found, "explicit_dequantize", default=False),
        )
        if why := litert.contradiction(mode):
            self._bad(path, why)
        self.forced = self._flag(path, found, "skip_checks", default=False)
        if self.forced:
            self._lost(f"{path}/skip_checks", LossKind.OPTION, "the quantizer's checks are not skipped elsewhere")
        least = self._number(path, found, "min_weight_elements", 0)
        if least < 0:
            self._bad(f"{path}/min_weight_elements", f"`min_weight_elements` cannot be {least}")
        if least > 0:
            message = f"weights of fewer than {least} elements stay float, which no rule says"
            self._lost(f"{path}/min_weight_elements", LossKind.CONSTRAINT, message)
        if algorithm in _ROTATIONS:
            message = f"`{algorithm}` rotates activations and weights before it quantizes, which no rule says"
            self._lost("algorithm_key", LossKind.OPTION, message)
        return mode

    def _tensor(self, path: str, value: Json) -> Tensor | None:
        if not isinstance(value, Object):
            self._wrong(path, value, "an object")
            return None
        # The quantizer takes keys it does not know for parameters of its algorithm.
        known = (*TENSOR, "block_size")
        found = self._members(path, value, known, f"`{path.rpartition('/')[2]}`", refused=False)
        if "num_bits" not in found:
            self._bad(path, "`num_bits` is missing")
        parameters = found.get("algorithm_params")
        if parameters is not None and isinstance(parameters.value, Object):
            for member in parameters.value.members:
                message = f"no rule says the algorithm's parameter `{member.key}`"
                self.findings.lost(LossKind.DROPPED, message, member.key_span, self._at(path, "algorithm_params"))
        elif parameters is not None:
            self._wrong(f"{path}/algorithm_params", parameters.value, "an object")
        bits = self._number(path, found, "num_bits", 8)
        if not 1 <= bits <= 32:
            self._bad(f"{path}/num_bits", f"`num_bits` cannot be {bits}")
        granularity = self._word(path, found, "granularity", litert.GRANULARITIES, "TENSORWISE")
        block = self._number(path, found, "block_size", 0)
        if block > 0 and block not in litert.BLOCKS:
            self._bad(f"{path}/block_size", f"blocks have 32, 64, 128 or 256 values, not {block}")
        return Tensor(
            bits,
            self._flag(path, found, "symmetric", default=True),
            f"BLOCKWISE_{block}" if block > 0 else granularity,
            self._word(path, found, "dtype", litert.KINDS, "INT"),
        )

    # ── keys ─────────────────────────────────────────────────────────────────────────────────

    def _members(
        self, path: str, value: Object, known: tuple[str, ...], where: str, *, refused: bool
    ) -> Mapping[str, Member]:
        found = members(value)
        for member in found.values():
            if member.key in known:
                self.places[f"{path}/{member.key}" if path else member.key] = Place(
                    member.value.span, self._at(path, member.key)
                )
                continue
            self.findings.unknown(member, known, where, self._at(path, member.key), refused=refused)
            self.sound = self.sound and not refused
        return found

    def _at(self, path: str, key: str) -> str:
        return below(f"{self.pointer}/{path}" if path else self.pointer, key)

    def _text(self, key: str, member: Member | None, known: tuple[str, ...]) -> str:
        if member is None:
            return ""
        value = member.value.value if isinstance(member.value, Scalar) else None
        if not isinstance(value, str):
            self._wrong(key, member.value, "a string")
            return ""
        if known and value not in known:
            near = did_you_mean(value, known)
            self._bad(key, f"`{key}` cannot be `{value[:60]}`", f"did you mean `{near}`?" if near else "")
        return value

    def _word(self, path: str, found: Mapping[str, Member], key: str, known: tuple[str, ...], default: str) -> str:
        member = found.get(key)
        value = member.value.value if member is not None and isinstance(member.value, Scalar) else None
        if member is not None and value not in known:
            said = f"`{value[:60]}`" if isinstance(value, str) else kind(member.value)
            choices = ", ".join(f"`{word}`" for word in known)
            self._bad(f"{path}/{key}", f"`{key}` cannot be {said}", f"write one of {choices}")
        return value if isinstance(value, str) and value in known else default

    def _flag(self, path: str, found: Mapping[str, Member], key: str, *, default: bool) -> bool:
        member = found.get(key)
        if member is None:
            return default
        value = member.value.value if isinstance(member.value, Scalar) else None
        if not isinstance(value, bool):
            self._wrong(f"{path}/{key}", member.value, "true or false")
        return value if isinstance(value, bool) else default

    def _number(self, path: str, found: Mapping[str, Member], key: str, default: int) -> int:
        member = found.get(key)
        if member is None:
            return default
        value = member.value.value if isinstance(member.value, Scalar) else None
        if not isinstance(value, int) or isinstance(value, bool):
            self._wrong(f"{path}/{key}", member.value, "an integer")
            return default
        return value

    # ── findings ─────────────────────────────────────────────────────────────────────────────

    def _bad(self, path: str, message: str, help_: str = "") -> None:
        self.sound = False
        place = self.places[path]
        self.findings.bad(message, place.span, place.pointer, *((help_,) if help_ else ()))

    def _wrong(self, path: str, value: Json, expected: str) -> None:
        self.sound = False
        self.findings.wrong(value, f"`{path.rpartition('/')[2]}`", expected, self.places[path].pointer)

    def _lost(self, path: str, what: LossKind, message: str) -> None:
        place = self.places[path]
        self.findings.lost(what, message, place.span, place.pointer)
