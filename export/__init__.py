"""Export of a personal model to the runtimes that phones and GPUs run.

:mod:`recipe` says what to export and what came of it, :mod:`onnx` how (with :mod:`stylegan2` for the operators and
:mod:`graph` for the file), :mod:`parity` proves it, :mod:`workspace` starts from an open engine.
"""
