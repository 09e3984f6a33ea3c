"""The interpreter of a check of kernels, with a fault in each: python -m support.interpreted FAULTS.

FAULTS is JSON: for each job a text in the printed kernels, and what is put in its place.
"""

import json
import sys

from cellbench.cells.checking.kernels import interpreted
from cellbench.cells.kernels.triton import printer

if __name__ == "__main__":
    text, errors, faults = printer.text, interpreted.errors, iter(json.loads(sys.argv[1]))

    def faulty(job):
        old, new = next(faults)

        def replaced(*arguments):
            right = text(*arguments)
            assert old in right, f"{old!r} is not in the kernel"
            return right.replace(old, new)

        printer.text = replaced
        return errors(job)

    interpreted.errors = faulty
    interpreted.main()
