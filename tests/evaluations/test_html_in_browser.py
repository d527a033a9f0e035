"""The HTML page in a browser: no error, no network, curves that follow the controls.

Headless Chromium is driven through its DevTools protocol on a pipe (`--remote-debugging-pipe`:
JSON messages that end in a zero byte, commands on descriptor 3, answers on 4).
"""

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("plotly", reason="the page needs plotly: pip install 'robustssm[html]'")

from robustssm.evaluations.reports.html_page import write_page
from robustssm.evaluations.results.inspection import inspect
from robustssm.figures.looks import model_looks
from tests.evaluations.written_runs import flat, write_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")
# A hung browser ends the test; a loaded machine starts one in some ten seconds.
PATIENCE = 30.0
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--remote-debugging-pipe"),
)
# A figure is drawn where its marks are in the document: of three models at three strengths the
# points, and the clean accuracy.
DRAWN = "document.querySelectorAll('.curve-plot .scatterlayer .trace').length"
WHOLE = 2 * 3 * 3
# It would ask for a file that is not there, and run what it says.
HOSTILE = "<img src=x onerror=boom()>"
PLOT = "document.getElementById('curve-plot-0')"
LINES = f"{PLOT}.data.filter(t => t.text)"


class Page:
    """A tab of a browser; what it logged and asked of the network is kept."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._rest, self._last, self._session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            part = os.read(self._answers, 1 << 16)
            assert part, "the browser has ended"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def value(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + PATIENCE
        while not self.value(expression):
            assert time.monotonic() < end, f"never true: {expression}; {self.complaints()}"
            time.sleep(0.05)

    def open(self, path: Path) -> None:
        """Open a file and wait until it is loaded."""
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        self.until(f"document.readyState === 'complete' && location.href === {path.as_uri()!r}")

    def complaints(self) -> list[Any]:
        """Return what was logged as an error or warning, and requests that leave the page."""
        logged = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        found = [e["params"] for e in self.events if e.get("method") in logged]
        for event in self.events:
            if event.get("method") == "Network.requestWillBeSent":
                url = event["params"]["request"]["url"]
                found += [] if url.startswith(("file:", "data:", "blob:")) else [url]
        return found


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    assert CHROMIUM
    # Numbers above 4, so that neither end is overwritten before it is copied.
    read_commands, commands = os.pipe()
    answers, write_answers = os.pipe()
    ends = [os.dup(read_commands), os.dup(write_answers)]
    profile = tmp_path_factory.mktemp("profile")
    shell = 'exec "$0" "$@" 3<&"$IN" 4>&"$OUT"'
    browser = subprocess.Popen(
        ["bash", "-c", shell, CHROMIUM, *FLAGS, f"--user-data-dir={profile}"],
        pass_fds=ends,
        env={**os.environ, "IN": str(ends[0]), "OUT": str(ends[1])},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for end in (*ends, read_commands, write_answers):
        os.close(end)
    try:
        yield Page(commands, answers)
    finally:
        browser.kill()
        browser.wait()
        os.close(commands)
        os.close(answers)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of three models, one of a name that tries to be an element."""
    folder = tmp_path_factory.mktemp("page")
    # The longest title of an axis is that of spikes.
    write_run(
        folder / "run",
        {
            ("a", 0): flat(1.0, 0.9, 0.5),
            ("b", 0): flat(0.9, 0.8, 0.4),
            (HOSTILE, 0): flat(0.8, 0.7, 0.3),
        },
        noise="resonance",
        mode_unit="spike",
    )
    output = folder / "page.html"
    write_page(inspect(folder / "run"), output, model_looks)
    return output


def test_the_page_loads_without_a_complaint_and_without_the_network(tab: Page, path: Path) -> None:
    tab.open(path)
    tab.until(f"{DRAWN} === {WHOLE}")
    assert tab.complaints() == []
    assert tab.value("typeof boom") == "undefined"
    labels = tab.value("[...document.querySelectorAll('.legendtext')].map(l=>l.textContent)")
    assert [label.strip() for label in labels] == ["a", "b", HOSTILE]


def test_question_and_verdict_are_on_the_first_screen(tab: Page, path: Path) -> None:
    """A laptop's: 1280 by 720 pixels."""
    metrics = {"width": 1280, "height": 720, "deviceScaleFactor": 1, "mobile": False}
    tab.call("Emulation.setDeviceMetricsOverride", **metrics)
    tab.open(path)
    assert tab.value("document.querySelector('.verdict').getBoundingClientRect().bottom") < 720
    words = tab.value("document.querySelector('.verdict').innerText")
    assert words.startswith("The models differ most at eps") and HOSTILE in words
    tab.call("Emulation.clearDeviceMetricsOverride")


def press(tab: Page, selector: str, key: str = " ") -> None:
    """Press a key on an element that has the focus."""
    tab.value(f"document.querySelector({selector!r}).focus()")
    words = {"key": key, "code": "Space", "windowsVirtualKeyCode": 32, "text": key}
    tab.call("Input.dispatchKeyEvent", type="keyDown", **words)
    tab.call("Input.dispatchKeyEvent", type="keyUp", **words)


def test_models_are_shown_and_hidden_by_the_keyboard_and_by_the_legend(
    tab: Page, path: Path
) -> None:
    tab.open(path)
    tab.until(f"{DRAWN} === {WHOLE}")
    press(tab, ".models input[value=b]")
    tab.until(f"{DRAWN} === {WHOLE - 6}")
    press(tab, ".models button[value=none]")
    tab.until(f"{DRAWN} === 0")
    press(tab, ".models button[value=all]")
    tab.until(f"{DRAWN} === {WHOLE}")
    box = tab.value(
        "(b => [b.x + b.width / 2, b.y + b.height / 2])"
        "(document.querySelector('.legendtoggle').getBoundingClientRect())"
    )
    scrolled = f"window.scrollBy(0, {box[1]} - innerHeight / 2)"
    tab.value(scrolled)
    x, y = tab.value(
        "(b => [b.x + b.width / 2, b.y + b.height / 2])"
        "(document.querySelector('.legendtoggle').getBoundingClientRect())"
    )
    for kind in ("mousePressed", "mouseReleased"):
        tab.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    tab.until(f"{DRAWN} === {WHOLE - 6}")
    assert tab.value("document.querySelector('.models input').checked") is False
    assert tab.complaints() == []


def test_every_strength_has_a_panel(tab: Page, path: Path) -> None:
    """Accuracies of `flat`: two modes alike, one accuracy a strength."""
    tab.open(path)
    tab.until(f"{DRAWN} === {WHOLE}")
    found = tab.value(f"{LINES}.filter(t => t.name === 'a').map(t => Array.from(t.y))")
    assert found == [[accuracy, accuracy] for accuracy in (1.0, 0.9, 0.5)]
    words = tab.value(f"{PLOT}.layout.annotations.map(note => note.text)")
    assert [text.split()[0] for text in words] == ["eps"] * 3 and len(set(words)) == 3


def test_a_figure_is_saved_as_a_picture_within_the_policy(tab: Page, path: Path) -> None:
    tab.open(path)
    tab.until(f"{DRAWN} === {WHOLE}")
    buttons = "[...document.querySelectorAll('.modebar-btn')].map(b => b.dataset.title)"
    assert any("png" in str(title).lower() for title in tab.value(buttons))
    tab.value(
        f"Plotly.toImage({PLOT}, {{format: 'png'}}).then(u => document.title = u.slice(0, 15))"
    )
    tab.until("document.title.startsWith('data:image/png')")
    assert tab.complaints() == []


def test_tables_sort_by_the_keyboard(tab: Page, path: Path) -> None:
    tab.open(path)
    column = "[...document.querySelectorAll('.verdict tbody tr')].map(r => r.cells[1].textContent)"
    cells = tab.value(column)[:3]
    assert len(set(cells)) > 1
    order = []
    for word in ("ascending", "descending"):
        press(tab, ".verdict thead th:nth-child(2) button")
        tab.until(f"document.querySelector('.verdict th:nth-child(2)').ariaSort === '{word}'")
        order.append(tab.value(column)[:3])
    assert order == [sorted(cells, key=float), sorted(cells, key=float, reverse=True)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_figures_follow_the_scheme(tab: Page, path: Path, scheme: str) -> None:
    feature = [{"name": "prefers-color-scheme", "value": scheme}]
    tab.call("Emulation.setEmulatedMedia", features=feature)
    tab.open(path)
    tab.until(f"{DRAWN} === {WHOLE}")
    ink = tab.value("getComputedStyle(document.documentElement).getPropertyValue('--ink').trim()")
    assert ink == {"light": "#1b1f24", "dark": "#e6e9ed"}[scheme]
    drawn = tab.value(f"getComputedStyle({PLOT}).filter")
    assert drawn == {"light": "none", "dark": "invert(0.92) hue-rotate(180deg)"}[scheme]
    assert tab.value(f"getComputedStyle({PLOT}).backgroundColor") == "rgb(255, 255, 255)"
    tab.call("Emulation.setEmulatedMedia", features=[])


def test_nothing_but_boxes_of_their_own_scrolls_sideways_at_400_pixels(
    tab: Page, path: Path
) -> None:
    metrics = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    tab.call("Emulation.setDeviceMetricsOverride", **metrics)
    tab.open(path)
    tab.until(f"{DRAWN} === {WHOLE}")
    tab.until("document.getElementById('curve-plot-0').getBoundingClientRect().width <= 400")
    assert tab.value("document.documentElement.scrollWidth") <= 400
    wide = tab.value(
        "[...document.querySelectorAll('.scroll')].some(b => b.scrollWidth > b.clientWidth)"
    )
    assert wide
    boxes = (
        "['.x3title', '#curve-plot-0'].map(n => document.querySelector(n)?.getBoundingClientRect())"
    )
    tab.until(f"(b => b[0] && b[0].left >= b[1].left && b[0].right <= b[1].right)({boxes})")
    tab.call("Emulation.clearDeviceMetricsOverride")


def test_without_javascript_the_tables_are_there(tab: Page, path: Path) -> None:
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        tab.open(path)
        assert tab.value(f"{PLOT}.children.length") == 0
        assert "need JavaScript" in tab.value("document.querySelector('noscript').innerText")
        assert tab.value("document.querySelectorAll('table').length") == 7
    finally:
        tab.call("Emulation.setScriptExecutionDisabled", value=False)
