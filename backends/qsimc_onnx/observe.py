"""Calibration: one pass over the data, nothing kept but the observers."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxruntime

from qsimc import native
from qsimc.backend import Batch, samples
from qsimc.calibrate.derive import derived
from qsimc.calibrate.encoding import Encoding
from qsimc.calibrate.feeds import Counts, Feeds, Observers, Stream
from qsimc.planning.plan import Kind, Mode, Plan, TensorPlan
from qsimc.processors import processors
from qsimc_onnx.depthwise import convolve_inside
from qsimc_onnx.model import OnnxModel
from qsimc_onnx.order import execution_order
from qsimc_onnx.probes import Probed, Wanted, attach
from qsimc_onnx.session import Outputs, expose, load, options_with_kernels, quiet_options, run_once
from qsimc_onnx.stored import with_quantized_constants
from qsimc_onnx.write import save

_STORED = (Kind.PARAM, Kind.CONSTANT)

AT_ONCE = min(2, processors())
"""Batches that are run at a time.  Each needs memory for its activations."""


def observe(
    model: OnnxModel,
    plan: Plan,
    params: Mapping[str, Encoding],
    batches: Iterable[Batch],
    observers: Observers,
    sketches: Observers,
    seen: Callable[[int], None],
) -> tuple[Observers, Observers]:
    """Run the model over `batches`, params fake-quantized and activations not, and extend observers and sketches.

    An activation that shares a quantizer feeds the observers of its owner, in graph order, and its own sketches.
    Params and constants do not depend on the data and feed nothing.  `seen` gets each batch's number of samples.
    A quantizer one of whose tensors held infinity is missing from what is returned: it has no range.

    Raises:
        InputError: onnxruntime cannot run the model on a batch (Q0508), or an activation is NaN (Q0607).
    """
    watched = [p for p in _in_order(plan) if p.kind not in _STORED]
    feeds = Feeds(
        [Stream(p.tensor, p.owner, p.axis) for p in watched], observers, sketches, derived(plan.graph), model.path
    )
    if not feeds.counted:
        for batch in batches:
            seen(samples(batch))
        return feeds.finish()
    with _counting(model, plan, params, feeds) as counter:
        for batch in _counted(batches, counter, feeds):
            seen(samples(batch))
    return feeds.finish(counter.probed.groups)


def _counted(batches: Iterable[Batch], counter: _Counter, feeds: Feeds) -> Iterator[Batch]:
    """Count batches, several at a time, and yield each when its observers have taken it, in order.

    One model run leaves processors idle, between its operators and in those that are small; another one fills the
    gaps.  The first batch goes alone, because it lays out the grids of all.
    """
    idle = deque(feeds.counts() for _ in range(AT_ONCE + 1))
    running: deque[tuple[Batch, Counts, Future[Outputs]]] = deque()

    def taken() -> Batch:
        batch, counts, outputs = running.popleft()
        found = outputs.result()
        if feeds.lay_out(counts):
            found = counter.count(batch, Counts(feeds.tally(), counts.grids))
        feeds.take(counts, found)
        idle.append(counts)
        return batch

    with ThreadPoolExecutor(AT_ONCE) as threads:
        for number, batch in enumerate(batches):
            if number == 1 or not idle:
                yield taken()
            counts = idle.popleft()
            feeds.begin(counts)
            running.append((batch, counts, threads.submit(counter.count, batch, counts)))
        while running:
            yield taken()


def _in_order(plan: Plan) -> Sequence[TensorPlan]:
    """Return what is quantized in graph order; in vendor mode as the vendor's runtime comes upon it."""
    if plan.mode is not Mode.VENDOR:
        return plan.enabled()
    places = execution_order(plan.graph)
    return sorted(plan.enabled(), key=lambda p: places.get(p.tensor, -1))


@dataclass(frozen=True, slots=True)
class _Counter:
    """A session of a model with probes, which count; or without, so that the tensors leave it and NumPy counts them."""

    session: onnxruntime.InferenceSession
    probed: Probed
    feeds: Feeds
    path: str

    def count(self, batch: Batch, counts: Counts) -> Outputs:
        """Run one batch, count it, and return the values of the tensors that leave the session."""
        counted = {self.probed.tally: counts.tally.rows, self.probed.grids: counts.grids.rows}
        counted.pop("", None)
        made = run_once(self.session, self.probed.outputs, {**batch, **counted}, self.path)
        named = dict(zip(self.probed.outputs, made, strict=True))
        found = {tensor: named[output] for tensor, output in self.probed.found.items()}
        if not self.probed.tally:
            for tensor in self.feeds.counted:
                self.feeds.count(counts, tensor, found[tensor])
        return found


@contextmanager
def _counting(model: OnnxModel, plan: Plan, params: Mapping[str, Encoding], feeds: Feeds) -> Iterator[_Counter]:
    """Open a session of the optimised model with probes in it.

    Its files lie in a private folder, weights beside the model, so that their size is not limited.
    In vendor mode nothing is optimised: between the vendor's quantizers nothing can be fused, and a fused operator
    rounds differently in the last place.  What the kernels do there has the same bits.
    """
    proto, deferred = with_quantized_constants(model, [p for p in plan.enabled() if p.kind in _STORED], params)
    # onnxruntime fuses nothing across an output, so every tensor to observe survives its optimiser.
    expose(proto, feeds.counted)
    with tempfile.TemporaryDirectory(prefix="qsimc-") as private:
        written, optimised = Path(private) / "written.onnx", Path(private) / "optimised.onnx"
        save(proto, model.folder, written, deferred, one_file=0)
        del proto
        load(str(written), _optimising(optimised, plan.mode), model.path)
        proto = onnx.load_model(optimised, load_external_data=False)
        options = _in_file_order()
        inside = native.kernels() is not None
        if inside and plan.mode is Mode.VENDOR:
            convolve_inside(proto, threads=options.intra_op_num_threads)
        wanted = Wanted(
            tensors=feeds.counted,
            rows=feeds.rows,
            grids=feeds.grid_rows,
            values=feeds.valued,
            threads=options.intra_op_num_threads,
        )
        probed = attach(proto, wanted, inside=inside)
        with_probes = optimised.with_name("probed.onnx")
        with_probes.write_bytes(proto.SerializeToString())
        yield _Counter(load(str(with_probes), options, model.path), probed, feeds, model.path)


def _optimising(path: Path, mode: Mode) -> onnxruntime.SessionOptions:
    """Return options under which loading a model writes what onnxruntime makes of it."""
    options = quiet_options()
    if mode is Mode.VENDOR:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.optimized_model_filepath = str(path)
    # This session never runs.
    options.add_session_config_entry("session.disable_prepacking", "1")
    prefix = "session.optimized_model_external_initializers"
    options.add_session_config_entry(f"{prefix}_file_name", f"{path.name}.data")
    options.add_session_config_entry(f"{prefix}_min_size_in_bytes", "1024")
    return options


def _in_file_order() -> onnxruntime.SessionOptions:
    """Return options under which an optimised model runs as it is, each probe right after what it observes.

    The observed tensor is still in the cache then, and its buffer is free at once.
    """
    options = options_with_kernels()
    options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
    # With a pattern every run would get a block of its own for all of its tensors, beside what the arena has.
    options.enable_mem_pattern = False
    # Each run is in a thread of its own already.
    options.intra_op_num_threads = max(processors() - AT_ONCE + 1, 1)
    return options
