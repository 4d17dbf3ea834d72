"""What generated modules import; `--standalone` writes `fake_quant` into their file instead, which needs only torch."""

from qsimc_torch.runtime import fake_quant, native
from qsimc_torch.runtime.fake_quant import Cast, FakeQuantize, Quantized, Scope, Simulation

fake_quant.NATIVE = native.fake_quantize

__all__ = ["Cast", "FakeQuantize", "Quantized", "Scope", "Simulation"]
