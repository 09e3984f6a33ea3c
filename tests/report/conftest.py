"""One page of every probe's results, which several tests look at: drawing it takes most of their time."""

import pytest
from support.report_rows import MANIFEST, PROBES, written


@pytest.fixture(scope="session")
def everything(tmp_path_factory):
    """The folder of the page."""
    folder = tmp_path_factory.mktemp("everything")
    written([row for make in PROBES.values() for row in make()], folder, [MANIFEST])
    return folder
