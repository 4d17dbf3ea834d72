"""What `quark` and `quark-onnx` consist of."""
