"""Every law runs over all cells and backends: a file dropped into cells/zoo/ or cells/backends/ is tested.

What a backend cannot compute is not generated: a test that is skipped names what this machine lacks.
"""

from support.comparison import ARRAYS, BACKENDS, CELLS, DTYPES, SIZES, combined, label

VALUES = {"spec": CELLS, "arrays": ARRAYS, "backend": BACKENDS, "dtype": DTYPES, "sizes": SIZES}


def pytest_generate_tests(metafunc):
    """In these tests `spec` is every cell, `arrays` every cell by biases and read-out, and so on.

    A test may parametrise one of these names itself; then the others are left as they are.
    """
    marks = metafunc.definition.iter_markers("parametrize")
    taken = {name for mark in marks for name in _names(mark.args[0])}
    wanted = [name for name in VALUES if name in metafunc.fixturenames and name not in taken]
    cell = next((name for name in ("spec", "arrays") if name in wanted), None)
    if cell and "backend" in wanted:
        together = [cell, "backend", *(["dtype"] if "dtype" in wanted else [])]
        values, ids = combined(VALUES[cell], DTYPES if "dtype" in wanted else None)
        metafunc.parametrize(together, values, ids=ids)
        wanted = [name for name in wanted if name not in together]
    for name in wanted:
        metafunc.parametrize(name, VALUES[name], ids=map(label, VALUES[name]))


def _names(names):
    return names.split(",") if isinstance(names, str) else names
