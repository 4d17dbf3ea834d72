"""Recurrent layers as ONNX has them: its order of the gates, its activations, sequences of different lengths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - as everybody calls it
from torch import Tensor


def lstm(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    *,
    lengths: Tensor | None = None,
    hidden: Tensor | None = None,
    cell: Tensor | None = None,
    peepholes: Tensor | None = None,
    direction: str = "forward",
    activations: tuple[Callable[[Tensor], Tensor], ...] = (),
    clip: float = torch.inf,
    coupled: bool = False,
    batch_first: bool = False,
) -> tuple[Tensor, ...]:
    """Return the outputs, (time, directions, N, hidden), and the last hidden and cell states, (directions, N, hidden).

    Gates are in the order input, output, forget, cell; with `batch_first`, N is the first dimension of everything.
    """
    size, directions = r.shape[-1], r.shape[0]
    x = x.transpose(0, 1) if batch_first else x
    b = x.new_zeros(directions, 8 * size) if b is None else b
    states = [first_state(state, x, r, batch_first=batch_first) for state in (hidden, cell)]
    plain = lengths is None and peepholes is None and not activations and clip == torch.inf and not coupled
    if plain and direction != "reverse":
        weights = torch_weights([w, r, *b.chunk(2, dim=1)], (0, 2, 3, 1))
        y, *states = torch.lstm(x, states, weights, True, 1, 0.0, False, directions == 2, False)
        return laid_out(y.reshape(*y.shape[:2], directions, size).transpose(1, 2), *states, batch_first=batch_first)
    peepholes = x.new_zeros(directions, 3 * size) if peepholes is None else peepholes
    functions = activations or (torch.sigmoid, torch.tanh, torch.tanh) * directions
    made = []
    for number in range(directions):
        given_bias, own_bias = b[number].chunk(2)
        given = F.linear(x, w[number], given_bias + own_bias)
        numbers = (r[number], peepholes[number], functions[3 * number :], clip, coupled)
        backwards = direction == "reverse" or number == 1
        before = tuple(state[number] for state in states)
        made.append(over_time(lstm_step, given, before, numbers, lengths, backwards=backwards))
    return laid_out(*(torch.stack(part, dim=-3) for part in zip(*made, strict=True)), batch_first=batch_first)


def lstm_step(
    given: Tensor,
    state: tuple[Tensor, ...],
    r: Tensor,
    peepholes: Tensor,
    functions: tuple[Callable[[Tensor], Tensor], ...],
    clip: float,
    coupled: bool,
) -> tuple[Tensor, ...]:
    """Return the next hidden and cell state."""
    (hidden, cell), (gate, new, out) = state, functions[:3]
    i, o, f, c = (given + F.linear(hidden, r)).chunk(4, dim=-1)
    p_i, p_o, p_f = peepholes.chunk(3)
    i = gate((i + p_i * cell).clamp(-clip, clip))
    f = 1 - i if coupled else gate((f + p_f * cell).clamp(-clip, clip))
    cell = f * cell + i * new(c.clamp(-clip, clip))
    return gate((o + p_o * cell).clamp(-clip, clip)) * out(cell), cell


def gru(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    *,
    lengths: Tensor | None = None,
    hidden: Tensor | None = None,
    direction: str = "forward",
    activations: tuple[Callable[[Tensor], Tensor], ...] = (),
    clip: float = torch.inf,
    linear_before_reset: bool = False,
    batch_first: bool = False,
) -> tuple[Tensor, ...]:
    """Return the outputs, (time, directions, N, hidden), and the last hidden states, (directions, N, hidden).

    Gates are in the order update, reset, hidden; torch's own layer resets behind its product only.
    """
    size, directions = r.shape[-1], r.shape[0]
    x = x.transpose(0, 1) if batch_first else x
    b = x.new_zeros(directions, 6 * size) if b is None else b
    first = first_state(hidden, x, r, batch_first=batch_first)
    if linear_before_reset and lengths is None and not activations and clip == torch.inf and direction != "reverse":
        weights = torch_weights([w, r, *b.chunk(2, dim=1)], (1, 0, 2))
        y, last = torch.gru(x, first, weights, True, 1, 0.0, False, directions == 2, False)
        return laid_out(y.reshape(*y.shape[:2], directions, size).transpose(1, 2), last, batch_first=batch_first)
    functions = activations or (torch.sigmoid, torch.tanh) * directions
    made = []
    for number in range(directions):
        given_bias, own_bias = b[number].chunk(2)
        given = F.linear(x, w[number], given_bias)
        numbers = (r[number], own_bias, functions[2 * number :], clip, linear_before_reset)
        backwards = direction == "reverse" or number == 1
        made.append(over_time(gru_step, given, (first[number],), numbers, lengths, backwards=backwards))
    return laid_out(*(torch.stack(part, dim=-3) for part in zip(*made, strict=True)), batch_first=batch_first)


def gru_step(
    given: Tensor,
    state: tuple[Tensor, ...],
    r: Tensor,
    bias: Tensor,
    functions: tuple[Callable[[Tensor], Tensor], ...],
    clip: float,
    linear_before_reset: bool,
) -> tuple[Tensor, ...]:
    """Return the next hidden state."""
    (hidden,), (gate, new), size = state, functions[:2], r.shape[-1]
    z, reset, n = given.chunk(3, dim=-1)
    own_z, own_reset = F.linear(hidden, r[: 2 * size], bias[: 2 * size]).chunk(2, dim=-1)
    z, reset = gate((z + own_z).clamp(-clip, clip)), gate((reset + own_reset).clamp(-clip, clip))
    if linear_before_reset:
        n = n + reset * F.linear(hidden, r[2 * size :], bias[2 * size :])
    else:
        n = n + F.linear(reset * hidden, r[2 * size :], bias[2 * size :])
    return ((1 - z) * new(n.clamp(-clip, clip)) + z * hidden,)


def rnn(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    *,
    lengths: Tensor | None = None,
    hidden: Tensor | None = None,
    direction: str = "forward",
    activations: tuple[Callable[[Tensor], Tensor], ...] = (),
    clip: float = torch.inf,
    batch_first: bool = False,
) -> tuple[Tensor, ...]:
    """Return the outputs, (time, directions, N, hidden), and the last hidden states, (directions, N, hidden)."""
    size, directions = r.shape[-1], r.shape[0]
    x = x.transpose(0, 1) if batch_first else x
    b = x.new_zeros(directions, 2 * size) if b is None else b
    first = first_state(hidden, x, r, batch_first=batch_first)
    functions = activations or (torch.tanh,) * directions
    made = []
    for number in range(directions):
        given_bias, own_bias = b[number].chunk(2)
        given = F.linear(x, w[number], given_bias + own_bias)
        numbers = (r[number], functions[number], clip)
        backwards = direction == "reverse" or number == 1
        made.append(over_time(rnn_step, given, (first[number],), numbers, lengths, backwards=backwards))
    return laid_out(*(torch.stack(part, dim=-3) for part in zip(*made, strict=True)), batch_first=batch_first)


def rnn_step(
    given: Tensor, state: tuple[Tensor, ...], r: Tensor, function: Callable[[Tensor], Tensor], clip: float
) -> tuple[Tensor, ...]:
    """Return the next hidden state."""
    return (function((given + F.linear(state[0], r)).clamp(-clip, clip)),)


def first_state(state: Tensor | None, x: Tensor, r: Tensor, *, batch_first: bool) -> Tensor:
    """Return a state, (directions, N, hidden), of zeros where none is given."""
    if state is None:
        return x.new_zeros(r.shape[0], x.shape[1], r.shape[-1])
    return state.transpose(0, 1).contiguous() if batch_first else state


def torch_weights(tensors: list[Tensor], order: tuple[int, ...]) -> list[Tensor]:
    """Return weights and biases with their gates in another order, those of each direction one after the other."""
    gates = [t.reshape(t.shape[0], len(order), -1, *t.shape[2:])[:, list(order)].flatten(1, 2) for t in tensors]
    return [tensor[number] for number in range(len(gates[0])) for tensor in gates]


def over_time(
    step: Callable[..., tuple[Tensor, ...]],
    given: Tensor,
    state: tuple[Tensor, ...],
    numbers: tuple[Any, ...],
    lengths: Tensor | None,
    *,
    backwards: bool,
) -> tuple[Tensor, ...]:
    """Return the outputs of all steps and the last state; a sequence that has ended puts out zeros."""
    outputs = [given] * len(given)
    for time in range(len(given) - 1, -1, -1) if backwards else range(len(given)):
        after = step(given[time], state, *numbers)
        outputs[time] = after[0]
        if lengths is not None:
            runs = (time < lengths).unsqueeze(1)
            outputs[time] = torch.where(runs, after[0], 0.0)
            after = tuple(torch.where(runs, new, old) for new, old in zip(after, state, strict=True))
        state = after
    return torch.stack(outputs), *state


def laid_out(outputs: Tensor, *states: Tensor, batch_first: bool) -> tuple[Tensor, ...]:
    """Return outputs, (time, directions, N, hidden), and states, (directions, N, hidden), in the order of a layer."""
    if not batch_first:
        return outputs, *states
    return outputs.permute(2, 0, 1, 3), *(state.transpose(0, 1) for state in states)
