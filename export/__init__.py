"""Export of a personal model to the runtimes that phones and GPUs run.

``recipe`` says what to export and what came of it, ``onnx`` how (with ``stylegan2`` for the operators and
``graph`` for the file), ``parity`` proves it, ``workspace`` starts from an open engine.
"""
