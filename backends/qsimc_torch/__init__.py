"""PyTorch for qsimc.  Importing this package does not import torch; using it does."""

from qsimc_torch.backend import BACKEND
from qsimc_torch.capture import capture

__all__ = ["BACKEND", "capture"]
