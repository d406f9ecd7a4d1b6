"""The README's flow runs as it is written."""

import re
import subprocess
from pathlib import Path

from tests.scenarios.served import served

README = Path(__file__).parents[2] / "README.md"


def test_the_flow_of_the_readme_runs_as_written(tmp_path: Path) -> None:
    blocks = re.findall(r"^```bash\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 5
    with served(tmp_path / "data") as server:
        url = str(server.http.base_url).rstrip("/")
        script = "set -euo pipefail\n" + "\n".join(blocks).replace("http://localhost:8888", url)
        told = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    assert '"live":"75"' in told.stdout.replace(" ", "")
    assert '"type":"consumed"' in told.stdout.replace(" ", "")
