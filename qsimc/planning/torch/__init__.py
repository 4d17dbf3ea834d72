"""The dialect of aimet_torch: quantizers on the ports of modules instead of on tensors."""
