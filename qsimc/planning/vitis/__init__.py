"""Configurations of the dialect `vitis` on a graph, as vai_q_pytorch 3.5 places and resolves them."""
