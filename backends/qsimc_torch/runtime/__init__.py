"""What generated modules import; `--standalone` writes it into their file instead.  It needs nothing but torch."""

from qsimc_torch.runtime.fake_quant import Cast, FakeQuantize, Quantized, Scope, Simulation

__all__ = ["Cast", "FakeQuantize", "Quantized", "Scope", "Simulation"]
