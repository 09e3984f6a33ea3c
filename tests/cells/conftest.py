"""Every law runs over all cells and backends: a file dropped into cells/zoo/ or cells/backends/ is tested by
existing.
"""

from support.comparison import ARRAYS, BACKENDS, CELLS, DTYPES, SIZES


def pytest_generate_tests(metafunc):
    """In these tests `spec` is every cell, `arrays` every cell by biases and read-out, and so on."""
    values = {"spec": CELLS, "arrays": ARRAYS, "backend": BACKENDS, "dtype": DTYPES, "sizes": SIZES}
    for name in values:
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, values[name], ids=[_label(v) for v in values[name]])


def _label(value):
    return "x".join(map(str, value)) if isinstance(value, tuple) else value.rpartition("/")[2]
