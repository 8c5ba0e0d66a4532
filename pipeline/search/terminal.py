"""Answers as a table for a terminal."""

from collections.abc import Sequence

from pipeline.search.answers import Answer, Row

WIDEST = 44  # letters of a name where several indexes stand side by side


def rendered(answers: Sequence[Answer]) -> str:
    """One index with whole names, or several side by side, each with the ranks that the others give its videos."""
    lines = [_head(answer) for answer in answers]
    if not any(answer.hits for answer in answers):
        return "\n".join([*lines, "nothing was found"]) + "\n"
    texts = "text" in next(answer for answer in answers if answer.hits).hits[0]
    if len(answers) > 1:
        header = ["rank", *(name for answer in answers for name in ("score", _short(answer)))]
        cells = [_side_by_side(answers, place, texts=texts) for place in range(max(len(answer.hits) for answer in answers))]
    elif texts:
        header, cells = ["rank", "score", "", "text"], [_text(row) for row in answers[0].hits]
    else:
        header, cells = ["rank", "score", "moment", "file"], [_video(row) for row in answers[0].hits]
    return "\n".join([*lines, "", *_aligned([header, *cells])]) + "\n"


def _head(answer: Answer) -> str:
    about, search = answer.about, answer.about["search"]
    line = f"{answer.index}: {about['num_videos']} videos"
    if search["kind"] == "approximate":
        measured = f"measured on {search['queries']} {search['queries_from']}"
        line += f"; approximate, finds {search['recall_at_10']:.3f} of the 10 best ({measured})"
    return line + (f"; {len(about['skipped'])} files were skipped when it was made" if about["skipped"] else "")


def _short(answer: Answer) -> str:
    run, seed = answer.about["run"], answer.about["seed"]
    return f"{run}/{seed}" if seed else str(run)


def _video(row: Row) -> list[str]:
    return [str(row["rank"]), f"{row['score']:.4f}", clock(row["moment"]), printable(row["file"])]


def _text(row: Row) -> list[str]:
    return [str(row["rank"]), f"{row['score']:.4f}", "own" if row["own"] else "", printable(row["text"])]


def _side_by_side(answers: Sequence[Answer], place: int, *, texts: bool) -> list[str]:
    cells = [str(place + 1)]
    for answer in answers:
        if place >= len(answer.hits):
            cells += ["", ""]
            continue
        row = answer.hits[place]
        if texts:
            cells += [f"{row['score']:.4f}", _cut(row["text"])]
        else:
            others = ", ".join(f"{'-' if rank is None else rank}" for rank in row["ranks"].values())
            cells += [f"{row['score']:.4f}", f"{_cut(row['video_id'])} {clock(row['moment'])} ({others})"]
    return cells


def _cut(text: str) -> str:
    shown = printable(text)
    return shown if len(shown) <= WIDEST else f"{shown[: WIDEST // 2 - 1]}..{shown[-(WIDEST // 2 - 1) :]}"


def clock(seconds: float) -> str:
    """m:ss.s"""
    tenths = round(seconds * 10)
    return f"{tenths // 600}:{tenths % 600 / 10:04.1f}"


def printable(text: str) -> str:
    """Names may hold line breaks and what moves the cursor of a terminal."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def _aligned(rows: list[list[str]]) -> list[str]:
    """Numbers to the right, names to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    right = [all(cell[:1].isdigit() or cell[:1] == "-" or not cell for cell in column) for column in zip(*rows[1:], strict=True)]
    return ["  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)).rstrip() for row in rows]
