"""qsimc: the compiler for quantization configurations."""
