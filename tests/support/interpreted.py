"""The interpreter of a check of kernels, with faults: python -m support.interpreted FAULTS.

FAULTS is JSON: for each job a text in the printed kernels and what is put in its place, or null.
"""

import json
import sys

from cellbench.cells.checking.kernels import interpreted
from cellbench.cells.kernels.triton import printer

if __name__ == "__main__":
    text, errors, faults = printer.text, interpreted.errors, iter(json.loads(sys.argv[1]))

    def faulty(job):
        fault = next(faults)

        def replaced(*arguments):
            right = text(*arguments)
            assert fault[0] in right, f"{fault[0]!r} is not in the kernel"
            return right.replace(*fault)

        printer.text = replaced if fault else text
        return errors(job)

    interpreted.errors = faulty
    interpreted.main()
