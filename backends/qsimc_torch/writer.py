"""A graph -> the lines of a module: one per operator, in the order of the graph, and what it registers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from onnx import NodeProto
from qsimc_onnx.model import OnnxModel
from qsimc_onnx.protos import ONNX_DOMAINS

from qsimc.graph import FLOATS, Node
from qsimc.planning.plan import Kind, Plan
from qsimc_torch import layout, ops, sizes
from qsimc_torch.bodies import Bodies
from qsimc_torch.call import Call, Scope, Unsupported, literal, shortest
from qsimc_torch.known import Known
from qsimc_torch.missing import Missing, refuse
from qsimc_torch.names import Names, attribute_paths, identifier, local, local_names, printable, reference, string
from qsimc_torch.quantizers import Quantizer
from qsimc_torch.shape_values import with_shape_values
from qsimc_torch.size_names import is_folded, size_names
from qsimc_torch.sizes import Item, Size

_LONGEST_REFERENCE = 48
"""Characters of a parameter's path up to which it stands in the middle of an expression."""


@dataclass
class Writer:
    """Walks the graph once and collects lines; names are given where they are first needed."""

    model: OnnxModel
    plan: Plan
    quantizers: Sequence[Quantizer]
    bodies: Bodies
    lines: list[str] = field(default_factory=list)
    inputs: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        graph = self.model.graph
        self._by_tensor = {tensor: q for q in self.quantizers for tensor in q.tensors}
        inside = [pair for body in self.bodies.values() for pair in body.nodes]
        self._every = [*graph.nodes, *(node for node, _ in inside)]
        self._producer = {t: node for node in self._every for t in node.outputs}
        known = Known.of(replace(self.model, graph=replace(graph, nodes=tuple(self._every))), {*self._by_tensor})
        self._known = with_shape_values(known, [*self.model.proto.graph.node, *(proto for _, proto in inside)])
        results = [*graph.outputs, *(t for body in self.bodies.values() for t in body.outputs)]
        read = dict.fromkeys([*(t for node in self._every for t in node.inputs if t), *results])
        stored = [t for t in read if self.model.stores(t)]
        self._paths = attribute_paths(stored)
        self._locals = local_names()
        self._attributes = Names({*(path.partition(".")[0] for path in self._paths.values())})
        self._texts: dict[str, str] = {}
        self._sizes: dict[Item, str] = {}
        self._size_names = size_names(self._known, self._every)
        self._stored: dict[str, str] = {}
        self._placed: dict[str, Quantizer] = {}
        self._named: dict[int, str] = {}
        self._read = {*read}
        self._needed = self._read | {*self._by_tensor}  # what nobody reads has a range all the same
        self._depth = 2
        self._missing: list[Missing] = []
        self._wanted: dict[str, str] = {}
        self._running = {t for n in self._every if n.op == "BatchNormalization" for t in n.inputs[3:5]}

    def write(self) -> None:
        """Write the body of `forward`.

        Raises:
            InputError: operators have no expression (Q0552).
        """
        graph = self.model.graph
        for tensor in graph.inputs:
            self.inputs[tensor] = self._texts[tensor] = self._locals.fresh(local(tensor))
        for tensor in graph.inputs:
            if tensor in self._by_tensor:
                name = self._texts[tensor]
                self._line(f"{name} = {self._quantized(tensor, name)}")
        self._nodes(zip(graph.nodes, self.model.proto.graph.node, strict=True))
        refuse(self._missing, self.model.path)
        self._return([self._text(tensor) for tensor in graph.outputs])

    def attributes(self) -> list[str]:
        """Return the lines of the class that say what the model calls its inputs and outputs."""
        rows = (("inputs", self.model.graph.inputs), ("outputs", self.model.graph.outputs))
        return [line for name, names in rows for line in layout.statement(f"{name} = {_strings(names)}", 1)]

    def registrations(self) -> list[str]:
        """Return the lines of `__init__`."""
        lines = []
        for tensor, path in self._stored.items():
            known = self.model.graph.tensors[tensor]
            method = "add_parameter" if self._is_trained(tensor) else "add_buffer"
            shape = [str(size) for size in known.shape or ()]
            dtype = [] if known.dtype == "float32" else [f"dtype=torch.{known.dtype}"]
            lines += layout.statement(f"self.{method}({', '.join([string(path), *shape, *dtype])})", 2)
        for attribute, quantizer in self._placed.items():
            lines += layout.statement(f"self.{attribute} = {quantizer.call}", 2, comment=printable(quantizer.comment))
        return lines

    def parameters(self) -> dict[str, str]:
        return {path: tensor for tensor, path in self._stored.items()}

    def used_quantizers(self) -> dict[str, Quantizer]:
        return dict(self._placed)

    # ── one node ──

    def _nodes(self, nodes: Iterable[tuple[Node, NodeProto]]) -> None:
        for node, proto in nodes:
            if self._is_constant(node) or is_folded(node, self._known):
                continue
            try:
                self._node(node, proto)
            except Unsupported as reason:
                self._missing.append(Missing(ops.operator_of(node), node.name, str(reason)))
                self._texts |= {t: "None" for t in node.outputs if t}

    def _node(self, node: Node, proto: NodeProto) -> None:
        needed = [position for position, tensor in enumerate(node.outputs) if tensor in self._needed]
        call = Call(
            node=node,
            proto=proto,
            opset=self._opset(node),
            text=lambda position: self._text(node.inputs[position], node, position),
            known=self._known,
            outputs=max(needed, default=0) + 1,
            let=self._let,
            item=self._item,
            device=self._device(),
            scope=self._scope(node),
        )
        expression = ops.expression(call)
        if expression and call.outputs == 1:
            self._assign(node.outputs[0], node.op, expression)
            return
        if expression:
            names = [self._name(t, node.op) if t in self._needed else "_" for t in node.outputs]
            self._line(f"{', '.join(names)} = {expression}")
        for tensor in node.outputs:
            if tensor in self._by_tensor:
                name = self._texts[tensor]
                self._line(f"{f'{name} = ' if tensor in self._read else ''}{self._quantized(tensor, name)}")

    # ── bodies ──

    def _scope(self, node: Node) -> Scope:
        return Scope(
            name=lambda text: self._locals.fresh(identifier(text)),
            targets=lambda: [self._name(t, node.op) if t in self._needed else "" for t in node.outputs],
            line=self._line,
            block=self._block,
            body=lambda attribute, inputs, targets: self._body(node, attribute, inputs, targets),
            reads=lambda attribute, place: self.bodies[node.outputs, attribute].inputs[place] in self._read,
        )

    def _block(self, head: str, write: Callable[[], None]) -> None:
        """Write a block; what is named in it has no name behind it."""
        self._line(head)
        texts, names, count = dict(self._texts), dict(self._sizes), len(self.lines)
        self._depth += 1
        write()
        if len(self.lines) == count:
            self._line("pass")
        self._depth -= 1
        self._texts, self._sizes = texts, names

    def _body(self, node: Node, attribute: str, inputs: Sequence[str], targets: Sequence[str]) -> list[str]:
        body = self.bodies[node.outputs, attribute]
        self._texts |= dict(zip(body.inputs, inputs, strict=True))
        made = [t for inner, _ in body.nodes for t in inner.outputs]
        wanted = {tensor: name for tensor, name in zip(body.outputs, targets, strict=False) if tensor in made}
        self._wanted |= {tensor: name for tensor, name in wanted.items() if name}
        self._nodes(body.nodes)
        return [self._text(tensor) for tensor in body.outputs]

    def _assign(self, tensor: str, op: str, expression: str) -> None:
        """Write the line that makes a tensor, its quantizer around it; two lines where one would not fit.

        What is another tensor under another name has no line.
        """
        if expression.isidentifier() and tensor not in self._by_tensor and tensor not in self._wanted:
            self._texts[tensor] = expression
            return
        name = self._name(tensor, op)
        if tensor not in self._by_tensor:
            self._line(f"{name} = {expression}")
            return
        whole = f"{name} = {self._quantized(tensor, expression)}"
        if layout.fits(whole, self._depth) or layout.is_call(expression):
            self._line(whole)
            return
        self._line(f"{name} = {expression}")
        self._line(f"{name} = {self._quantized(tensor, name)}")

    def _name(self, tensor: str, op: str) -> str:
        self._texts[tensor] = self._wanted.pop(tensor, "") or self._locals.fresh(local(tensor, op))
        return self._texts[tensor]

    def _line(self, text: str) -> None:
        self.lines += layout.statement(text, self._depth)

    def _let(self, wish: str, expression: str) -> str:
        name = self._locals.fresh(wish)
        self._line(f"{name} = {expression}")
        return name

    def _return(self, texts: Sequence[str]) -> None:
        whole = f"return {', '.join(texts)}"
        if layout.fits(whole, 2):
            self.lines += layout.statement(whole, 2)
        else:
            indent = layout.INDENT * 2
            self.lines += [f"{indent}return (", *(f"{indent}{layout.INDENT}{t}," for t in texts), f"{indent})"]

    def _opset(self, node: Node) -> int:
        domains = ONNX_DOMAINS if node.domain in ONNX_DOMAINS else (node.domain,)
        return max((o.version for o in self.model.proto.opset_import if o.domain in domains), default=1)

    def _is_constant(self, node: Node) -> bool:
        return node.op == "Constant" and node.domain in ONNX_DOMAINS and self.model.stores(node.outputs[0])

    # ── one value ──

    def _text(self, tensor: str, node: Node | None = None, position: int = 0) -> str:
        """Return the expression for a tensor as its readers see it."""
        if tensor in self._texts:
            return self._texts[tensor]
        folded = tensor in self._known.values
        if not folded and not self.model.stores(tensor):
            raise Unsupported(f"it reads `{tensor}`, which has no value")
        if node is not None and (number := self._number(tensor, node, position)) is not None:
            return number
        if folded:
            return self._made_of_sizes(tensor)
        path = self._stored.setdefault(tensor, self._paths[tensor])
        text = reference(path)
        many = len(self.model.graph.consumers.get(tensor, ())) > 1
        if tensor in self._by_tensor:
            text = self._quantized(tensor, text)
        elif len(text) <= _LONGEST_REFERENCE:
            return text
        elif not many:
            return self._let(identifier(path), text)
        if many or len(text) > 2 * _LONGEST_REFERENCE:
            text = self._texts[tensor] = self._let(identifier(path), text)
        return text

    def _number(self, tensor: str, node: Node, position: int) -> str | None:
        """Return a constant of one element as a literal, where the operator takes numbers and it broadcasts anyway.

        So is a size, if the other input is a tensor of the same type.
        """
        others = [t for place, t in enumerate(node.inputs) if place != position]
        if tensor in self._by_tensor or ops.operator_of(node) not in ops.numeric():
            return None
        if self._known.shape(tensor) != () and not self._is_one_size(tensor, others[0]):
            return None
        if any(self._is_stored(t) or self._known.dtype(t) != self._known.dtype(tensor) for t in others[:1]):
            return None
        value: Any = self._known.constant(tensor)
        if value is None and tensor in self._known.values:
            return self._item(self._known.values[tensor].item(), sizes.ATOM)
        if value is None or value.dtype.kind not in "fi":
            return None
        number = value.item()
        return literal(shortest(number) if value.dtype.kind == "f" else number)

    def _is_one_size(self, tensor: str, other: str) -> bool:
        """Return whether a tensor is a size that changes no shape of another."""
        value, shape = self._known.values.get(tensor), self._known.shape(other)
        return value is not None and value.size == 1 and shape is not None and value.ndim <= len(shape)

    # ── sizes ──

    def _item(self, item: Item, level: int = 0) -> str:
        """Return a size as source text, in brackets if it binds less than `level`."""
        if item in self._sizes:
            return self._sizes[item]
        if isinstance(item, Size):
            text = f"{self._text(item.tensor)}.shape[{item.axis}]"
        else:
            text = sizes.written(item, self._item, 0 if item in self._size_names else level)
        if item not in self._size_names:
            return text
        self._sizes[item] = self._let(self._size_names[item], text)
        return self._sizes[item]

    def _made_of_sizes(self, tensor: str) -> str:
        """Write the line that makes a tensor of sizes, for an operator that wants one."""
        value, dtype = self._known.values[tensor], self._known.dtype(tensor)
        options = "" if dtype == "int64" and value.size else f", dtype=torch.{dtype}"
        made = f"torch.tensor({self._listed(value.tolist())}{options}, device={self._device()})"
        self._texts[tensor] = self._let(local(tensor, self._producer[tensor].op), made)
        return self._texts[tensor]

    def _listed(self, items: Any) -> str:
        """Return items in lists of lists as source text."""
        if isinstance(items, list):
            return f"[{', '.join(map(self._listed, items))}]"
        return literal(items) if isinstance(items, int | float) else self._item(items)

    def _device(self) -> str:
        """Return where the model runs: where its first input is."""
        return f"{next(iter(self.inputs.values()))}.device" if self.inputs else "None"

    def _is_stored(self, tensor: str) -> bool:
        return self.model.stores(tensor) or tensor in self._known.values

    def _quantized(self, tensor: str, expression: str) -> str:
        quantizer = self._by_tensor[tensor]
        key = id(quantizer)
        if key not in self._named:
            owner = quantizer.tensors[0]
            producer = self.model.graph.producer.get(owner)
            wish = self._paths.get(owner) or local(owner, producer.op if producer else None)
            self._named[key] = self._attributes.fresh(f"q_{identifier(wish)}"[:40])
            self._placed[self._named[key]] = quantizer
        return f"self.{self._named[key]}({expression})"

    def _is_trained(self, tensor: str) -> bool:
        """Return whether a constant is a parameter: a weight, not what exporters fold, nor running statistics."""
        known = self.model.graph.tensors[tensor]
        if known.dtype not in FLOATS or tensor in self._running:
            return False
        planned = self.plan.tensors.get(tensor)
        return (planned is not None and planned.kind is Kind.PARAM) or self._paths[tensor] == tensor


def _strings(names: Sequence[str]) -> str:
    return f"({', '.join(map(string, names))}{',' if len(names) == 1 else ''})"
