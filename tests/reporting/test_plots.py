"""The drawings of `dvc plots`: the tables, the templates in .dvc/plots, and the page that needs no network."""

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import vl_convert
import yaml
from dvc_render.vega import VegaRenderer

from pipeline.evaluation import embeddings
from pipeline.reporting import plots, vega
from pipeline.reporting import results as report
from tests.reporting.test_results import METHODS, load, write_runs

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted(path.stem for path in (ROOT / ".dvc/plots").glob("*.json"))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Three methods with two seeds and six videos."""
    root = tmp_path_factory.mktemp("plots")
    write_runs(root)
    return root


@pytest.fixture(scope="module")
def tables(world):
    """name of the file -> table, as rule report writes them."""
    results = load(world)
    groups = {method: load(world, method) for method in METHODS}
    found = {label: [embeddings.load(r.folder / "embeddings.h5")[0] for r in group] for label, group in groups.items()}
    return {"points": plots.points(report.table(results)), "ranks": plots.ranks(found), "curves": plots.curves(groups)}


def definitions():
    """The plots of stage report, of a dataset called toy: name of the file -> properties."""
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["report"]
    named = yaml.safe_load(yaml.safe_dump(stage["plots"]).replace("${item.dataset}", "toy"))
    return {Path(path).stem: (path, properties) for plot in named for path, properties in plot.items()}


def test_a_point_has_its_interval_for_one_seed_and_its_deviation_for_several(world, tables):
    small = tables["points"].set_index("label").loc["small"]
    assert (small["trainable"], small["t2v_R1"], small["RSum"]) == (1000, 22.0, 247.0)
    assert (small["low"], small["high"]) == (pytest.approx(22 - 8**0.5, abs=1e-4), pytest.approx(22 + 8**0.5, abs=1e-4))
    assert plots.points(report.table(load(world, "small", seeds=(1,)))).loc[0, ["low", "high"]].tolist() == [19.0, 31.0]


def made(places):
    """Embeddings of one-hot videos and captions, whose right videos have these ranks."""
    text = np.full((len(places), 60), -1.0, np.float32)
    for row, place in enumerate(places):
        text[row, row] = 0.5
        text[row, [i for i in range(60) if i != row][: place - 1]] = 1.0
    rows = np.arange(len(places))
    ids = {"video_id": [f"v{i}" for i in range(60)], "caption_id": [f"c{i}" for i in rows]}
    links = {"video_of_text": rows, "twin_of": rows[:0], "directed": rows < 0}
    video = np.eye(60, dtype=np.float32)
    return embeddings.Embeddings(video=video, text=text, twin=video[:0], mask=np.ones((60, 1), bool), **ids, **links)


def test_the_bins_hold_the_ranks_they_name_and_seeds_are_averaged():
    df = plots.ranks({"a": [made([1, 2, 5, 6]), made([10, 11, 50, 51])], "b": [made([1, 1, 1, 1])]})
    assert list(df["ranks"][:5]) == ["1", "2-5", "6-10", "11-50", ">50"]
    assert list(df[df["label"] == "a"]["share"]) == [12.5, 25.0, 25.0, 25.0, 12.5]
    assert list(df[df["label"] == "b"]["share"]) == [100.0, 0, 0, 0, 0]


def test_a_tied_right_video_takes_the_mean_of_the_tied_ranks():
    tied = made([1])
    tied.text[:] = 1.0
    assert plots.ranks({"a": [tied]})["share"].tolist() == [0, 0, 0, 100.0, 0]


def test_the_shares_of_a_method_add_up_to_all_captions(tables):
    assert tables["ranks"].groupby("label")["share"].sum().to_numpy() == pytest.approx(100.0, abs=1e-3)
    assert list(tables["ranks"]["label"].unique()) == list(METHODS)


def test_curves_are_means_over_seeds_of_the_epochs_that_all_seeds_have(tables):
    small = tables["curves"].query("label == 'small'")
    loss = small[small["measure"] == "Training loss"]
    assert loss["epoch"].tolist() == [1, 2, 3]
    assert loss["value"].tolist() == [2.5, 1.5, pytest.approx(2 / 3 + 0.5, abs=1e-6)]
    assert small[small["measure"] == "R@1 on validation, %"]["epoch"].tolist() == [2, 3]
    assert "zero_shot" not in set(tables["curves"]["label"])


def test_runs_that_train_nothing_have_no_curves(world):
    assert plots.curves({"zero_shot": load(world, "zero_shot")}).to_csv(index=False) == "label,epoch,measure,value\n"


def test_dvc_names_a_template_and_columns_that_are_there(tables):
    assert set(definitions()) == set(tables) == set(TEMPLATES)
    for name, (_, shown) in definitions().items():
        assert shown["template"] == name
        assert {shown["x"], shown["y"]} <= set(tables[name].columns)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_fills_into_a_chart_of_two_revisions(tables, name):
    text = (ROOT / ".dvc/plots" / f"{name}.json").read_text()
    assert {"DATA", "TITLE", "X", "Y", "X_LABEL", "Y_LABEL"} <= set(re.findall(r"<DVC_METRIC_(\w+)>", text))
    assert text.count("http") == 1, "only the name of its schema"
    rows = tables[name].astype(str).to_dict("records")
    data = [{"rev": rev} | row for rev in ("before", "after") for row in rows]
    shown = definitions()[name][1] | {"template_dir": ROOT / ".dvc/plots", "revs_with_datapoints": ["before", "after"]}
    spec = VegaRenderer(data, name, **shown).get_filled_template()
    assert "<DVC" not in json.dumps(spec)
    drawn = vl_convert.vegalite_to_svg(spec | ({"width": 600} if spec.get("width") == "container" else {}))
    assert shown["title"] in drawn
    for wanted in ("large", *plots.BINS) if name == "ranks" else ("large",):
        assert f">{wanted.replace('>', '&gt;')}</text>" in drawn


def test_labels_of_points_are_kept_apart_and_the_patch_finds_them():
    template = json.loads((ROOT / ".dvc/plots/points.json").read_text())
    (patch,) = template["usermeta"]["embedOptions"]["patch"]
    marks = vl_convert.vegalite_to_vega(template)["marks"]
    place = int(re.fullmatch(r"/marks/(\d+)/transform", patch["path"]).group(1))
    assert marks[place]["type"] == "text"
    assert set(patch["value"][0]["avoidMarks"]) <= {mark["name"] for mark in marks}
    assert marks[place]["name"].startswith("layer_1_layer")


def test_a_page_without_a_place_for_vega_is_refused():
    with pytest.raises(ValueError, match="0 times"):
        vega.page("<html>{plot_divs}</html>")


@pytest.fixture(scope="module")
def repository(tables, tmp_path_factory):
    """Two commits with the tables of rule report, our settings of DVC and our plots."""
    root = tmp_path_factory.mktemp("repository")
    (root / ".dvc").mkdir()
    for path in [ROOT / ".dvc" / name for name in ("config", "page.html", "plots")]:
        (shutil.copytree if path.is_dir() else shutil.copy2)(path, root / ".dvc" / path.name)
    stage = {"cmd": "true", "plots": [{path: properties} for path, properties in definitions().values()]}
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"report": stage}}))
    shutil.copy2(ROOT / ".gitignore", root)
    run(root, "git", "init", "-q")
    for tag, change in (("before", 0.0), ("after", 1.25)):
        for name, (path, properties) in definitions().items():
            df = tables[name].assign(**{properties["y"]: tables[name][properties["y"]] + change})
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            df.to_csv(root / path, index=False)
        run(root, "git", "add", "-A")
        run(root, "git", "-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "-q", "-m", tag)
        run(root, "git", "tag", tag)
    return root


def run(root, *words):
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def drawn(root, *words):
    """The page that a command of DVC makes, and the data of its plots."""
    run(root, sys.executable, "-m", "dvc", "plots", *words)
    html = (root / "dvc_plots/index.html").read_text()
    specs = [json.loads(text) for text in re.findall(r"var spec = (\{.*\});$", html, flags=re.MULTILINE)]
    return html, {spec["title"]["text"]: pd.read_json(io.StringIO(json.dumps(spec["data"]["values"]))) for spec in specs}


def loads_something(html):
    """Whether a browser would fetch anything to show the page. What scripts hold as text is no tag."""
    tags = re.sub(r"(<script\b[^>]*>).*?</script>", r"\1", html, flags=re.DOTALL)
    return "cdn." in html or re.search(r"<(script|link|img|iframe)\b[^>]*\s(src|href)=|@import|url\(", tags)


def test_the_page_of_a_comparison_holds_vega_and_the_data_of_both_revisions(repository, tables):
    (repository / ".dvc/tmp").mkdir(exist_ok=True)
    (repository / ".dvc/tmp/plots.html").write_text(vega.page((repository / ".dvc/page.html").read_text()))
    (repository / ".dvc/config.local").write_text("[plots]\n    html_template = tmp/plots.html\n")
    html, data = drawn(repository, "diff", "before", "after")
    (repository / ".dvc/config.local").unlink()
    assert not loads_something(html)
    assert "window.vegaEmbed=" in html
    for name, (_, properties) in definitions().items():
        shown = data[properties["title"]]
        assert shown.groupby("rev").size().to_dict() == {"before": len(tables[name]), "after": len(tables[name])}
        means = shown.groupby("rev")[properties["y"]].mean()
        assert means["after"] - means["before"] == pytest.approx(1.25)


def test_without_make_setup_the_page_says_so_and_loads_nothing(repository):
    html, data = drawn(repository, "show")
    assert len(data) == 3
    assert "run `make setup`" in html
    assert not loads_something(html)
