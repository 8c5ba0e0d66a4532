"""The facts of `pipeline.reporting.card.facts` in words, as plain text: whoever shows it escapes it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.core.formatting import significant
from pipeline.core.layout import SPLITS
from pipeline.evaluation import small

UNKNOWN = "not measured"
STATUS = {
    "ok": "Whole",
    "degraded": "Degraded: used, but decoded with errors or only in part",
    "missing": "Missing",
    "unreadable": "Unreadable",
    "excluded": "Excluded by hand",
}
PICTURES = {
    "portrait": "Shown as portrait",
    "rotated": "Stored rotated",
    "oblong_pixels": "With pixels that are not square",
    "interlaced": "Interlaced: the first moment of each picture is used",
}
PICTURES |= {"hdr": "HDR, shown as SDR", "guessed_colours": "Without a word on their colours, which are guessed"}
TEXT = {
    "empty": "Empty",
    "non_ascii": "With characters outside ASCII",
    "control": "With line breaks or control characters",
    "edge_blanks": "With blanks at an end",
    "double_blanks": "With several blanks in a row",
    "repeated": "Repeating one of the same video",
}
LENGTHS = {"mean": "mean", "p95": "95 % have at most", "p99": "99 % have at most", "max": "longest"}
HISTOGRAMS = {"seconds": "Durations of the videos used", "tokens": "Lengths of the captions used"}
TOPS = {"codecs": ("Codecs", UNKNOWN), "sizes": ("Sizes as stored", UNKNOWN), "licences": ("Licences", "not stated")}

Row = tuple[str, list[str]]
Facts = Mapping[str, Any]


def tables(facts: Facts) -> list[tuple[str, list[Row]]]:
    """(topic, rows); a row is a label and a cell for train, val and test."""
    splits = [facts["splits"][name] for name in SPLITS]

    def rows(key: str, labels: Mapping[str, str]) -> list[Row]:
        return [(label, [_number((s[key] or {}).get(name)) for s in splits]) for name, label in labels.items()]

    return [
        ("Size", _sizes(facts, splits)),
        ("Captions as used", _lengths(splits, words=facts["words"])),
        ("Sentences as annotated", rows("text", TEXT)),
        ("Videos as annotated", rows("status", STATUS)),
        ("Pictures of the videos used", rows("pictures", PICTURES)),
    ]


def _sizes(facts: Facts, splits: Sequence[Facts]) -> list[Row]:
    rows = []
    for i, what in enumerate(("videos", "sentences")):
        rows.append((f"{what.capitalize()} annotated", [_number(s["annotated"][what]) for s in splits]))
        if published := facts["about"].get("expected"):
            told = ((published.get(name) or (None, None))[i] for name in SPLITS)
            rows.append((f"{what.capitalize()} published", ["not stated" if number is None else f"{number:,}" for number in told]))
    rows += [(f"{what.capitalize()} used", [_number(s[what]) for s in splits]) for what in ("videos", "sentences", "captions")]
    rows.append(("Hours used", [UNKNOWN if s["hours"] is None else significant(s["hours"]) for s in splits]))
    return [*rows, ("Captions a video", [_extent(s["captions_per_video"]) for s in splits])]


def _extent(value: Mapping[str, float] | None) -> str:
    if value is None:
        return UNKNOWN
    low, high = value["min"], value["max"]
    return f"{low:,}" if low == high else f"{low:,}\u2013{high:,}, mean {value['mean']:.1f}"


def _lengths(splits: Sequence[Facts], *, words: int) -> list[Row]:
    def cells(kind: str, name: str) -> list[str]:
        return [UNKNOWN if s[kind] is None else f"{s[kind][name]:,.1f}" if name == "mean" else f"{s[kind][name]:,}" for s in splits]

    rows = [(f"{kind.capitalize()}, {label}", cells(kind, name)) for kind in ("words", "tokens") for name, label in LENGTHS.items()]
    return [*rows, (f"Cut at {words} tokens", [_cut(s["truncated"]) for s in splits])]


def _cut(value: Mapping[str, float] | None) -> str:
    return UNKNOWN if value is None else f"{value['captions']:,} ({significant(100 * value['share'])} %)"


def _number(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"


def notes(facts: Facts) -> list[tuple[str, str]]:
    """(topic, sentences): what the splits have in common, what is there twice, and what the files are."""
    shared = [(*pair.split("/"), found) for pair, found in facts["shared"].items()]
    return [
        ("Tokens", f"Counted by {facts['tokeniser']}, start and end of text included."),
        ("Captions in two splits", " ".join(_told(a, b, found) for a, b, found in shared)),
        ("Sources in two splits", " ".join(filter(None, (_taken(a, b, found) for a, b, found in shared)))),
        *((f"Tested on {name}", _seen(found)) for name, found in facts.get("seen", {}).items()),
        ("Repeated queries", _repeated(facts["repeated_queries"])),
        ("Identical files", _identical(facts["identical_files"])),
        ("Copies of one film", _copies(facts["near_copies"])),
        ("Annotated durations", _off(facts["off_duration"])),
        *((label, _top(facts[key], silent=silent)) for key, (label, silent) in TOPS.items()),
        *_small(facts["splits"]),
        ("Missing list", f"Its hash is {facts['missing_hash']}; results compare only with results that have the same."),
    ]


def _told(a: str, b: str, found: Facts) -> str:
    told, said = found["captions"], ""
    if found["videos"]:
        said = f"{found['videos']:,} {a} videos are {b} videos, too, on purpose. "
    if not told["of"]:
        return said.strip()
    return f"{said}{told['captions']:,} of {told['of']:,} {a} captions are also in {b}, case and blanks aside{_quotes(told['examples'])}."


def _taken(a: str, b: str, shared: Facts) -> str:
    found = shared["sources"]
    if found is None:
        return "" if shared["videos"] else f"{a} in {b}: {UNKNOWN}."
    return f"{found['videos']:,} of {found['of']:,} {a} videos come from a source that {b} has videos of, too{_ids(found)}."


def _seen(found: Facts) -> str:
    """The part of another dataset's test set that training has seen."""
    videos, others, told = found["videos"], found["sources"], found["captions"]
    text = f"{videos['videos']:,} of {videos['of']:,} test videos are also in train or val here{_ids(videos)}; {others['videos']:,} more "
    text += f"come from a source that these have another part of{_ids(others)}. {told['captions']:,} of {told['of']:,} test captions are "
    text += f"also there, case and blanks aside{_quotes(told['examples'])}."
    if found["alike"] is None:
        return text
    groups = "; ".join(" = ".join(f"{video} ({split})" for video, split in members) for members in found["alike"]["first"])
    return f"{text} Groups of clips that look alike though their files differ: {found['alike']['groups']:,}{groups and f': {groups}'}."


def _repeated(found: Facts) -> str:
    if not found["captions"]:
        return f"Each of the {found['of']:,} test captions has a text of its own."
    some = f"{found['captions']:,} of {found['of']:,} test captions share their text with another one (groups: {found['groups']:,})"
    odd = f"Where that one is of another video ({found['ambiguous']:,}), only chance ranks the right video first."
    return f"{some}{_quotes(found['examples'])}. {odd if found['ambiguous'] else ''}".strip()


def _identical(found: Facts | None) -> str:
    """Groups over several splits come first among the named ones."""
    if found is None:
        return f"{UNKNOWN.capitalize()}."
    groups = "; ".join(" = ".join(ids) for ids in found["first"])
    text = f"Groups of files that are equal byte for byte: {found['across']:,} over several splits, {found['within']:,} within one"
    return f"{text}: {groups}." if groups else f"{text}."


def _copies(found: Facts | None) -> str:
    """Groups over several splits come first among the named ones."""
    if found is None:
        return f"{UNKNOWN.capitalize()}."
    groups = "; ".join(" = ".join(f"{video} ({split})" for video, split in members) for members in found["first"])
    text = f"Groups of clips that look alike though their files differ, as after another encoding or size: {found['across']:,} over several"
    text = f"{text} splits, {found['within']:,} within one{groups and f': {groups}'}."
    return f"{text} {found['still']:,} of {found['of']:,} hardly move and were compared with none." if found["still"] else text


def _small(splits: Facts) -> list[tuple[str, str]]:
    """The differences that few videos cannot show. On validation that decides between learning rates and epochs."""
    told = [(split, small.warning(splits[split]["videos"])) for split in ("test", "val") if splits[split]["videos"]]
    return [("Small galleries", " ".join(f"{split}: {said}" for split, said in told if said))] if any(said for _, said in told) else []


def _off(found: Facts | None) -> str:
    if found is None:
        return f"{UNKNOWN.capitalize()}."
    return f"{found['videos']:,} of {found['of']:,} are more than a second longer or shorter than annotated{_ids(found)}."


def _top(found: Facts, *, silent: str) -> str:
    """The named values, then how many are others and how many say nothing."""
    rest = [(label, number) for label, number in (("others", found["others"]), (silent, found["unknown"])) if number]
    return (", ".join(f"{name}: {number:,}" for name, number in [*found["named"], *rest]) if found["named"] else silent.capitalize()) + "."


def lost(facts: Facts) -> list[str]:
    """A sentence for each reason why videos of a split are not whole."""
    kinds = ((f"{row['split']}, {row['status']}: {row['videos']:,}", row) for row in facts["lost"])
    return [f"{kind}, {row['reason'] or 'without a reason'}{_ids(row)}." for kind, row in kinds]


def _ids(found: Facts) -> str:
    more = found["videos"] - len(found["first"])
    return (": " + ", ".join(found["first"]) + (f" and {more:,} more" if more else "")) if found["first"] else ""


def _quotes(examples: Sequence[str]) -> str:
    return (": " + ", ".join(f"\u201c{text}\u201d" for text in examples)) if examples else ""


def bins(histogram: Facts) -> Iterator[tuple[int, str]]:
    """Number and label of the bins from the first to the last that holds anything in any split; none if all are empty."""
    edges, counts = histogram["edges"], list(histogram["counts"].values())
    filled = [i for i in range(len(edges) + 1) if any(column[i] for column in counts)]
    for i in range(filled[0], filled[-1] + 1) if filled else ():
        yield i, f"\u2264 {edges[0]}" if i == 0 else f"> {edges[-1]}" if i == len(edges) else f"{edges[i - 1]}\u2013{edges[i]}"
