import pytest

from tests.search.web.running import serving
from tests.search.web.world import Session


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """Where the clips of the galleries lie."""
    return tmp_path_factory.mktemp("web")


@pytest.fixture(scope="module")
def session(root):
    return Session(root)


@pytest.fixture(scope="module")
def port(session):
    with serving(session) as (port, _):
        yield port
