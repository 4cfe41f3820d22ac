"""Graphs of ONNX, written."""
