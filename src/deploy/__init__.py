"""Deployment: the graph for ONNX, rewrites of it, INT8, and timing."""
