"""Records in git: made of runs, read back as the same runs, refused where they are none; the pages and files that follow from them."""

import copy
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from pipeline.core import record
from pipeline.core.files import read_json
from pipeline.evaluation import compare, embeddings
from pipeline.reporting import noise, pages, records, results
from pipeline.stages import contribute, guarded
from tests.reporting.test_provenance import BACKBONE, TESTED, TRAINED, make

ONE = "runs/toy/tiny/zero_shot/0"  # the cheapest to trace
SAID = ("--by", "Ada, of a lab", "--machine", "one core of a kind")
PARAMS = """
run: {datasets: [toy], methods: [zero_shot, vop, mv_adapter], seeds: [0, 1]}
datasets: {toy: {captions: captions.csv, videos: videos}}
backbone: {name: tiny, weights: none}
methods: {zero_shot: {seeds: [0]}, vop: {}, mv_adapter: {}}
score: {bootstrap: 300}
"""
SEARCH = {
    "run": "vop",
    "gain": 3.0,
    "trials": [{"gain": g, "lr": 0.1 * g, "epochs": [], "val": {"RSum": 9.00000001 * g}} for g in (1.0, 3.0)],
}
COMMIT = "0a1b2c3d4e" * 4
EPOCHS = [{"epoch": n, "loss": 1 / n, "lr": 0.1, "seconds": 2.0, "videos": 100, "val": {"RSum": 80.04} if n == 2 else None} for n in (1, 2)]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A folder of finished runs of a clean commit: zero_shot with a seed, vop and mv_adapter with two."""
    root = tmp_path_factory.mktemp("ran")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setattr(record, "commit", lambda: COMMIT)
        for name in (*TRAINED, *TESTED):
            path = root / "work/toy" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        for method, seed, noise_of in (
            ("zero_shot", 0, 1.5),
            ("vop", 0, 0.8),
            ("vop", 1, 0.9),
            ("mv_adapter", 0, 0.3),
            ("mv_adapter", 1, 0.3),
        ):
            folder = make(root, method, seed, noise=noise_of, config={})
            for name, values in (
                ("train.json", {"epochs": EPOCHS, "selected_epoch": 2}),
                ("cost.json", {"trainable": 9 * (method != "zero_shot")}),
            ):
                (folder / name).write_text(json.dumps(read_json(folder / name) | values))
    (root / "params.yaml").write_text(PARAMS)
    (root / "results/toy").mkdir(parents=True)
    return root


@pytest.fixture(scope="module")
def given(ran):
    """The records of those runs."""
    call("results/toy", *SAID, folder=ran)
    return ran / "records"


def call(*words, folder):
    """The command in a folder, whose records lie in its `records`; the sentence that it ends with, "" where all is well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["contribute", *words, "--records", str(folder / "records")])
        try:
            guarded(contribute.main)
        except SystemExit as ended:
            return str(ended.code).removeprefix("error: ")
    return ""


def test_a_record_is_read_back_as_the_runs_that_made_it(ran, given, monkeypatch):
    assert [path.relative_to(given).as_posix() for path in sorted(given.rglob("*.json"))] == [
        "toy/tiny/mv_adapter.json", "toy/tiny/vop.json", "toy/tiny/zero_shot.json",
    ]  # fmt: skip
    monkeypatch.chdir(ran)
    folders = sorted(Path("runs/toy/tiny").glob("*/*"))
    entries, theirs = records.load(given), [results.load_result(folder) for folder in folders]
    df = results.table(theirs)
    assert pages.of(entries) and results.table(pages.of(entries)).equals(df)
    found = {label: [embeddings.load(f / "embeddings.h5")[0] for f in folders if f.parent.name == label] for label in df["label"]}
    again = noise.alike(df, found, score=pages._score(entries[0]))
    assert pages._alike(entries, df) == again and set(map(len, again.values())) > {1}
    made = embeddings.load(folders[0] / "embeddings.h5")[0]
    side, (hits, sizes) = entries[0].sides[0], compare.outcomes(made)
    assert (side.hits == hits).all() and (side.sizes == sizes).all()


def test_a_record_says_who_and_what_and_keeps_no_path(given, ran):
    content = read_json(given / "toy/tiny/vop.json")
    assert (content["by"], content["machine"], content["sees_time"]) == (SAID[1], SAID[3], False)
    assert read_json(given / "toy/tiny/mv_adapter.json")["sees_time"] is True
    assert content["settings"]["train"] == {"lr": 0.1} and content["search"] is None
    assert {run["train"]["record"]["commit"] for run in content["runs"]} == {COMMIT}
    assert content["runs"][0]["metrics"]["backbone_digest"] == BACKBONE
    assert str(ran) not in json.dumps(content) and "work/" not in json.dumps(content)


def put(at, *names):
    return lambda content, value: _set(content, [at, *names], value)


def _set(content, names, value):
    *way, last = names
    for name in way:
        content = content[name]
    content[last] = value


RUN = ("runs", 0)
WRONG = {
    "a key that nobody knows": (put("hello"), 1, r"\$: Additional properties are not allowed"),
    "another format": (put("format"), 2, r"\$.format: 1 was expected"),
    "no name": (put("by"), "", r"\$.by: '' "),
    "a row of a table in a name": (put("by"), "a | b", r"\$.by: 'a \| b' does not match"),
    "markup": (put("note"), "<img src=x>", r"\$.note: "),
    "a line more": (put("machine"), "a machine\n# title", r"\$.machine: "),
    "a link in a note": (put("note"), "[here](x)", r"\$.note: "),
    "too much": (put(*RUN, "metrics", "t2v", "R1"), 143.0, r"\$.runs\[0\].metrics.t2v.R1: 143.0 is greater than the maximum of 100"),
    "text for a number": (put(*RUN, "cost", "trainable"), "9", r"\$.runs\[0\].cost.trainable: '9' is not"),
    "changed code": (put(*RUN, "train", "record", "commit"), COMMIT + "+", r"\$.runs\[0\].train.record.commit: "),
    "a run that goes on": (put(*RUN, "train", "status"), "running", r"\$.runs\[0\].train.status: 'finished' was expected"),
    "a place elsewhere": (put("evaluation", "dataset"), "../../x", r"\$.evaluation.dataset: "),
    "means of others": (put("evaluation", "RSum"), 599.0, "says RSum 599.0, and its runs give "),
    "a metric that nothing gave": (put(*RUN, "metrics", "v2t", "R5"), 0.0, "says v2t.R5 .*, and its runs give "),
    "one seed twice": (put(*RUN, "metrics", "seed"), 1, "seed 1 of toy/tiny/vop is given 2 times"),
    "another run among them": (put(*RUN, "metrics", "method"), "bias", "holds a run of toy/tiny/bias"),
    "another test set": (put(*RUN, "metrics", "gallery_hash"), "0" * 16, "were not scored on the same test set"),
    "other weights": (put(*RUN, "metrics", "backbone_digest"), "0" * 64, "has seeds on different weights"),
    "an adapter of another": (put(*RUN, "metrics", "adapter"), "0" * 64, "names two adapters of seed 0"),
    "no outcomes": (put(*RUN, "outcomes", "t2v_R1"), "1 0", r"has 12 videos and outcomes of \[2, 12\]"),
    "all right": (put(*RUN, "outcomes", "t2v_R1"), " ".join(["2"] * 12), "t2v_R1 of seed 0 does not follow from the outcomes"),
    "more right than asked": (put(*RUN, "outcomes", "v2t_R10"), "2 0 " + " ".join(["1"] * 10), "an outcome of seed 0 does not follow"),
    "words as outcomes": (put(*RUN, "outcomes", "probe"), "nan", r"\$.runs\[0\].outcomes.probe: 'nan' does not match"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_record_is_refused_in_one_sentence(given, wrong):
    change, value, sentence = WRONG[wrong]
    content = read_json(given / "toy/tiny/vop.json")
    records.checked(copy.deepcopy(content), place=Path("toy/tiny/vop.json"), where="x.json")
    change(content, value)
    with pytest.raises(ValueError, match="x.json|given 2 times|same test set") as refused:
        records.checked(content, place=Path("toy/tiny/vop.json"), where="x.json")
    assert re.search(sentence, str(refused.value)), refused.value
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is no JSON: Expecting property name"),
        ('{"format": NaN}', "is no JSON: NaN is no number"),
        ('{"format": 1, "format": 1}', "is no JSON: a key stands twice"),
        ("[" * 100_000, "is no JSON: "),
        ("7", r"\$: 7 is not of type 'object'"),
        (b"\xff\xfe", "is no JSON: "),
    ],
)
def test_a_file_that_is_not_read_is_named(tmp_path, text, sentence):
    path = tmp_path / "a/b/c.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=sentence) as refused:
        records.load(tmp_path)
    assert "c.json" in str(refused.value)


@pytest.mark.parametrize(
    "place", ["toy/tiny/bias.json", "toy/large/vop.json", "toy/vop.json", "toy/tiny/A lab/vop.json", "toy/tiny/a/b/vop.json"]
)
def test_a_record_lies_in_its_place(given, tmp_path, place):
    target = tmp_path / place
    target.parent.mkdir(parents=True)
    shutil.copy(given / "toy/tiny/vop.json", target)
    with pytest.raises(ValueError, match=r"is the record of vop on toy/tiny; move it to toy/tiny/"):
        records.load(tmp_path)


def test_links_and_large_files_are_not_followed(given, tmp_path, monkeypatch):
    target = tmp_path / "toy/tiny/vop.json"
    target.parent.mkdir(parents=True)
    target.symlink_to(given / "toy/tiny/vop.json")
    with pytest.raises(ValueError, match="is a link or has more than"):
        records.load(tmp_path)
    monkeypatch.setattr(records, "LARGEST", 100)
    with pytest.raises(ValueError, match="or has more than 100 bytes"):
        records.load(given)


def test_another_of_the_same_name_needs_an_experiment_or_is_replaced(given, ran, capsys):
    other = ("--by", "Bob, elsewhere", *SAID[2:])
    assert "there is another" in call(ONE, *other, folder=ran) and not call(ONE, *SAID, folder=ran)
    assert not call(ONE, *other, "--experiment", "bobs", folder=ran)
    assert {(e.place, e.run) for e in records.load(given)} >= {("toy/tiny/bobs", "zero_shot"), ("toy/tiny", "zero_shot")}
    assert "move it to" in call(ONE, *other, "--experiment", "../b", folder=ran)
    assert not call(ONE, *other, "--replace", folder=ran)
    assert read_json(given / "toy/tiny/zero_shot.json")["by"] == "Bob, elsewhere"
    shutil.rmtree(given / "toy/tiny/bobs")
    call(ONE, *SAID, "--replace", folder=ran)
    capsys.readouterr()
    assert not call(folder=ran) and "3 records in " in capsys.readouterr().out


def test_what_cannot_be_traced_is_not_taken(ran, tmp_path):
    assert "say with --by who ran it" in call(ONE, folder=ran)
    shutil.copytree(ran, tmp_path / "copy")
    folder = tmp_path / "copy"
    path = folder / "runs/toy/tiny/zero_shot/0/metrics.json"
    good = path.read_text()
    path.write_text(good.replace('"R1": ', '"R1": 1'))
    assert "and the embeddings that it names give" in call(ONE, *SAID, folder=folder)
    path.write_text(good)
    (path.parent / "embeddings.h5").rename(path.parent / "away")
    assert "there is no runs/toy/tiny/zero_shot/0/embeddings.h5; contribute from the folder" in call(ONE, *SAID, folder=folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make(folder, "zero_shot", 0, noise=1.5, config={})
        commit = json.loads((path.parent / "train.json").read_text())["record"]["commit"]
    if len(commit) != 40:  # this checkout has changes
        assert "with code that no commit has" in call(ONE, *SAID, folder=folder)


def test_trials_of_a_search_come_along(ran, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(ran, folder)
    (folder / "params.yaml").write_text(PARAMS + "search: {gains: [1, 3]}\n")
    (folder / "runs/toy/tiny/vop/search.json").write_text(json.dumps(SEARCH))
    nothing = {**SEARCH, "gain": 1.0, "trials": []}  # as rule rates writes it for what trains nothing
    (folder / "runs/toy/tiny/zero_shot/search.json").write_text(json.dumps(nothing))
    (folder / "records").rename(folder / "away")
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("zero_shot, vop, mv_adapter], seeds: [0, 1]", "zero_shot, vop], seeds: [0]"))
    assert not call("results/toy", *SAID, "--experiment", "field", folder=folder)
    entries = records.load(folder / "records")
    assert [entry.place for entry in entries] == ["toy/tiny/field"] * 2
    assert pages.trials(entries).splitlines()[1:] == ["vop,1.0,0.1,,False,9.0,,,,", "vop,3.0,0.30000000000000004,,True,27.0,,,,"]
    rows = pages.wide(entries).splitlines()
    assert [row.split(" | ")[0] for row in rows[2:4]] == ["| `vop`", "| `zero_shot`"], "the highest R-Sum first"
    assert [row.split(" | ")[2] for row in rows[2:4]] == ["3", "\u2013"]


def test_blocks_of_a_page_are_made_and_those_without_records_stay(given):
    entries = records.load(given)
    page = """# A page
<!-- records: seeds toy/tiny -->
old
<!-- records: end -->
<!-- records: wide toy/other -->
stays
<!-- records: end -->
<!-- records: differences toy/tiny mv_adapter:vop -->
<!-- records: end -->
<!-- records: everything all -->
<!-- records: end -->
"""
    text = pages.filled(page, entries, where="x.md")
    assert "old" not in text and "stays" in text and text.count("<!-- records: ") == 8
    assert pages.filled(text, entries, where="x.md") == text
    assert len(re.findall(r"^\| `(?:vop|mv_adapter|zero_shot)` \| [01] \| \d+\.\d \(\d+\.\d to \d+\.\d\)", text, flags=re.MULTILINE)) == 5
    row = next(line for line in text.splitlines() if line.startswith("| `mv_adapter` less `vop`"))
    a, b = (next(e for e in entries if e.run == name).sides for name in ("vop", "mv_adapter"))
    rsum = next(d for d in compare.compare(a, b, settings=pages._score(entries[0])) if d.metric == "RSum")
    assert f"{rsum.difference:+.1f} ({rsum.low:+.1f} to {rsum.high:+.1f})" in row and rsum.difference > 0
    assert "| toy | tiny |  | `vop` | 2 | " in text and COMMIT[:7] in text
    with pytest.raises(ValueError, match="x.md asks for the records as 'tabel'; there are printed, table"):
        pages.filled("<!-- records: tabel toy/tiny -->\n<!-- records: end -->", entries, where="x.md")
    with pytest.raises(ValueError, match="there is no record of lora for the difference lora:vop"):
        pages.differences(entries, "lora:vop")


def test_the_probe_by_kind_of_action_comes_along_and_what_nobody_knows_yet_does_not(given):
    metrics = copy.deepcopy(records.load(given)[0].content["runs"][0]["metrics"])
    part = metrics["probe"]
    assert "do not say" in pages.probed(records.load(given))
    said = metrics | {"later": 1, "inputs": {"frames.h5": "0" * 64}, "probe": part | {"actions": {"moves": part | {"more": 2}}, "also": 3}}
    kept = records.kept(said, "metrics")
    assert kept["probe"] == part | {"actions": {"moves": part}} and "later" not in kept and kept["t2v"] == metrics["t2v"]
    entries = [copy.deepcopy(entry) for entry in records.load(given)]
    for run in (run for entry in entries for run in entry.content["runs"]):
        run["metrics"]["probe"]["actions"] = {"moves": part}
        records.checked(entries[0].content, place=Path("toy/tiny/mv_adapter.json"), where="x.json")
    text = pages.probed(entries)
    assert "| `vop` | " in text and f"moves ({part['captions']})" in text
    entries[0].content["runs"][0]["metrics"]["probe"]["actions"]["<b>"] = part
    with pytest.raises(ValueError, match="'<b>' does not match"):
        records.checked(entries[0].content, place=Path("toy/tiny/mv_adapter.json"), where="x.json")


def test_records_of_several_test_sets_are_not_one_table(given):
    entries = records.load(given)
    other = copy.deepcopy(entries[0].content)
    for run in other["runs"]:
        run["metrics"]["gallery_hash"] = "0" * 16
    with pytest.raises(ValueError, match="were not scored on the same test set of toy"):
        pages.printed([records.Entry("toy", "tiny", "", "mv_adapter", other), *entries[1:]])


def test_the_picture_tells_what_sees_time_and_escapes_names(given, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "DEFAULT", "toy/tiny")
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("no block")
    found = pages.made(records.load(given), tmp_path)
    assert {path.relative_to(tmp_path).as_posix() for path in found} == {"docs/results/healthy-run.csv", "docs/results/motion.svg"}
    svg = found[tmp_path / "docs/results/motion.svg"]
    dots = dict(re.findall(r"<title>(\w+): R-Sum.*?</title>.*?<circle [^>]*fill=\"(#\w+)\"", svg, flags=re.DOTALL))
    assert dots.keys() == {"vop", "mv_adapter"} and dots["vop"] == "#ffffff" != dots["mv_adapter"]
    assert re.search(r">zero_shot \d+\.\d<", svg) and "bars: deviation over seeds" in svg
    curve = found[tmp_path / "docs/results/healthy-run.csv"].splitlines()
    assert curve[-1] == "vop,2,0.5000,50.0,,,80.0," and len(curve) == 1 + 3 * 2
    entry = records.load(given)[1]
    table = results.table(entry.results).assign(label="<script>")
    assert "<script>" not in pages.picture.scatter([entry], table=table)


def test_all_that_follows_from_the_records_is_up_to_date():
    for path, text in pages.made(records.load()).items():
        assert path.read_text(encoding="utf-8") == text, f"{path} is not what the records say: make docs"
