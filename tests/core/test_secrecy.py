import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ASK = """
import ctypes, resource
{act}
print(resource.getrlimit(resource.RLIMIT_CORE)[0], ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""
COMMAND = "from annotator.cli import main; main(['--version'])"
VAULT = """
from pathlib import Path
from annotator.bootstrap import Toolbox
from annotator.core.config import Settings
from annotator.vault import create_vault
data = Path("{data}")
create_vault(data, key_file=data / "keys" / "unlock.key")
Toolbox(Settings(data=data)).vault
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
@pytest.mark.parametrize("act", [COMMAND, VAULT])
def test_a_process_with_keys_or_pictures_cannot_be_dumped(act: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK.format(act=act.format(data=tmp_path))],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "0 0"
