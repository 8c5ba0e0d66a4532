import base64
import io
import json
import math
import re
import sys

import av
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.config.schema import Score
from pipeline.core import formatting
from pipeline.evaluation import embeddings
from pipeline.reporting import against, charts, examples, page, plots, seed_means
from pipeline.reporting import results as report
from pipeline.reporting.apart import Table
from pipeline.stages import guarded
from pipeline.stages import report as command
from tests.reporting import test_card

EVIL = "<script>alert(1)</script>"
METHODS = {"zero_shot": 0, "small": 1_000, "large": 2_000_000}
VIDEOS = [f"v{i}" for i in range(6)]
R1 = {"zero_shot": (10.0, 10.0), "small": (20.0, 24.0), "large": (30.0, 30.0)}


def direction(recall):
    ranks = {"MdR": 4.0, "MnR": 9.5, "R1_ci": [recall - 5, recall + 7]}
    return {"R1": recall, "R5": 50.0, "R10": 60.0, "RSum": recall + 110} | ranks


def write_run(root, method, seed, **metrics):
    folder = root / method / str(seed)
    folder.mkdir(parents=True)
    recall, trainable = R1[method][seed], METHODS[method]
    (folder / "metrics.json").write_text(
        json.dumps(
            {"dataset": "toy", "backbone": "tiny", "backbone_digest": "abc", "method": method, "seed": seed, "queries": 6}
            | {"gallery": 6, "gallery_hash": "aaa", "missing_hash": "mmm", "t2v": direction(recall), "v2t": direction(5.0)}
            | {"probe": {"accuracy": 50.0 + recall, "captions": 3, "ties": 0, "ci": [40.0, 80.0]}}
            | metrics
        )
    )
    cost = {"trainable": trainable, "dead": 0, "dead_names": [], "backbone_parameters": 4_000_000, "share": trainable / 4e4}
    cost |= {"tower_parameters": 2_000_000, "tower_share": trainable / 2e4}
    cost |= {"checkpoint_bytes": 1_234_567, "macs_per_video": 4_410_000_000, "macs_per_caption": 1, "train_peak_bytes": 1}
    cost |= {"train_videos_per_second": 3.0, "train_seconds": 1.0, "embed_videos_per_second": 7.0 + seed}
    (folder / "cost.json").write_text(json.dumps(cost))
    val = {"t2v_R1": recall, "v2t_R1": 5.0, "RSum": 1.0, "probe": 60.0}
    epochs = [{"epoch": e, "loss": 2.0 / e + seed, "lr": 0.1, "seconds": 1.0, "val": val if e > 1 else None} for e in (1, 2, 3)]
    record = {"commit": "0123456789abcdef+", "device": "cpu", "versions": {"torch": "2", "open_clip_torch": "3"}}
    train = {"status": "finished", "epochs": epochs if trainable else [], "selected_epoch": 3, "record": record}
    (folder / "train.json").write_text(json.dumps(train))
    write_embeddings(folder / "embeddings.h5", noise=3.0 / (1 + trainable), seed=seed)
    return folder


def write_embeddings(path, *, noise, seed):
    video, rows = np.eye(6, dtype=np.float32), np.arange(6)
    text = video + noise * np.random.default_rng(seed).normal(size=(6, 6)).astype(np.float32)
    ids = {"video_id": VIDEOS, "caption_id": [f"c{i}" for i in range(6)]}
    links = {"video_of_text": rows, "twin_of": rows[::2], "directed": rows % 2 == 0}
    made = embeddings.Embeddings(video=video, text=text, twin=video[::2], mask=np.ones((6, 1), bool), **ids, **links)
    embeddings.save(path, made, attributes={"seed": seed})


def write_clip(path, shade):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=3)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for t in range(8):
            picture = np.full((48, 64, 3), shade, np.uint8)
            picture[:, 8 * t : 8 * t + 8] = 255
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode())


def write_runs(root):
    """Three methods with two seeds."""
    for method in METHODS:
        for seed in (0, 1):
            write_run(root / "runs", method, seed)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The runs, six videos and their captions, one of them hostile."""
    root = tmp_path_factory.mktemp("world")
    write_runs(root)
    for i, video in enumerate(VIDEOS):
        write_clip(root / "clips" / "000" / f"{video}.mp4", 30 * i)
    pd.DataFrame({"video_id": VIDEOS, "out_path": [f"000/{v}.mp4" for v in VIDEOS]}).to_parquet(root / "videos.parquet")
    text = [EVIL, *(f"a circle moves {i} steps" for i in range(1, 6))]
    captions = {"video_id": VIDEOS, "caption_id": [f"c{i}" for i in range(6)], "text": text}
    pd.DataFrame(captions).to_parquet(root / "captions.parquet")
    return root


def facts(**values):
    """The card of the dataset that the runs are of: one video a split, among them a hostile one."""
    videos = [test_card.video(s, split=s, codec=EVIL if s == "test" else "h264") for s in ("train", "val", "test")]
    about = {"title": f"Toy {EVIL}", "homepage": "https://example.org", "licence": "CC BY", "deviations": [f"It {EVIL} differs."]}
    texts = {"train": [f"say {EVIL}", "one two three four"], "val": ["a"], "test": [f"say {EVIL}"]}
    return json.loads(json.dumps(test_card.facts(videos, texts, words=5, about=about) | values, sort_keys=True))


def load(world, *methods, seeds=(0, 1)):
    return [report.load_result(world / "runs" / m / str(s)) for m in methods or METHODS for s in seeds]


def build(world):
    results = load(world)
    found = {m: embeddings.load(world / "runs" / m / "0" / "embeddings.h5")[0] for m in METHODS}
    shown = examples.examples(found, pd.read_parquet(world / "captions.parquet"))
    clips = examples.clips(shown, pd.read_parquet(world / "videos.parquet"), root=world / "clips")
    thumbnails = {video: examples.thumbnail(path) for video, path in clips.items()}
    html = page.render(results, report.table(results), shown=shown, thumbnails=thumbnails, score=Score(), card=facts())
    return html, shown, thumbnails


@pytest.fixture(scope="module")
def built(world):
    return build(world)


def stage(monkeypatch, world, out, *runs):
    paths = [f"--{n}={out / n}" for n in ("html", "csv", "markdown", "text", "trials", "points", "ranks", "curves")]
    paths += [f"--{n}={world / f'{n}.parquet'}" for n in ("captions", "videos")] + [f"--clips={world / 'clips'}"]
    (world / "card.json").write_text(json.dumps(facts()))
    monkeypatch.setattr(sys, "argv", ["report", "--runs", *map(str, runs), "--settings", "{}", "--card", str(world / "card.json"), *paths])
    guarded(command.main)


def test_another_gallery_has_a_section_of_its_own_and_the_main_table_is_as_it_was(world, built):
    results, (_, shown, thumbnails) = load(world), built
    table = Table(EVIL, f"2 videos of {EVIL}.", ("Method", EVIL), [["small", "1"]])
    html = page.render(
        results, report.table(results), shown=shown, thumbnails=thumbnails, score=Score(), card=facts(), apart=[table]
    )  # fmt: skip
    begin = html.index('<section aria-labelledby="apart-1">')
    section = html[begin : html.index("</section>", begin) + len("</section>\n\n")]
    assert "<p>2 videos of &lt;script" in section and EVIL not in section
    assert html.replace(section, "") == built[0]


def test_runs_with_different_galleries_are_refused_with_both_numbers(world, tmp_path):
    other = report.load_result(write_run(tmp_path, "small", 0, gallery=5, gallery_hash="bbb"))
    with pytest.raises(ValueError, match=r"6 videos \(hash aaa\).* against 5 videos \(hash bbb\)") as caught:
        report.refuse_mixed_galleries([*load(world), other])
    assert str(other.folder) in str(caught.value)
    assert str(world / "runs" / "zero_shot" / "0") in str(caught.value)


@pytest.mark.parametrize("change", [{"queries": 7}, {"missing_hash": "nnn"}, {"gallery_hash": "bbb"}])
def test_any_difference_of_the_test_set_is_refused(world, tmp_path, change):
    with pytest.raises(ValueError, match=str(next(iter(change.values())))):
        report.refuse_mixed_galleries([*load(world), report.load_result(write_run(tmp_path, "small", 0, **change))])


def test_runs_of_different_datasets_may_stand_in_one_table_but_not_on_one_page(world, tmp_path):
    other = report.load_result(write_run(tmp_path, "small", 0, dataset="elsewhere", gallery_hash="bbb"))
    results = [*load(world), other]
    report.refuse_mixed_galleries(results)
    df = report.table(results)
    assert len(df) == 4
    with pytest.raises(ValueError, match="elsewhere, toy"):
        page.render(results, df, shown=[], thumbnails={}, score=Score(), card=facts())


def test_the_table_holds_means_and_sample_deviations_over_seeds(world):
    df = report.table(load(world)).set_index("method")
    small = df.loc["small"]
    assert small["seeds"] == 2
    assert small["t2v_R1"] == 22.0
    assert small["t2v_R1_std"] == pytest.approx(math.sqrt(8))
    assert small["RSum"] == (130 + 134) / 2 + 115
    assert small["probe"] == 72.0
    assert small["embed_videos_per_second"] == 7.5
    assert math.isnan(small["t2v_R1_low"])
    assert math.isnan(df.loc["zero_shot", "train_videos_per_second"])
    assert small["train_videos_per_second"] == 3.0


def test_a_single_seed_keeps_its_interval_and_has_no_deviation(world):
    row = report.table(load(world, "small", seeds=(1,))).iloc[0]
    assert (row["t2v_R1_low"], row["t2v_R1_high"]) == (19.0, 31.0)
    assert math.isnan(row["t2v_R1_std"])


def test_rows_are_ordered_by_what_they_train_with_zero_shot_first(world):
    assert list(report.table(load(world, "large", "zero_shot", "small"))["method"]) == ["zero_shot", "small", "large"]


def test_a_run_given_twice_is_refused(world):
    with pytest.raises(ValueError, match="seed 0 of toy/tiny/small is given 2 times"):
        report.table([*load(world, "small"), *load(world, "small")])


def test_seeds_that_train_different_counts_are_not_averaged(world, tmp_path):
    folder = write_run(tmp_path, "small", 1)
    cost = json.loads((folder / "cost.json").read_text()) | {"trainable": 999}
    (folder / "cost.json").write_text(json.dumps(cost))
    with pytest.raises(ValueError, match=r"trains 1000 parameters and .* 999"):
        report.table([*load(world, "small", seeds=(0,)), report.load_result(folder)])


def test_runs_from_before_the_towers_were_counted_show_no_share_of_them(world, tmp_path):
    folder = write_run(tmp_path, "small", 0)
    cost = json.loads((folder / "cost.json").read_text())
    old = {key: value for key, value in cost.items() if not key.startswith("tower_")}
    (folder / "cost.json").write_text(json.dumps(old))
    results = [report.load_result(folder)]
    row = report.table(results).iloc[0]
    column = next(column for column in report.COLUMNS if column.name == "tower_share")
    assert report.cell(row, column) == "\u2013" and dict(page._facts(results))["CLIP parameters"] == "4.00 M"
    assert report.cell(report.table(load(world)).iloc[1], column) == "0.0500"
    assert dict(page._facts(load(world)))["CLIP parameters"] == "4.00 M, 2.00 M without the token table"
    assert seed_means._known(row) == [name for name in report.COUNTED if name != "tower_share"]  # a file of DVC stays what it was


@pytest.mark.parametrize(("said", "shown"), [("yes", "yes"), ("in part", "in part"), ("no", "no"), (None, "\u2013")])
def test_whether_a_method_folds_away_is_a_column_where_its_run_says_so(tmp_path, said, shown):
    folder = write_run(tmp_path, "small", 0)
    cost = json.loads((folder / "cost.json").read_text()) | ({"folds": said} if said else {})
    (folder / "cost.json").write_text(json.dumps(cost))
    df = report.table([report.load_result(folder)])
    assert report.cell(df.iloc[0], next(column for column in report.COLUMNS if column.name == "folds")) == shown
    assert seed_means._known(df.iloc[0]) == list(report.COUNTED)


def test_a_dataset_without_directed_captions_has_no_probe(tmp_path):
    df = report.table([report.load_result(write_run(tmp_path, "small", 0, probe=None))])
    assert math.isnan(df["probe"][0])
    assert "\u2013" in report.to_text(df)


@pytest.mark.parametrize("name", ["metrics.json", "cost.json", "train.json"])
def test_a_missing_cut_or_incomplete_file_is_named(tmp_path, name):
    folder = write_run(tmp_path, "small", 0)
    for content, reason in (('{"a', "JSON"), ("{}", "lacks"), (None, "there is no")):
        (folder / name).unlink() if content is None else (folder / name).write_text(content)
        with pytest.raises(ValueError, match=f"{reason}.*{name}|{name}.*{reason}"):
            report.load_result(folder)


def test_an_unfinished_run_is_refused(tmp_path):
    folder = write_run(tmp_path, "small", 0)
    train = json.loads((folder / "train.json").read_text()) | {"status": "failed"}
    (folder / "train.json").write_text(json.dumps(train))
    with pytest.raises(ValueError, match="'failed'"):
        report.load_result(folder)


def test_numbers_are_shown_in_units_people_read():
    assert [formatting.count(n) for n in (0, 999, 122_880, 3_570_000, 999_960)] == ["0", "999", "122.9 k", "3.57 M", "1.00 M"]
    assert [formatting.size(n) for n in (980, 1_234_567)] == ["980 B", "1.2 MB"]
    assert [formatting.significant(n) for n in (0, 0.05214, 4.412, 1234.4)] == ["0", "0.0521", "4.41", "1234"]
    assert [formatting.plain(n) for n in (0.0, 12.5, 1234567.8, 1e-5, 1e20, float("nan"))] == [
        "0",
        "12.5",
        "1234567.8",
        "0.00001",
        "100000000000000000000",
        "nan",
    ]
    assert [formatting.moment(n) for n in (1 / 12, 3.0, 1234567.8)] == ["0.083", "3", "1234567.8"]


def test_ticks_of_a_logarithmic_axis_are_round_and_all_different():
    axis = charts.logarithmic([20_000, 40_000_000], start=0, end=100)
    assert [text for _, text in axis.ticks()] == ["100 k", "1 M", "10 M"]


@pytest.mark.parametrize("values", [[3.0], [0.0, 0.0], [18.2, 37.9], [1e-4, 2e-4], [-2.0, 5.0]])
def test_a_linear_axis_holds_its_values(values):
    axis = charts.linear(values, start=100, end=0)
    assert axis.low <= min(values) <= max(values) <= axis.high
    assert 2 <= len(axis.ticks()) <= 12


def test_learning_curves_are_means_over_seeds_and_skip_epochs_that_were_not_validated(world):
    table = plots.curves({"small": load(world, "small")})
    lines = {measure: [*zip(rows["epoch"], rows["value"], strict=True)] for measure, rows in table.groupby("measure")}
    assert lines["Training loss"] == [(1, 2.5), (2, 1.5), (3, pytest.approx(2 / 3 + 0.5, abs=1e-6))]
    assert lines["R@1 on validation, %"] == [(2, 22.0), (3, 22.0)]
    panels = {panel["title"]: panel for panel in charts.curves(table)}
    assert panels.keys() == lines.keys()
    for title, line in lines.items():
        assert len(panels[title]["lines"][0]["points"]) == len(line)
    assert panels["Probe on validation, %"]["level"][1] == "50 % is chance"


def test_the_text_table_is_aligned_and_fits_a_terminal(world):
    lines = report.to_text(report.table(load(world))).splitlines()
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    assert len(lines[0]) <= 110
    assert "22.0 ± 2.8" in lines[2]


def test_the_markdown_table_has_a_cell_for_each_column(world):
    lines = report.to_markdown(report.table(load(world))).splitlines()
    assert len(lines) == 5
    assert {line.count("|") for line in lines} == {len(report.COLUMNS) + 2}


def test_top_orders_videos_by_score_and_ties_by_position():
    order, scores = examples.top(np.array([[0.5, 0, 1], [0.5, 0.5, 2]]), k=2)
    assert order.tolist() == [[2, 0], [2, 0]]
    assert scores.tolist() == [[1, 0.5], [2, 0.5]]


def test_queries_that_divide_the_methods_are_chosen_first_and_half_are_directed():
    truth, directed = np.arange(40), np.arange(40) < 20
    best = np.stack([truth, truth]).copy()
    divided = [3, 7, 11, 15, 23, 27, 31, 35]
    best[1, divided] = 0
    assert examples.choose_queries(best, truth=truth, directed=directed) == divided


def test_queries_are_filled_up_when_too_few_are_directed():
    truth = np.arange(10)
    for directed in (truth < 1, truth < 9, truth < 0, truth < 10):
        chosen = examples.choose_queries(truth[None], truth=truth, directed=directed)
        assert len(chosen) == len(set(chosen)) == 8
    assert len(examples.choose_queries(truth[None, :3], truth=truth[:3], directed=truth[:3] < 1)) == 3


def test_embeddings_of_other_captions_are_refused(world):
    found = {"a": embeddings.load(world / "runs" / "small" / "0" / "embeddings.h5")[0]}
    found["b"] = embeddings.Embeddings(**vars(found["a"]) | {"caption_id": ["x"] * 6})
    with pytest.raises(ValueError, match="a and b"):
        examples.examples(found, pd.read_parquet(world / "captions.parquet"))


def test_a_thumbnail_shows_frames_in_the_order_of_time(world):
    uri = examples.thumbnail(world / "clips" / "000" / "v0.mp4")
    strip = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("L"))
    assert strip.shape == (examples.HEIGHT, 4 * 128)
    bright = [int(part[48].argmax()) for part in np.split(strip, 4, axis=1)]
    assert bright == sorted(bright)
    assert len(set(bright)) == 4


def test_a_clip_that_cannot_be_decoded_is_named(tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"not a video")
    with pytest.raises(ValueError, match=r"broken\.mp4"):
        examples.thumbnail(tmp_path / "broken.mp4")


def test_the_right_video_is_marked_for_every_method_that_has_it_among_five(built):
    html, shown, _ = built
    for example in shown:
        for hits in example.hits.values():
            assert [hit.right for hit in hits] == [hit.video_id == example.video_id for hit in hits]
        assert all(example.ranks[m] == 1 for m in ("small", "large"))
    marked = sum(hit.right for example in shown for hits in example.hits.values() for hit in hits)
    assert len(re.findall(r'class="thumb t\d+ right"', html)) == marked + len(shown)
    assert html.count("the right video") >= marked


def test_a_hostile_caption_is_shown_as_text(built):
    html = built[0]
    assert EVIL not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_the_page_needs_no_network(built):
    html = re.sub(r"data:image/jpeg;base64,[\w+/=]+", "", built[0])
    assert "http" not in html
    assert "//" not in html.replace("</", "")
    assert "@import" not in html
    assert not re.search(r"\s(src|href|xlink:href)\s*=|<link|<iframe", html)


def test_each_thumbnail_is_embedded_once(built):
    html, _, thumbnails = built
    assert len(thumbnails) == len(VIDEOS) == html.count("data:image/jpeg")
    assert all(html.count(uri) == 1 for uri in thumbnails.values())


def test_the_same_runs_give_the_same_bytes(world, built):
    assert build(world)[0] == built[0]


def test_the_level_of_the_intervals_is_told_only_if_it_is_known(world):
    results = load(world, "small", seeds=(0,))
    parts = {"shown": [], "thumbnails": {}, "card": facts()}
    pages = [page.render(results, report.table(results), score=s, **parts) for s in (Score(confidence=0.9), None)]
    assert "its 90 % interval" in pages[0]
    assert "2,000 resamples" in pages[0]
    assert "its confidence interval" in pages[1]
    assert "resamples" not in pages[1]


def section(html):
    """The part of the page about the dataset."""
    return re.search(r'<section aria-labelledby="data-title">.*?</section>', html, flags=re.DOTALL).group()


def test_the_page_has_a_section_about_the_dataset_with_its_numbers(built):
    html = section(built[0])
    assert "<h2" in html and "The dataset: Toy &lt;script&gt;" in html
    for label, cells in dict(rows for _, table in test_card.card_text.tables(facts()) for rows in table).items():
        assert f'<th scope="row">{label}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) in html
    assert "<td>1 (50.0 %)</td>" in html
    assert "1 of 1 test captions are also in train" in html
    assert "<strong>Deviation.</strong> It &lt;script&gt;alert(1)&lt;/script&gt; differs." in html
    assert "example.org" not in html


def test_histograms_have_a_bar_for_each_split_and_bin_and_are_told_to_who_cannot_see_them(built):
    html = section(built[0])
    assert html.count("<desc") == 2
    assert re.findall(r"</svg>(\w+)</li>", html) == ["train", "val", "test"] * 2
    assert "train: 2\u20135 1; val: 2\u20135 1; test: 2\u20135 1</desc>" in html
    assert "test, 2\u20135: 1 (100.0 %)" in html
    assert len(re.findall(r'<rect class="block k\d" x=', html)) == 6
    assert html.count("cut here") == 1


def histogram_card(counts, *, words=32, edges=(8, 16, 32)):
    histogram = {"edges": list(edges), "counts": counts}
    return {"histograms": {"tokens": histogram, "seconds": {"edges": [1], "counts": {"train": [0, 0]}}}, "words": words}


def test_bars_are_shares_of_their_split_between_the_first_and_last_filled_bin():
    panels = charts.histograms(histogram_card({"train": [0, 3, 1, 0], "test": [0, 1, 0, 0]}))
    assert [panel["unit"] for panel in panels] == ["tokens"]
    panel = panels[0]
    left, top, right, bottom = panel["box"]
    assert panel["x"] == [(left, "8"), ((left + right) / 2, "16"), (right, "32")]
    assert [bar["title"] for bar in panel["bars"]] == [
        "train, 8\u201316: 3 (75.0 %)",
        "train, 16\u201332: 1 (25.0 %)",
        "test, 8\u201316: 1 (100.0 %)",
        "test, 16\u201332: 0 (0.0 %)",
    ]
    assert [bar["height"] for bar in panel["bars"]] == pytest.approx([(bottom - top) * share for share in (0.75, 0.25, 1, 0)])


@pytest.mark.parametrize(("words", "place"), [(32, 1.0), (24, 0.75), (8, None), (77, None)])
def test_the_limit_of_captions_is_drawn_where_it_lies_among_the_bins(words, place):
    panel = charts.histograms(histogram_card({"train": [0, 3, 1, 0]}, words=words))[0]
    left, _, right, _ = panel["box"]
    assert panel["level"] == (None if place is None else left + place * (right - left))


@pytest.mark.parametrize("change", [{"dataset": "elsewhere"}, {"missing_hash": "nnn"}])
def test_a_card_of_another_dataset_or_of_other_missing_videos_is_refused(world, change):
    results = load(world, "small")
    with pytest.raises(ValueError, match=f"the card is of .* {next(iter(change.values()))} and .*small"):
        page.render(results, report.table(results), shown=[], thumbnails={}, score=None, card=facts(**change))


def test_the_page_tells_which_checkpoint_was_scored(world):
    results = load(world, "small")
    assert page._epochs(results) == "the last epoch of every run"
    results[0].train["selected_epoch"] = 2
    assert "1 of 2 runs" in page._epochs(results)


def test_the_stage_writes_all_five_files_and_prints_the_table(world, tmp_path, monkeypatch, capsys):
    stage(monkeypatch, world, tmp_path, *sorted((world / "runs").glob("*/*")))
    printed = capsys.readouterr().out
    assert "zero_shot" in printed
    assert printed.endswith(f"{tmp_path / 'html'}\n")
    assert list(pd.read_csv(tmp_path / "csv")["method"]) == list(METHODS)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "csv", "curves", "html", "markdown", "points", "ranks", "text", "trials",
    ]  # fmt: skip


def test_the_stage_says_in_one_line_what_is_missing(world, tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match=r"^error: [^\n]*nothing/metrics\.json[^\n]*$"):
        stage(monkeypatch, world, tmp_path, tmp_path / "nothing")


def test_the_page_has_what_papers_print_with_links_to_the_reasons(world):
    results = load(world)
    about = {"shown": (), "thumbnails": {}, "score": Score(), "card": facts()}
    line = against.Line("vop", f"table 1 {EVIL}", "t2v", "R@1", "39.6", "41.0", "38.0 to 44.0", "inside")
    found = [
        against.Comparison("small", [line], {"ties": "Ranks."}),
        against.Comparison("large", [], {}, "large is published with B, and this run is of A: not compared"),
    ]
    html = page.render(results, report.table(results), **about, against=found, root="../..")
    assert "Against the paper" in html and EVIL not in html.split("<body>")[1].split('<h2 id="cost-title"')[0]
    assert '<a href="../../docs/reproducing.md#ties">Ties.</a> Ranks.' in html and "<td>38.0 to 44.0</td><td>inside</td>" in html
    assert "large is published with B, and this run is of A: not compared." in html
    assert "Against the paper" not in page.render(results, report.table(results), **about)
