"""A web process starts fast and stays small, because it loads nothing that computes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    *("numpy", "tensorflow", "keras", "sklearn", "scipy", "cv2", "PIL", "celery"),
    *("fsspec", "s3fs", "aiobotocore", "botocore", "aiohttp"),
)
SCRIPT = """
import json, resource, sys, time
began = time.process_time()
from annotator.bootstrap import Toolbox
from annotator.core.config import Settings
from annotator.core.db import Base
from annotator.web import create_app
from pathlib import Path
toolbox = Toolbox(Settings(data=Path(sys.argv[1])))
app = create_app(toolbox)
took = time.process_time() - began
Base.metadata.create_all(toolbox.engine)
status = app.test_client().get("/sign-in").status_code
pages = Path("/proc/self/statm")
resident = int(pages.read_text().split()[1]) * resource.getpagesize() if pages.exists() else None
answer = {"status": status, "modules": sorted(sys.modules), "resident": resident}
print(json.dumps(answer | {"seconds": took}))
"""


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("data")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(folder)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    return dict(json.loads(done.stdout))


def test_it_answers(fresh: dict[str, object]) -> None:
    assert fresh["status"] == 200


@pytest.mark.parametrize("name", HEAVY)
def test_it_loads_nothing_heavy(fresh: dict[str, object], name: str) -> None:
    modules = fresh["modules"]
    assert isinstance(modules, list)
    assert name not in modules


def test_it_stays_small(fresh: dict[str, object]) -> None:
    if fresh["resident"] is None:
        pytest.skip("this system has no /proc to ask for resident memory")
    assert isinstance(fresh["resident"], int)
    assert fresh["resident"] < 120 * 10**6  # bytes


def test_it_starts_fast(fresh: dict[str, object]) -> None:
    # Processor time, so that a busy machine does not matter; about 0.8 s where this was written.
    assert isinstance(fresh["seconds"], float)
    assert fresh["seconds"] < 2
