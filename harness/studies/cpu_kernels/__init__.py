"""The fused kernels against their peers over batch and hidden size, on one thread (`nox -s cpu-kernels`)."""
