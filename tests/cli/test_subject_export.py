import json
import zipfile
from pathlib import Path

from annotator.bootstrap import Toolbox
from annotator.core.config import Settings
from tests.factories import make_dataset, make_face, make_subject
from tests.installation import Installation


def test_a_person_gets_everything_in_one_file(installation: Installation, tmp_path: Path) -> None:
    tools = Toolbox(Settings(data=installation.data))
    with tools.transaction() as session:
        subject = make_subject(session, tools.vault, make_dataset(session, "Pilot"), code="P-1")
        make_face(session, tools.vault, subject)
    tools.engine.dispose()
    out = tmp_path / "copy.zip"
    done = installation.run("subject", "export", "Pilot/P-1", out, "--json")
    assert json.loads(done.stdout) == {"file": str(out), "bytes": out.stat().st_size}
    with zipfile.ZipFile(out) as archive:
        assert json.loads(archive.read("person.json"))["code"] == "P-1"
        assert sum(name.startswith("pictures/") for name in archive.namelist()) == 2
    again = installation.run("subject", "export", "Pilot/P-1", out, ok=False)
    assert (again.returncode, "exists already" in again.stderr) == (1, True)
