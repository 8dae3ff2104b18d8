"""The review page in a real browser, from file://, with hostile names, by keyboard alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from pipelines.review.page import write_page
from pipelines.state.earlier import keep_earlier
from pipelines.state.run_directory import RunDirectory
from tests.pipelines.conftest import make_video
from tests.pipelines.review.records import HOSTILE, REPORT, metric, record

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
sync_api = pytest.importorskip(
    "playwright.sync_api", reason="the package playwright is not installed (extra dev)"
)
axe = pytest.importorskip(
    "axe_core_python.sync_playwright", reason="the package axe-core-python is not installed (extra dev)"
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium on PATH (apt-get install chromium)"
)


TRACE = {
    "rate": 12.5,
    "start": 0,
    "loudness": [-80.0] * 5 + [-20.0] * 20,
    "opening": {"source": [0.1] * 25, "dub": [0.1] * 10 + [None] * 5 + [0.3] * 10},
    "people": [
        {"name": "left", "speech": "ann.wav", "dubbed": [[0.0, 0.7]], "mouths": [[0.0, 0.1, 0.3, 0.3, 0.7]]},
        {"name": "right", "speech": "bob.wav", "dubbed": [[0.5, 1.2]], "mouths": [[0.0, 0.6, 0.3, 0.8, 0.7]]},
    ],
    "shots": [
        {
            **{"start": 0.0, "end": 1.2, "state": "dubbed", "reason": None, "passed": []},
            **{"metrics": {"seam": 0.2}, "people": [1]},
        },
        {
            "start": 1.2,
            "end": 2.0,
            "state": "passed",
            "reason": "no face",
            "passed": [{"start": 1.2, "end": 2.0, "reason": "no face"}],
            "metrics": {},
        },
    ],
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page of 10,000 dubs; "clip" has files that can be played."""
    folder = tmp_path_factory.mktemp("run")
    make_video(folder / "a.mp4", frames=24, sound=False)
    shutil.copy(folder / "a.mp4", folder / "b.mp4")
    media = {
        "video": str(folder / "a.mp4"),
        "output": str(folder / "b.mp4"),
        "frames": 24,
        "video_seconds": 2.0,
    }
    soft = [metric("sharpness", 0.9, 0.2, 1.0)]
    run, made_of = RunDirectory(str(folder)), {"options": {"speak": {"lag": 0.0}}}
    clip = record("clip", metrics=soft, key="k1", ingredients=made_of, **media)
    keep_earlier(run, clip)
    clip = {**clip, "key": "k2", "ingredients": {"options": {"speak": {"lag": 0.04}}}}
    run.write_trace(clip, TRACE)
    records = [record(name, **media) for name in HOSTILE]
    records += [clip, record("second", metrics=soft, **media)]
    records += [record(f"episode {n:05d}") for n in range(10_000 - len(records))]
    return Path(write_page(str(folder), REPORT, records, strips=True)).as_uri()


@pytest.fixture
def page(browser: Any, index: str) -> Iterator[Any]:
    """The page, opened; the test fails on any message of the console, any error and any request to a network."""
    # Playwright's own waiting is an eval.
    context = browser.new_context(accept_downloads=True, bypass_csp=True)
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    wrong: list[str] = []
    opened.on("console", lambda message: wrong.append(message.text))
    opened.on("pageerror", lambda problem: wrong.append(str(problem)))
    opened.on(
        "request",
        lambda request: (
            None if request.url.startswith(("file:", "data:", "blob:")) else wrong.append(request.url)
        ),
    )
    opened.goto(index)
    opened.wait_for_function(
        "document.querySelector('#dubs caption')?.textContent.startsWith('10000 of 10000 dubs, page')"
    )
    yield opened
    context.close()
    assert wrong == []


def test_it_keeps_to_its_own_policy(browser: Any, index: str) -> None:
    context = browser.new_context()
    wrong: list[str] = []
    opened = context.new_page()
    opened.on("console", lambda message: wrong.append(message.text))
    opened.on("pageerror", lambda problem: wrong.append(str(problem)))
    opened.goto(index)
    opened.click("text=clip", timeout=60_000)
    opened.wait_for_selector(".after video", timeout=60_000)
    opened.click("text=Go to 00:01.000")
    context.close()
    assert wrong == []


def violations(page: Any) -> list[str]:
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in axe.Axe().run(page)["violations"]]


def test_the_list_is_searched_filtered_and_sorted_by_its_address(page: Any, index: str) -> None:
    assert page.title().startswith("Review of ")
    assert page.locator("#dubs tbody tr").count() == 100
    assert [text.strip() for text in page.locator("#dubs tbody tr .verdict").all_text_contents()[:3]] == [
        "review",
        "review",
        "ok",
    ]
    page.fill("#search", "episode 0004")
    page.wait_for_function("document.querySelectorAll('#dubs tbody tr').length === 11")
    page.click("#dubs th button:has-text('Title')")
    page.click("#dubs th button:has-text('Title')")
    assert page.locator("#dubs tbody tr a").first.text_content() == "episode 00049"
    assert page.locator("#dubs th[aria-sort=descending]").text_content() == "Title"
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_function("document.querySelectorAll('#dubs tbody tr').length === 11")
    assert page.locator("#dubs tbody tr a").first.text_content() == "episode 00049"
    page.select_option("#verdict", "review")
    page.wait_for_function("document.querySelectorAll('#dubs tbody tr').length === 0")


def test_names_do_nothing(page: Any) -> None:
    for name in HOSTILE:
        page.evaluate("name => { location.hash = new URLSearchParams({title: name, dub: 'deu'}) }", name)
        page.wait_for_function(
            "name => document.querySelector('#title')?.textContent.startsWith(name)", arg=name
        )
        assert page.title().startswith("Review of ")
        assert page.locator("main img:not(figure.strip img), main b").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_players_show_the_same_frame(page: Any) -> None:
    page.click("text=clip")
    page.wait_for_function("[...document.querySelectorAll('video')].every(one => one.readyState >= 2)")
    same = (
        "(() => { const [a, b] = document.querySelectorAll('video');"
        " const together = !a.seeking && !b.seeking && Math.abs(a.currentTime - b.currentTime) < 1 / 24;"
        " return together ? b.currentTime : -1 })()"
    )
    page.click("text=Go to 00:01.000")
    page.wait_for_function(f"{same} >= 1")
    before = page.evaluate(same)
    page.keyboard.press(".")
    page.wait_for_function(f"{same} > {before}")
    page.keyboard.press(",")
    page.keyboard.press("p")
    page.wait_for_function(
        "document.querySelector('.after video').ended || document.querySelector('.after video').currentTime > 1.3"
    )
    page.wait_for_function(f"document.querySelector('.after video').ended || {same} > 0")


def test_decisions_by_keyboard_alone(page: Any, tmp_path: Path) -> None:
    page.keyboard.press("/")
    page.keyboard.type("clip")
    page.wait_for_function("document.querySelectorAll('#dubs tbody tr').length === 1")
    page.keyboard.press("Escape")
    page.focus("#dubs tbody a")
    page.keyboard.press("Enter")
    page.wait_for_selector("#title")
    page.keyboard.press("r")
    assert page.locator("button[aria-pressed=true]").text_content() == "Reject"
    page.keyboard.press("c")
    page.keyboard.type("lips late")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.wait_for_selector("#dubs")
    page.evaluate("location.hash = ''")
    page.wait_for_function("document.querySelectorAll('#dubs tbody tr').length === 100")
    page.select_option("#decision", "rejected")
    page.wait_for_function("document.querySelectorAll('#dubs tbody tr').length === 1")
    decided = {"title": "clip", "dub": "deu", "decision": "rejected", "comment": "lips late"}
    assert exported(page, "json", tmp_path)["decisions"] == [decided]
    assert '"clip","deu","rejected","lips late"' in exported(page, "csv", tmp_path)
    page.focus("#dubs tbody a")
    page.keyboard.press("Enter")
    page.wait_for_selector("#title")
    page.keyboard.press("a")
    assert page.locator("button[aria-pressed=true]").text_content() == "Approve"
    page.keyboard.press("a")
    assert page.locator("button[aria-pressed=true]").count() == 0
    page.keyboard.press("a")
    page.keyboard.press("Escape")
    page.wait_for_selector("#dubs")
    assert exported(page, "json", tmp_path)["decisions"] == [{**decided, "decision": "approved"}]


def test_a_decision_is_on_the_version_that_was_seen(browser: Any, tmp_path: Path) -> None:
    """Computed again, a dub is open again."""
    one = record("a")
    index = Path(write_page(str(tmp_path), REPORT, [one])).as_uri()
    context = browser.new_context(bypass_csp=True)
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    opened.goto(index)
    opened.click("#dubs tbody a")
    opened.wait_for_selector("#title")
    opened.keyboard.press("r")
    opened.keyboard.press("Escape")
    opened.wait_for_selector("#dubs td:has-text('rejected')")
    write_page(str(tmp_path), REPORT, [{**one, "finished": "2026-11-28T12:00:00+00:00"}])
    opened.reload()
    opened.wait_for_selector("#dubs tbody a")
    assert opened.locator("#dubs td:has-text('rejected')").count() == 0
    context.close()


def exported(page: Any, kind: str, folder: Path) -> Any:
    """Content that a button hands out; it is reached by Tab from the search and pressed by Enter."""
    page.focus("#search")
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == f"export-{kind}":
            break
    with page.expect_download() as waiting:
        page.keyboard.press("Enter")
    waiting.value.save_as(file := folder / f"decisions.{kind}")
    return json.loads(file.read_text()) if kind == "json" else file.read_text()


def test_curves_and_shots_lead_to_their_places(page: Any) -> None:
    page.click("text=clip")
    page.wait_for_function("document.querySelector('.after video')?.readyState >= 2")
    assert page.locator(".curves .shot").count() == 2
    assert page.locator(".curves .shot.passed").count() == 1
    assert page.locator(".curves .dub").first.get_attribute("d").count("M") == 2, (
        "a gap where nothing was measured"
    )
    page.click(
        ".curves svg", position={"x": page.locator(".curves svg").bounding_box()["width"] * 0.75, "y": 20}
    )
    page.wait_for_function("Math.abs(document.querySelector('.after video').currentTime - 1.5) < 0.05")
    page.wait_for_function("Math.abs(document.querySelector('.curves .head').getAttribute('x1') - 900) < 30")
    page.click("[aria-label=Shots] button:has-text('00:01.200')")
    page.wait_for_function("Math.abs(document.querySelector('.after video').currentTime - 1.2) < 0.01")
    assert page.locator("#kept").text_content() == "Keeps its own mouth: no face 1 time, 0.8 s."
    assert "keeps its own mouth: 0.8 s no face" in page.locator("[aria-label=Shots]").text_content()


def test_it_says_who_was_dubbed_with_what_and_whose_mouth_was_measured(page: Any) -> None:
    page.click("text=clip")
    page.wait_for_function("document.querySelector('.after video')?.readyState >= 2")
    told = page.locator("#people tbody tr").all_inner_texts()
    assert [line.split("\t")[:4] for line in told] == [
        ["left", "ann.wav", "0.7", "35 %"],
        ["right", "bob.wav", "0.7", "35 %"],
        ["nobody", "", "0.8", "40 %"],
    ]
    page.click("#people button:has-text('00:00.500')")
    page.wait_for_function("Math.abs(document.querySelector('.after video').currentTime - 0.5) < 0.05")
    assert page.locator("#whose").text_content() == "Curves and measures: the mouth of right"
    assert page.locator("[aria-label=Shots] tbody tr").first.locator("td").nth(2).text_content() == "right"
    assert page.locator("figure.strip figcaption").first.text_content().startswith("right: source above dub")
    assert violations(page) == []


def test_close_ups_and_the_earlier_version(page: Any) -> None:
    page.click("text=clip")
    page.wait_for_function("document.querySelector('figure.strip img')?.naturalWidth > 0")
    assert "speak.lag 0.0 → 0.04" in page.locator("main").text_content()
    page.click("text=Earlier version")
    page.wait_for_function("document.querySelector('.before video').src.endsWith('/earlier/clip/deu.mp4')")
    page.wait_for_function("document.querySelector('.before video').readyState >= 2")
    assert page.locator(".before figcaption").text_content() == "Earlier version"
    page.click("button:has-text('Earlier version')")
    page.wait_for_function("document.querySelector('.before video').src.endsWith('/a.mp4')")


def test_a_file_that_the_browser_cannot_play_is_said(browser: Any, tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(b"no video at all")
    one = record("a", video=str(tmp_path / "a.mp4"), output=str(tmp_path / "b.mp4"))
    context = browser.new_context(bypass_csp=True)
    opened = context.new_page()
    opened.goto(Path(write_page(str(tmp_path), REPORT, [one])).as_uri())
    opened.click("#dubs tbody a", timeout=60_000)
    opened.wait_for_selector("text=--previews", timeout=60_000)
    context.close()


def foreign(path: Path, container: str = "mp4") -> str:
    """A video with sound whose pictures Chromium does not decode: MPEG-4 part 2 beside AAC."""
    make_video(path.with_suffix(".h264.mp4"), frames=24)
    with (
        av.open(str(path.with_suffix(".h264.mp4"))) as given,
        av.open(str(path), "w", format=container) as made,
    ):
        picture = made.add_stream("mpeg4", rate=12, width=64, height=48, pix_fmt="yuv420p")
        sound = made.add_stream_from_template(given.streams.audio[0])
        for frame in given.decode(video=0):
            plain = av.VideoFrame.from_ndarray(frame.to_ndarray(format="yuv420p"), format="yuv420p")
            plain.pts, plain.time_base = round(frame.time * 12), Fraction(1, 12)
            made.mux(picture.encode(plain))
        made.mux(picture.encode(None))
        given.seek(0)
        for packet in given.demux(audio=0):
            if packet.dts is not None:
                packet.stream = sound
                made.mux(packet)
    return str(path)


def test_previews_play_where_the_files_do_not(browser: Any, tmp_path: Path) -> None:
    media = {"video": foreign(tmp_path / "a.mp4"), "output": foreign(tmp_path / "b.mkv", "matroska")}
    one = record("a", frames=24, **media)
    for previews in (False, True):
        context = browser.new_context(bypass_csp=True)
        opened = context.new_page()
        opened.goto(Path(write_page(str(tmp_path), REPORT, [one], previews=previews)).as_uri())
        opened.click("#dubs tbody a", timeout=60_000)
        if previews:
            opened.wait_for_function(
                "[...document.querySelectorAll('video')].filter(one => one.readyState >= 2 && one.videoWidth"
                " && one.src.includes('/report/previews/')).length === 2",
                timeout=60_000,
            )
            assert opened.locator("text=cannot play").count() == 0
            opened.click("text=Full quality")
            opened.wait_for_function("document.querySelector('.after video').src.endsWith('/b.mkv')")
            opened.wait_for_function("document.querySelector('.before video').src.endsWith('/a.mp4')")
        opened.wait_for_selector("text=cannot play one of the files", timeout=60_000)
        context.close()


def test_the_first_list_needs_one_file_of_rows_and_little_memory(browser: Any, index: str) -> None:
    context = browser.new_context(bypass_csp=True)
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    held: list[Any] = []

    def hold(route: Any) -> None:
        held.append(route)

    opened.route("**/rows-00001.js", hold)
    opened.goto(index, wait_until="commit")
    opened.wait_for_function("document.querySelectorAll('#dubs tbody tr').length === 100")
    shown = opened.locator("#dubs caption").text_content()
    assert shown == "2000 of 10000 dubs, loading more, page 1 of 20"
    for _ in range(3000):
        if held:
            break
        opened.wait_for_timeout(20)
    held[0].continue_()
    opened.wait_for_function(
        "document.querySelector('#dubs caption').textContent.startsWith('10000 of 10000 dubs, page')"
    )
    session = context.new_cdp_session(opened)
    session.send("HeapProfiler.collectGarbage")
    used = session.send("Runtime.getHeapUsage")["usedSize"]
    assert used < 50e6, f"{used / 1e6:.0f} MB"
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 380])
def test_accessibility(page: Any, scheme: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    assert violations(page) == []
    page.click("text=clip")
    page.wait_for_selector("#title")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
