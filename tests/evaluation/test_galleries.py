"""Parts of a test set beside the whole: each number again by hand, each list in the forms that circulate."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pipeline.config.params import check
from pipeline.config.resolve import score as settings_of
from pipeline.config.schema import Gallery, Score
from pipeline.evaluation.embeddings import Embeddings, save
from pipeline.evaluation.galleries import blocks, ids, subset
from pipeline.evaluation.score import gallery_hash, score
from pipeline.reporting import galleries
from pipeline.reporting.results import Result
from pipeline.stages import score as stage

VIDEOS = ["video7020", "26292851@N04_4253489686", "-abcdefghij", "1004_Juno_00.00.32.840-00.00.37.750", "e", "f"]
LISTED = ["video7020", "26292851@N04_4253489686_265c3c8051.m4v", "v_-abcdefghij", "1004_Juno_00.00.32.840-00.00.37.750.avi"]


@pytest.fixture
def made():
    """Six videos with two captions each, and a twin of every other one."""
    rng = np.random.default_rng(3)
    video, text = rng.normal(size=(6, 5)).astype(np.float32), rng.normal(size=(12, 5)).astype(np.float32)
    links = {"video_of_text": np.repeat(np.arange(6), 2), "twin_of": np.array([0, 2, 4]), "directed": np.arange(12) % 4 < 2}
    names = {"video_id": VIDEOS, "caption_id": [f"c{n}" for n in range(12)], "action": ["moves", "sizes"] * 6}
    return Embeddings(video=video, text=text, twin=video[::2, ::-1].copy(), mask=np.ones((6, 1), bool), **links, **names)


def settings(file, **values):
    return Score(bootstrap=20, galleries={"part": Gallery(dataset="msrvtt", file=str(file), **values)})


def by_hand(made, videos, gallery):
    """R@1 of both directions, of the queries that belong to `videos` among `gallery`."""
    scores = made.text @ made.video.T
    texts = [row for row in range(12) if made.video_of_text[row] in videos]
    t2v = [max(gallery, key=lambda v: scores[row, v]) == made.video_of_text[row] for row in texts]
    asked = [row for row in range(12) if made.video_of_text[row] in gallery]
    v2t = [made.video_of_text[max(asked, key=lambda row: scores[row, v])] == v for v in videos]
    return round(100 * np.mean(t2v), 4), round(100 * np.mean(v2t), 4), len(texts)


@pytest.mark.parametrize("ranked", ["queries", "gallery"])
def test_each_number_is_that_by_hand(made, tmp_path, ranked):
    (tmp_path / "list.json").write_text(json.dumps({"debiased": LISTED, "other": ["f"]}))
    found = blocks(made, settings=settings(tmp_path / "list.json", part="debiased", ranked=ranked), missing=())["part"]
    gallery = range(4) if ranked == "gallery" else range(6)
    t2v, v2t, queries = by_hand(made, range(4), gallery)
    assert (found["t2v"]["R1"], found["v2t"]["R1"], found["queries"], found["gallery"]) == (t2v, v2t, queries, len(gallery))
    rows = [0, 1, 4, 5]
    own = [made.text[row] @ made.video[made.video_of_text[row]] for row in rows]
    twin = [made.text[row] @ made.twin[made.video_of_text[row] // 2] for row in rows]
    assert found["probe"]["accuracy"] == 100 * np.mean(np.array(own) > np.array(twin)) and found["probe"]["captions"] == 4
    assert found["gallery_hash"] != gallery_hash(made) and (found["listed"], found["missing"]) == (4, 0)


def test_all_videos_as_queries_are_the_whole(made):
    whole = score(made, settings=Score(bootstrap=20))
    assert score(made, settings=Score(bootstrap=20), asked=np.ones(6, bool)) == whole


def test_a_part_keeps_what_each_caption_names_and_old_files_name_nothing(made):
    chosen = np.array([True, False, True, False, False, False])
    assert subset(made, chosen).action == ["moves", "sizes"] * 2
    assert subset(replace(made, action=[]), chosen).action == []


def test_a_video_without_a_clip_is_counted_and_a_stranger_is_refused(made, tmp_path):
    file = tmp_path / "list.txt"
    file.write_text("video7020\n\nvideo7021\nf\n")
    found = blocks(made, settings=settings(file), missing={"video7021"})["part"]
    assert (found["listed"], found["missing"], found["queries"]) == (3, 1, 4)
    with pytest.raises(ValueError, match="1 of 3 videos are not in the test set, 'video7021' first"):
        blocks(made, settings=settings(file), missing=())
    file.write_text("video7021\n")
    with pytest.raises(ValueError, match="none of its 1 videos has a clip"):
        blocks(made, settings=settings(file), missing={"video7021"})
    file.write_text("f\nf.mp4\n")
    with pytest.raises(ValueError, match="it names 1 videos twice"):
        blocks(made, settings=settings(file), missing=())


@pytest.mark.parametrize(
    ("text", "part", "sentence"),
    [
        ('{"debiased": ["f"]}', "", r"has the parts 'debiased', and not ''; set `part`"),
        ('{"debiased": ["f"]}', "debased", "not 'debased'"),
        ("f\n", "debiased", "an id a line, and no part 'debiased'"),
        ("[", "", "is no JSON"),
        ("[3]", "", "expected a list of ids of videos"),
        ('{"a": {"f": 1}}', "a", "expected a list of ids of videos"),
        ("", "", "expected a list of ids of videos"),
    ],
)
def test_each_defect_of_a_list_is_one_sentence(tmp_path, text, part, sentence):
    (tmp_path / "list").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        ids(tmp_path / "list", part=part)
    with pytest.raises(ValueError, match="there is no list of videos"):
        ids(tmp_path / "none", part=part)


def result(label, block):
    return {label: [Result(None, {"galleries": {"utd": block}}, {}, {})]}


def test_each_gallery_has_a_table_of_its_own_and_other_lists_are_not_put_into_it(made, tmp_path):
    (tmp_path / "a").write_text("f\ne\n")
    (tmp_path / "b").write_text("f\n")
    one, other = (blocks(made, settings=settings(tmp_path / name), missing=())["part"] for name in "ab")
    [table] = galleries.tables(result("vop", one) | result("lora", one))
    assert [row[0] for row in table.rows] == ["vop", "lora"] and "captions of 2 listed videos against all 6 test videos" in table.about
    assert (
        one["list_hash"][:12] in table.about and one["gallery_hash"][:12] in table.about and table.rows[0][1] == f"{one['t2v']['R1']:.1f}"
    )
    assert "## utd" in galleries.to_markdown([table]) and galleries.to_markdown([]) == ""
    for mixed in (result("vop", one) | result("lora", other), result("vop", one) | {"lora": [Result(None, {}, {}, {})]}):
        with pytest.raises(ValueError, match="was not scored on the same gallery 'utd'"):
            galleries.tables(mixed)


def test_the_stage_writes_them_beside_numbers_that_stay_the_same(made, tmp_path, monkeypatch):
    about = {"dataset": "msrvtt", "run": "vop", "inputs": "{}"}
    save(tmp_path / "e.h5", made, attributes=about)
    (tmp_path / "missing.tsv").write_text("video_id\tsplit\tstatus\treason\n")
    (tmp_path / "list").write_text("f\n")
    texts = []
    for said in ("{}", json.dumps({"galleries": {"utd": {"dataset": "msrvtt", "file": str(tmp_path / "list")}}})):
        files = {"embeddings": "e.h5", "missing": "missing.tsv", "metrics": "m.json"}
        words = [word for key, file in files.items() for word in (f"--{key}", str(tmp_path / file))]
        monkeypatch.setattr("sys.argv", ["score", *words, "--settings", said])
        stage.main()
        texts.append(json.loads((tmp_path / "m.json").read_text()))
    assert texts[1].pop("galleries")["utd"]["queries"] == 2 and texts[0] == texts[1]
    assert texts[0]["score"] == {"bootstrap": 2000, "confidence": 0.95, "seed": 0}


def test_a_run_has_the_galleries_of_its_dataset_alone():
    entry = {"dataset": "motion", "file": "a"}
    values = {"run": {"datasets": ["motion"], "methods": ["vop"], "seeds": [0]}, "datasets": {"motion": {}}, "methods": {"vop": {}}}
    values |= {"backbone": {"name": "clip-tiny", "weights": "a/b"}, "pretrain": {"pairs": 200}}
    params = check(values | {"score": {"galleries": {"utd": entry, "other": entry | {"dataset": "msvd"}}}})
    assert list(settings_of(params, "motion").galleries) == ["utd"] and settings_of(params, "didemo").galleries is None
    with pytest.raises(ValueError, match="choose one of queries, gallery"):
        check(values | {"score": {"galleries": {"utd": entry | {"ranked": "videos"}}}})
