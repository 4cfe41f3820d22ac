"""What the scripts that train in stages do by themselves."""

import subprocess
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

STAGES = Path(__file__).parents[3] / "scripts" / "stages.sh"


@pytest.mark.parametrize("path", ["/home/jürgen/demo", "/a b/c(2), d's", "/数据/{x}=[y]", "/plain/path-1.2"])
def test_hydra_reads_every_path_as_it_is(path: str) -> None:
    line = next(line for line in STAGES.read_text(encoding="utf-8").splitlines() if line.startswith("quoted()"))
    script = f'{line}\nprintf "task.data=%s" "$(quoted "$1")"'
    override = subprocess.run(["bash", "-c", script, "bash", path], check=True, capture_output=True, text=True).stdout
    assert OverridesParser.create().parse_override(override).value() == path
