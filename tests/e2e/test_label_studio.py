"""The round trip through a real Label Studio server on loopback.

The server does not go together with this project's versions, so it has an environment of its own: `make label-studio`
installs it under `.segloop/label-studio`; SEGLOOP_LABEL_STUDIO names the environment of another one.
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from annotation_case import CLASSES, LIMITS, Case, brush, make_case

from pipeline.images import decode_mask

ROOT = Path(__file__).resolve().parent.parent.parent
ENVIRONMENT = Path(os.environ.get("SEGLOOP_LABEL_STUDIO") or ROOT / ".segloop" / "label-studio")
PROGRAM, PYTHON = ENVIRONMENT / "bin" / "label-studio", ENVIRONMENT / "bin" / "python"
HOST = "127.0.0.1"
TOKEN = secrets.token_hex(20)
HEADERS = {"Authorization": f"Token {TOKEN}"}
START_TIMEOUT_S = 480  # its first start makes a database, by hundreds of migrations
STOP_TIMEOUT_S = 30
REQUEST_TIMEOUT_S = 120
PAGE_TIMEOUT_MS = 240_000
USER, PASSWORD = "tester@localhost.localdomain", "a password of the tests"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = {
    "COLLECT_ANALYTICS": "false",
    "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
    "LATEST_VERSION_CHECK": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    "LABEL_STUDIO_USERNAME": USER,
    "LABEL_STUDIO_PASSWORD": PASSWORD,
    "LABEL_STUDIO_USER_TOKEN": TOKEN,
    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
}
# Reads an export with the SDK's own converter: label, then the pixels of the alpha channel, for each region.
SDK = """
import json, sys
import numpy as np
from label_studio_sdk.converter.brush import decode_rle
found = []
for task in json.load(open(sys.argv[1])):
    for result in task["annotations"][0]["result"] if task["annotations"] else []:
        if result["type"] == "brushlabels":
            size = result["original_height"], result["original_width"], 4
            alpha = np.reshape(decode_rle(result["value"]["rle"]), size)[:, :, 3]
            found.append([task["data"]["item_id"], result["value"]["brushlabels"][0], (alpha >= 128).tolist()])
print(json.dumps(found))
"""
# Packs regions with the SDK's own converter.
SDK_ENCODE = """
import json, sys
import numpy as np
from label_studio_sdk.converter.brush import mask2rle
print(json.dumps([mask2rle(np.array(each, np.uint8) * 255) for each in json.load(sys.stdin)]))
"""
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not PROGRAM.is_file(), reason=f"there is no Label Studio in {ENVIRONMENT}: run `make label-studio` once"
    ),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a database of its own; its address."""
    folder = tmp_path_factory.mktemp("label_studio")
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    command = [PROGRAM, "start", "--no-browser", "--internal-host", HOST, "--port", str(port), "--data-dir", folder]
    environment = {**os.environ, **QUIET, "LABEL_STUDIO_BASE_DATA_DIR": str(folder)}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait(process, f"http://{HOST}:{port}", folder / "server.log")
        yield f"http://{HOST}:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    end = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            if requests.get(f"{address}/health", timeout=REQUEST_TIMEOUT_S).ok:
                return
        except requests.ConnectionError:
            time.sleep(1)
    raise AssertionError(log.read_text()[-3000:])


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    """The workspace."""
    return make_case(tmp_path, monkeypatch)


def call(method: str, address: str, **options: Any) -> Any:
    """Calls the server's API, which must succeed, and gives its answer."""
    answer = requests.request(method, address, headers=HEADERS, timeout=REQUEST_TIMEOUT_S, **options)
    assert answer.ok, f"{address}: {answer.status_code} {answer.text[:2000]}"
    return answer.json()


def imported(server: str) -> tuple[int, list[int]]:
    """A new project with our interface and tasks: its number, and theirs."""
    config = Path("review/labeling_config.xml").read_text()
    project = call("POST", f"{server}/api/projects", json={"title": "review", "label_config": config})["id"]
    tasks = json.loads(Path("review/tasks.json").read_text())
    made = call("POST", f"{server}/api/projects/{project}/import?return_task_ids=true", json=tasks)
    assert made["prediction_count"] == len(tasks)
    return project, made["task_ids"]


def annotate(server: str, task: int, *more: dict[str, Any], skip: bool = False) -> None:
    """Answers a task with its prediction and more regions, or skips it."""
    prediction = call("GET", f"{server}/api/tasks/{task}")["predictions"][0]
    answer = {"result": [*prediction["result"], *more], "prediction": prediction["id"], "was_cancelled": skip}
    call("POST", f"{server}/api/tasks/{task}/annotations/", json=answer)


def exported(server: str, project: int) -> Path:
    """The project's export as the server writes it."""
    file = Path("answer.json")
    options = "exportType=JSON&download_all_tasks=true"
    file.write_text(json.dumps(call("GET", f"{server}/api/projects/{project}/export?{options}")))
    return file


def corner(mask: np.ndarray) -> np.ndarray:
    """The upper left quarter. Shape: that of the mask, bool."""
    drawn = np.zeros(mask.shape, bool)
    drawn[:10, :12] = True
    return drawn


def test_masks_come_back_from_the_server(case: Case, server: str) -> None:
    """Taken over, drawn over and skipped: what the server exports is read to the pixel."""
    before = case.masks()
    case.export("label-studio")
    project, tasks = imported(server)
    annotate(server, tasks[0])
    annotate(server, tasks[1], brush(corner(before["item-001"]), "human"))
    annotate(server, tasks[2], skip=True)
    assert case.read(exported(server, project), "label-studio") == 0
    assert case.revisions() == {item: 1 + (item == "item-001") for item in case.items}
    expected = np.where(corner(before["item-001"]), 3, before["item-001"])
    assert np.array_equal(case.masks()["item-001"], expected)
    assert "item-004,1,keep" in Path("data/label_decisions.csv").read_text()


def test_the_sdk_reads_the_same_pixels(case: Case, server: str) -> None:
    """Label Studio's own converter finds in the export the masks that were asked about."""
    case.export("label-studio")
    project, tasks = imported(server)
    for task in tasks:
        annotate(server, task)
    answer = exported(server, project)
    done = subprocess.run([PYTHON, "-c", SDK, answer], capture_output=True, text=True, check=True)
    found = {item: np.full((20, 24), 255, np.uint8) for item in ("item-004", "item-001", "item-002")}
    for item, label, drawn in json.loads(done.stdout):
        found[item][np.array(drawn)] = CLASSES.index(label)
    for item, mask in found.items():
        assert np.array_equal(mask, decode_mask(case.items[item].mask, LIMITS))


def test_what_the_sdk_packs_is_read(case: Case) -> None:
    """Regions that Label Studio's own converter encoded are decoded to the same pixels."""
    from pipeline.annotation_tasks.rle import decode_brush

    masks = list(case.masks().values())
    regions = [mask == value for mask in masks for value in np.unique(mask)]
    given = json.dumps([each.tolist() for each in regions])
    done = subprocess.run([PYTHON, "-c", SDK_ENCODE], input=given, capture_output=True, text=True, check=True)
    for code, region in zip(json.loads(done.stdout), regions, strict=True):
        assert np.array_equal(decode_brush(code, *region.shape), region)


class Images(SimpleHTTPRequestHandler):
    """Serves images to the editor, which asks from another port."""

    def end_headers(self) -> None:
        """Allows the editor to use them."""
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Stays silent."""


@pytest.fixture
def images(case: Case) -> Iterator[str]:
    """The address of the exported images."""
    assert case.items
    with ThreadingHTTPServer((HOST, 0), partial(Images, directory=str(Path.cwd()))) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://{HOST}:{running.server_port}/review/images/"
        running.shutdown()


def submit(page: Any, *, draw: bool) -> None:
    """Waits for the editor with the prediction taken over, draws a zigzag of `floor` if asked, and submits."""
    page.wait_for_selector("button:has-text('Submit')")
    page.wait_for_selector("canvas")
    page.wait_for_function("document.body.innerText.includes('obstacle')")
    page.wait_for_timeout(4000)  # the editor draws in steps that nothing tells the end of
    if draw:
        page.keyboard.press(str(CLASSES.index("floor") + 1))
        box = page.locator("canvas").first.bounding_box()
        left, top = box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.8
        page.mouse.move(left, top)
        page.mouse.down()
        for step in range(1, 22):
            page.mouse.move(left + (130 if step % 2 else 0), top - 6 * step, steps=4)
        page.mouse.up()
        page.wait_for_timeout(1000)
    with page.expect_response(lambda answer: "/annotations" in answer.url and answer.request.method == "POST"):
        page.click("button:has-text('Submit')")


@pytest.mark.skipif(BROWSER is None, reason="no browser of the Chromium family on PATH")
def test_an_annotators_strokes_come_back(case: Case, server: str, images: str) -> None:
    """In the editor one mask is drawn over by hand and one submitted as it is: one new revision, one kept item."""
    from playwright.sync_api import sync_playwright

    before = case.masks()
    case.export("label-studio", "--images-at", images)
    project, tasks = imported(server)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(PAGE_TIMEOUT_MS)
        page.goto(f"{server}/user/login")
        page.fill("input[name=email]", USER)
        page.fill("input[name=password]", PASSWORD)
        page.press("input[name=password]", "Enter")
        page.wait_for_url(lambda address: "login" not in address)
        for number, task in enumerate(tasks[:2]):
            page.goto(f"{server}/projects/{project}/data?task={task}")
            submit(page, draw=number == 1)
        browser.close()
    assert case.read(exported(server, project), "label-studio") == 0
    assert case.revisions() == {item: 1 + (item == "item-001") for item in case.items}
    now, was = case.masks()["item-001"], before["item-001"]
    assert set(now[now != was].tolist()) == {CLASSES.index("floor")}
    assert "item-004,1,keep" in Path("data/label_decisions.csv").read_text()
