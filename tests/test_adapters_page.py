"""docs/adapters.md keeps its word: its code runs as it stands."""

import re
import shutil

import pytest

from pipeline.config.params import load_params
from pipeline.config.resolve import shape_of
from tests.adapters.files import ROOT, write_adapter, write_backbone, write_videos

PAGE = (ROOT / "docs/adapters.md").read_text(encoding="utf-8")
CODE = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    (folder / "work/clip-tiny").mkdir(parents=True)
    weights = write_backbone(folder / "work/clip-tiny/weights.safetensors")
    write_adapter(folder / "vop.safetensors", weights, "vop", dataset="motion")
    write_videos(folder / "videos")
    return folder


@pytest.fixture
def run(folder, monkeypatch, capsys):
    """The output of code in the folder. In this process: a start of torch takes longer than all of the page."""

    def ran(code):
        monkeypatch.chdir(folder)
        capsys.readouterr()
        exec(compile(code, "docs/adapters.md", "exec"), {"__name__": "__main__"})
        return capsys.readouterr().out

    return ran


def test_the_first_block_has_at_most_twenty_lines_and_ranks_videos(run):
    assert CODE[0].count("\n") <= 20
    lines = run(CODE[0]).splitlines()
    assert len(lines) == 2 * 3 and sum("videos/" in line for line in lines) == 4


def test_the_other_blocks_run_after_it(folder, run):
    shutil.copy(folder / "vop.safetensors", folder / "ours.safetensors")
    for block in CODE[1:]:
        assert run(block)


def test_the_refusal_it_quotes_is_the_one_that_is_given(run, tmp_path):
    (quoted,) = re.findall(r"^> (.+)$", PAGE, flags=re.MULTILINE)
    write_backbone(tmp_path / "other.safetensors", seed=1)
    code = f"import pipeline; pipeline.load('vop.safetensors', weights={str(tmp_path / 'other.safetensors')!r})"
    pattern = "[0-9a-f]{12}".join(re.escape(part) for part in re.split(r"[0-9a-f]{12}", quoted))
    with pytest.raises(ValueError, match=pattern):
        run(code)


def test_the_key_it_names_is_in_every_new_header():
    assert shape_of(load_params(ROOT / "params.yaml"), "motion").clips.crf
