"""The page in a real browser. Screenshots go to the folder that PETL_VTR_SCREENSHOTS names, else to the test's own."""

import os
from pathlib import Path

import pytest

from tests.search.web.browser import WIDTHS, Visit, chromium
from tests.search.web.running import serving
from tests.search.web.world import FPS, Session, draw

VOP, ZERO = "motion/clip-tiny/vop/0", "motion/clip-tiny/zero_shot/0"


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def shots(tmp_path):
    folder = Path(os.environ.get("PETL_VTR_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def visit(browser, port):
    made = Visit(browser, port)
    yield made
    made.end()


def test_a_sentence_finds_videos_and_the_address_keeps_the_search(visit, session, shots):
    page = visit.open()
    visit.picture(shots, "start-1280")
    page.locator(".chips button").first.click()
    page.wait_for_selector(".tile")
    visit.search("a red star moves up")
    wanted = [hit.video_id for hit in session.text(VOP, "a red star moves up", 12)]
    assert visit.names() == wanted and page.locator(".tile .score").first.inner_text().startswith("0.")
    assert "q=a+red+star+moves+up" in visit.asked() and "12 videos of 14" in page.inner_text("#status")
    visit.settled()
    assert page.evaluate("[...document.querySelectorAll('.show img')].every(image => image.naturalWidth === 224)")
    page.reload()
    page.wait_for_selector(".tile")
    assert visit.names() == wanted and page.input_value("#q") == "a red star moves up"
    page.go_back()
    visit.wait("!document.querySelector('#q').value.startsWith('a red star moves up')")
    page.go_back()
    page.wait_for_selector("#start:not([hidden])")
    assert page.locator(".tile").count() == 0


def test_another_adapter_is_one_choice_away_and_finds_what_it_finds(visit, session):
    page = visit.open("/?q=a+star")
    visit.choose("index", "zero_shot")
    visit.wait("document.querySelector('.side h2').textContent.startsWith('zero_shot')")
    assert visit.names() == [hit.video_id for hit in session.text(ZERO, "a star", 12)]
    visit.choose("k", "6")
    visit.wait("document.querySelectorAll('.tile').length === 6")
    page.go_back()
    page.go_back()
    visit.wait("document.querySelector('.side h2').textContent.startsWith('vop')")
    assert page.locator("#index").input_value() == VOP


def test_two_methods_stand_side_by_side_with_what_differs_marked(visit, shots):
    page = visit.open("/?q=a+star&k=6")
    visit.choose("other", "mv_adapter")
    page.wait_for_selector(".side.right .tile")
    left, right = visit.names(0), visit.names(1)
    only = page.locator(".side").nth(0).locator(".tile.only").evaluate_all("tiles => tiles.map(tile => tile.dataset.key)")
    assert only == [name for name in left if name not in right] and len(only) > 0
    for place, name in enumerate(left):
        mark = page.locator(f".side.left .tile[data-key={name}] .facts").text_content()
        there = right.index(name) if name in right else None
        if there is None:
            assert "only here" in mark
        else:
            assert f"place {there + 1} with mv_adapter" in mark and ("=" in mark) == (there == place)
            assert ("▲" in mark) == (there > place) and ("▼" in mark) == (there < place)
    both = len({*left} & {*right})
    assert f"{both} videos on both sides, {6 - both} only with vop" in page.inner_text("#status")
    shared = next(name for name in left if name in right)
    page.locator(f".side.left .tile[data-key={shared}] .show").hover()
    assert page.locator(f".side.right .tile[data-key={shared}].twin").count() == 1
    page.mouse.move(0, 0)
    visit.picture(shots, "compare-1280")


def film(page):
    """The state of the only film of the page."""
    return page.evaluate(
        "(film => film && ({ muted: film.muted, paused: film.paused, time: film.currentTime, ready: film.readyState, error: film.error }))"
        "(document.querySelector('.show video'))"
    )


def test_a_result_plays_from_its_best_moment_while_it_is_pointed_at(visit, session, shots):
    page = visit.open("/?q=a+star")
    best = session.text(VOP, "a star", 1)[0]
    first = page.locator(".show").first
    first.hover()
    visit.wait("document.querySelector('.show video')?.readyState >= 3")
    playing = film(page)
    assert playing["muted"] and not playing["paused"] and playing["error"] is None
    assert best.moment - 1 / FPS <= playing["time"] <= best.moment + 2
    visit.wait(f"document.querySelector('.show video').currentTime !== {playing['time']}")
    page.screenshot(path=str(shots / "play-1280.png"))
    page.mouse.move(0, 0)
    visit.wait("!document.querySelector('.show video')")
    first.click()  # pinned
    page.mouse.move(0, 0)
    page.locator("#q").focus()
    visit.wait("document.querySelector('.show video')?.readyState >= 2")
    assert first.get_attribute("aria-pressed") == "true"


def test_who_wants_less_motion_gets_none_unasked(browser, port):
    visit = Visit(browser, port, reduced_motion="reduce")
    page = visit.open("/?q=a+star")
    first = page.locator(".show").first
    first.hover()
    first.focus()
    page.wait_for_timeout(200)
    assert film(page) is None
    first.click()
    visit.wait("document.querySelector('.show video')?.readyState >= 2")
    visit.end()


def test_a_video_asks_for_more_like_it_and_for_its_captions(visit, session, shots):
    page = visit.open("/?q=a+star")
    name = visit.names()[2]
    row = int(name[4:])
    page.locator(".tile").nth(2).get_by_role("button", name="More like").click()
    page.wait_for_selector("#asking:not([hidden]) img")
    visit.wait("document.querySelector('#status').textContent.includes('best first')")
    assert visit.names() == [hit.video_id for hit in session.video(VOP, row, 12)] and f"videos/{name}" in page.inner_text("#asking")
    visit.picture(shots, "like-1280")
    page.go_back()
    visit.wait("document.querySelector('#asking').hidden")
    page.locator(".tile").nth(2).get_by_role("button", name="Captions of").click()
    page.wait_for_selector(".texts li")
    texts = page.locator(".texts .link").all_inner_texts()
    assert texts == [hit.text for hit in session.captions(VOP, row, 12)]
    visit.picture(shots, "captions-1280")
    page.locator(".texts .link").first.click()
    page.wait_for_selector(".tile")
    assert page.input_value("#q") == texts[0]


def test_the_probe_shows_both_orders_and_says_what_each_method_makes_of_them(visit, shots):
    page = visit.open(f"/?q=a+red+star+moves+up&other={ZERO}")
    page.locator(".side.left .tile").first.get_by_role("button", name="Does the method see time").click()
    page.wait_for_selector("dialog[open] .verdict >> nth=1")
    assert page.locator(".verdict .said").all_inner_texts() == [
        "sees the direction: forwards scores higher",
        "is blind to time: both score alike",
    ]
    forwards, backwards = (page.locator(".strip").nth(i).locator("img").evaluate_all("all => all.map(image => image.src)") for i in (0, 1))
    assert len(forwards) == 12 and forwards == backwards[::-1] and len({*forwards}) == 12
    visit.picture(shots, "probe-1280")
    page.locator("#all").check()
    page.wait_for_selector(".verdict >> nth=2")
    assert "takes it for the other direction" in page.inner_text("#verdicts")
    page.locator("#turned").click()
    visit.wait("document.querySelector('#say').value === 'a red star moves down'")
    assert "say=a+red+star+moves+down" in visit.asked()
    page.fill("#say", "a red star")
    page.press("#say", "Enter")
    visit.wait("document.querySelector('#verdicts').textContent.includes('names no direction')")
    page.fill("#say", " ")
    page.press("#say", "Enter")
    page.wait_for_selector("#probe-trouble >> text=Type a sentence with a direction")
    page.keyboard.press("Escape")
    visit.wait("!location.search.includes('probe')")  # a closed dialog tells it a moment later
    assert page.locator("dialog[open]").count() == 0 and page.locator(".tile").count() == 24


@pytest.mark.parametrize("way", ["chosen", "dropped"])
def test_a_video_of_ones_own_is_the_query(visit, tmp_path, way, shots):
    draw(tmp_path / "<b>my film.mp4", 77)
    page = visit.open(f"/?other={ZERO}")
    if way == "chosen":
        page.set_input_files("#file", tmp_path / "<b>my film.mp4")
    else:
        content = list((tmp_path / "<b>my film.mp4").read_bytes())
        data = page.evaluate_handle(
            "content => { const data = new DataTransfer();"
            " data.items.add(new File([new Uint8Array(content)], '<b>my film.mp4')); return data; }",
            content,
        )
        page.dispatch_event("main", "dragover", {"dataTransfer": data})
        assert page.locator("#drop").is_visible()
        page.dispatch_event("main", "drop", {"dataTransfer": data})
    page.wait_for_selector(".side.right .tile")
    assert "<b>my film.mp4" in page.inner_text("#asking") and page.locator("#drop").is_hidden()
    visit.wait("document.querySelector('#asking video')?.readyState >= 1")
    visit.picture(shots, f"own-{way}-1280")
    page.get_by_role("button", name="Captions for it").click()
    page.wait_for_selector(".side.right .texts")
    page.reload()
    page.wait_for_selector("#trouble >> text=An address cannot hold a video")


def test_bad_input_is_answered_in_plain_words(visit, tmp_path, shots):
    page = visit.open()
    page.press("#q", "Enter")
    page.wait_for_selector("#trouble >> text=Type what the video shows")
    page.fill("#q", "x" * 1001)
    page.press("#q", "Enter")
    page.wait_for_selector("#trouble >> text=The sentence has 1,001 characters, and at most 1,000 are read")
    visit.picture(shots, "long-1280")
    markup = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    visit.search(markup)
    assert page.input_value("#q") == markup and page.title() != "owned" and not page.locator("#trouble").is_visible()
    visit.search("ü 漢字 🎬 ‮ %00 ../../etc/passwd")
    assert page.locator(".tile").count() == 12
    page.select_option("#gallery", "mine")
    visit.wait("document.querySelectorAll('.tile').length === 3")
    assert page.locator(".tile").first.get_by_role("button", name="Captions of").is_disabled()
    page = visit.open("/?captions=test00000&index=mine/clip-tiny/vop/0")
    page.wait_for_selector("#trouble >> text=The gallery mine has no captions")
    page = visit.open("/?q=a&index=no/such/index/0&k=7&other=also/not&strange=1")
    page.wait_for_selector(".tile")
    assert "The index no/such/index/0 and also/not is not there any more" in page.inner_text("#trouble")
    (tmp_path / "notes.txt").write_text("no video")
    page.set_input_files("#file", tmp_path / "notes.txt")
    page.wait_for_selector("#trouble >> text=is not a readable video file")
    assert page.locator(".tile").count() == 0
    visit.picture(shots, "no-video-1280")
    visit.errors = [error for error in visit.errors if "400 (Bad Request)" not in error]  # the browser's own note


def test_a_server_or_an_index_that_is_gone_is_told_and_found_again(browser, root, shots, monkeypatch):
    monkeypatch.setattr("pipeline.search.web.worker.REFRESH", 0.0)
    session = Session(root)
    with serving(session) as (port, _):
        visit = Visit(browser, port)
        page = visit.open(f"/?q=a&index={ZERO}")
        session.gone = {ZERO}
        page.press("#q", "Enter")
        page.wait_for_selector(f"#trouble >> text=The index '{ZERO}' is not there any more")
        visit.picture(shots, "index-gone-1280")
        page.get_by_role("button", name="Try again").click()
        page.wait_for_selector(".tile")
        assert ZERO not in page.locator("#index option").evaluate_all("all => all.map(option => option.value)")
    page.press("#q", "Enter")
    page.wait_for_selector("#trouble >> text=The server does not answer")
    visit.picture(shots, "server-gone-1280")
    visit.errors = [error for error in visit.errors if "404 (Not Found)" not in error and "ERR_CONNECTION_REFUSED" not in error]
    visit.end()


def test_everything_can_be_done_with_the_keyboard_alone(visit):
    page = visit.open()
    press, active = page.keyboard.press, lambda: page.evaluate("document.activeElement.id || document.activeElement.className")
    press("/")
    assert active() == "q"
    page.keyboard.type("a red star moves up")
    press("Enter")
    page.wait_for_selector(".tile")
    press("ArrowDown")
    focused = lambda: page.evaluate("document.activeElement.closest('.tile')?.dataset.key")  # noqa: E731
    names = visit.names()
    assert focused() == names[0]
    page.wait_for_selector(".show video")  # the focus plays
    press("ArrowRight")
    assert focused() == names[1]
    press("ArrowDown")
    columns = page.evaluate("getComputedStyle(document.querySelector('.tiles')).gridTemplateColumns.split(' ').length")
    assert focused() == names[1 + columns]
    press("ArrowUp")
    press("ArrowLeft")
    assert focused() == names[0]
    press("ArrowLeft")
    assert focused() == names[0]
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle + getComputedStyle(document.activeElement).outlineWidth")
    assert outline == "solid3px"
    for _ in range(3):  # more like this, captions, time
        press("Tab")
    press("Enter")
    page.wait_for_selector("dialog[open] .verdict")
    assert active() == "say"
    press("Escape")
    visit.wait("!document.querySelector('dialog').open")
    assert page.evaluate("document.activeElement.textContent") == "Time"
    press("Escape")
    assert active() == "q"
    press("Tab")
    press("Tab")
    press("Tab")
    assert active() == "index"
    press("ArrowDown")
    visit.wait("document.querySelector('.side h2').textContent.startsWith('mv_adapter')")


VIEWS = {
    "start": "/",
    "search": "/?q=a+red+star+moves+up",
    "compare": f"/?q=a+red+star+moves+up&other={ZERO}&k=6",
    "captions": f"/?captions=test00003&other={ZERO}",
    "probe": f"/?q=a+red+star+moves+up&other={ZERO}&probe=test00000&say=the+big+red+circle+drifts+left",
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", list(WIDTHS))
def test_every_view_fits_its_window_and_everything_in_it_has_a_name(browser, port, shots, width, scheme):
    visit = Visit(browser, port, width=width, color_scheme=scheme)
    for view, address in VIEWS.items():
        page = visit.open(address)
        page.wait_for_selector({"start": ".chips", "captions": ".texts", "probe": ".verdict >> nth=1"}.get(view, ".tile"))
        visit.picture(shots, f"{view}-{width}-{scheme}")
        assert visit.fits(), view
        named = page.evaluate(
            "[...document.querySelectorAll('button, input, select')].filter(one => one.checkVisibility()).filter(one =>"
            " !(one.getAttribute('aria-label') || one.textContent.trim() || one.labels?.length))"
            ".map(one => one.outerHTML)"
        )
        assert not named, view
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 28)"
    assert dark == (scheme == "dark")
    visit.end()
