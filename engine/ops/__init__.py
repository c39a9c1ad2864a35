"""Public operators: validation, dispatch and autograd over the native kernels, with a reference beside each."""
