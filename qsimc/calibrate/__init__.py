"""Statistics of tensors and the encodings they give."""
