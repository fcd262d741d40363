"""The datasets that paper.yaml takes from the hub, through a double of it, read by the real client."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests import published_sets
from tests.hub import COMMIT, Hub

READ = """\
import json, sys
from pathlib import Path
from rim.config.load import load_study_file
from rim.data.prepare import prepare

made = {}
for name, dataset in load_study_file(Path(sys.argv[1])).datasets.items():
    if not any(source.path or source.rewrite for source in dataset.sources):
        table, facts = prepare(name, dataset)
        made[name] = table.height, sorted(set(table["kind"])), [each["revision"] for each in facts["sources"]]
print(json.dumps(made))
"""


def test_every_published_set_is_read_from_the_hub(root: Path, tmp_path: Path) -> None:
    with Hub({}, datasets=published_sets.write_hub(tmp_path / "sets")) as hub:
        place = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "cache")}
        line = [sys.executable, "-c", READ, str(root / "workflow/config/paper.yaml")]
        done = subprocess.run(line, capture_output=True, text=True, check=False, env={**os.environ, **place})
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout.splitlines()[-1])
    assert made == {
        "xstest": [60, ["benign", "safety"], [COMMIT]],
        "multiarith": [10, ["math"], [COMMIT]],
        "aime": [8, ["math"], [f"{COMMIT} + {COMMIT}"]],
        "math500": [32, ["math"], [COMMIT]],
        "gsm8k": [32, ["math"], [COMMIT]],
        "gsm8k_test": [340, ["math"], [COMMIT]],
        "gsm8k_long": [32, ["math"], [COMMIT]],
        "strongreject": [12, ["safety"], [COMMIT]],
        "alpaca": [40, ["instruction"], [COMMIT]],
    }
