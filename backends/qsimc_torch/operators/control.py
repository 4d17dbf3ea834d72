"""If, Loop and Scan: blocks of Python."""

from __future__ import annotations

from collections.abc import Sequence

from qsimc_torch.call import Call, Unsupported
from qsimc_torch.operators import operator
from qsimc_torch.operators.making import scalar

_ENDLESS = 1 << 31
"""A trip count from which on it is there for the form only."""


@operator("If")
def if_(node: Call) -> str:
    """A condition that is a constant leaves one branch."""
    condition, scope = node.constant(0), node.scope
    question = node[0] if condition is None else ""
    names = scope.targets()

    def branch(attribute: str) -> None:
        made = scope.body(attribute, [], names)
        _assign(node, [(name, text) for name, text in zip(names, made, strict=True) if name != text])

    if condition is not None:
        branch("then_branch" if bool(condition.reshape(())) else "else_branch")
        return ""
    scope.block(f"if {question}:", lambda: branch("then_branch"))
    scope.block("else:", lambda: branch("else_branch"))
    return ""


@operator("Loop")
def loop(node: Call) -> str:
    """The body gives the next condition, the next values of what it carries, and a row of each scanned output."""
    scope = node.scope
    starts = [node[position] for position in range(2, len(node.node.inputs))]
    limit = node.constant(0) if node.has(0) else None
    endless = not node.has(0) or (limit is not None and int(limit.reshape(())) >= _ENDLESS)
    count = "" if endless else scalar(node, 0)
    first = node.constant(1)
    condition = node[1] if node.has(1) and first is None else str(first is None or bool(first))
    carried, scanned = _outputs(node, len(starts))
    for name, start in zip(carried, starts, strict=True):
        scope.line(f"{name} = {start}")
    always = condition == "True" and _is_true(node)
    going = "True" if always else scope.name("going")
    if not always:
        scope.line(f"{going} = {condition}")
    rows = _rows(node, scanned)
    counts = scope.reads("body", 0)
    step = scope.name("step") if counts or endless else "_"

    def body() -> None:
        if not endless and not always:
            scope.block(f"if not {going}:", lambda: scope.line("break"))
        number = scope.name("number") if counts else ""
        if counts:
            scope.line(f"{number} = torch.tensor({step}, device={node.device})")
        after, *made = scope.body("body", [number, "torch.tensor(True)" if always else going, *carried], [])
        for row, text in zip(rows, made[len(carried) :], strict=True):
            scope.line(f"{row}.append({text})")
        _assign(node, [*([] if always else [(going, after)]), *zip(carried, made, strict=False)])
        if endless:
            scope.line(f"{step} += 1")

    if endless:
        scope.line(f"{step} = 0")
        scope.block(f"while {going}:", body)
    else:
        scope.block(f"for {step} in range({count}):", body)
    for name, row in zip(scanned, rows, strict=True):
        if name:
            scope.line(f"{name} = torch.stack({row})")
    return ""


@operator("Scan")
def scan(node: Call) -> str:
    """Like a loop over the rows of its last inputs, along an axis of each."""
    if node.opset < 9:
        raise Unsupported(f"it has no expression in operator set {node.opset}")
    scope = node.scope
    inputs = [node[position] for position in range(len(node.node.inputs))]
    given = node.integer("num_scan_inputs", 1)
    states, sources = inputs[:-given], inputs[-given:]
    carried, scanned = _outputs(node, len(states))
    for name, start in zip(carried, states, strict=True):
        scope.line(f"{name} = {start}")
    rows = _rows(node, scanned)
    axes, backwards = (_of_each(node, f"scan_input_{what}", given) for what in ("axes", "directions"))
    parts = [
        f"{source}.flip({axis}).unbind({axis})" if turned else f"{source}.unbind({axis})"
        for source, axis, turned in zip(sources, axes, backwards, strict=True)
    ]
    elements = [scope.name("element") for _ in sources]

    def body() -> None:
        made = scope.body("body", [*carried, *elements], [])
        for row, text in zip(rows, made[len(carried) :], strict=True):
            scope.line(f"{row}.append({text})")
        _assign(node, [*zip(carried, made, strict=False)])

    over = parts[0] if given == 1 else f"zip({', '.join(parts)}, strict=True)"
    scope.block(f"for {', '.join(elements)} in {over}:", body)
    axes, backwards = (_of_each(node, f"scan_output_{what}", len(scanned)) for what in ("axes", "directions"))
    for name, row, axis, turned in zip(scanned, rows, axes, backwards, strict=True):
        if name:
            along = f", dim={axis}" if axis else ""
            scope.line(f"{name} = torch.stack({row}{'[::-1]' if turned else ''}{along})")
    return ""


def _is_true(node: Call) -> bool:
    """Return whether the condition of a loop stays as it was, or is the constant True."""
    (body,) = (attribute.g for attribute in node.proto.attribute if attribute.name == "body")
    passed = {inner.output[0]: inner.input[0] for inner in body.node if inner.op_type == "Identity"}
    name = body.output[0].name
    while name in passed:
        name = passed[name]
    value = node.known.constant(name)
    return name == body.input[1].name or (value is not None and bool(value))


def _outputs(node: Call, count: int) -> tuple[list[str], list[str]]:
    """Return the variables of what is carried, which all have one, and those of what is scanned."""
    names = [*node.scope.targets()]
    return [name or node.scope.name("carried") for name in names[:count]], names[count:]


def _rows(node: Call, scanned: Sequence[str]) -> list[str]:
    """Return lists that rows are collected in."""
    rows = [node.scope.name(f"{name}_rows" if name else "rows") for name in scanned]
    for row in rows:
        node.scope.line(f"{row} = []")
    return rows


def _of_each(node: Call, name: str, count: int) -> tuple[int, ...]:
    return node.integers(name) or (0,) * count


def _assign(node: Call, pairs: Sequence[tuple[str, str]]) -> None:
    """Assign all at once, for one may be read by another."""
    pairs = [(name, text) for name, text in pairs if name and name != text]
    if pairs:
        node.scope.line(f"{', '.join(name for name, _ in pairs)} = {', '.join(text for _, text in pairs)}")
