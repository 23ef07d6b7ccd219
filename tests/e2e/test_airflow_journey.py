"""The loop under a real Airflow: from a batch in the inbox to a champion, past the hazards of a scheduler."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from loop_case import Loop, alias, prepare_project
from mail_case import PASSWORD, TOKEN, Inboxes, inboxes
from stack_case import prepare_stack

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3000)]

# A task that nobody hears of is missed after five minutes by default.
HASTE = {"AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "40"}
APPROVED = "better where it counts"
HARD = ["train.seed=8", "train.max_epochs=30", "train.patience=30"]  # what the training with the hard time is given


@dataclass(frozen=True)
class Second:
    """What became of a training that had a hard time.

    Attributes:
        states: Of its tasks.
        begun: How often its job began to train.
        tries: How often its task `track` was run.
        promotion: The run that asks about its version.
        twin: States of the tasks of a run that was to compute the same at the same time.
    """

    states: dict[str, str]
    begun: int
    tries: int
    promotion: str
    twin: dict[str, str]


@pytest.fixture(scope="module")
def told() -> Iterator[Inboxes]:
    """A mail server and a receiver of webhooks, where alerts arrive."""
    with inboxes() as found:
        yield found


@pytest.fixture(scope="module")
def loop(told: Inboxes) -> Iterator[Loop]:
    """A stack that runs, and a project with an inbox."""
    folder = Path(tempfile.mkdtemp(prefix="loop."))  # a short path: sockets lie below it
    connections = {"AIRFLOW_CONN_SEGLOOP_SMTP": told.smtp(), "AIRFLOW_CONN_SEGLOOP_SLACK": told.slack()}
    stack = prepare_stack(folder, environment=HASTE | connections)
    prepare_project(stack)
    found = Loop(stack)
    try:
        started = stack.up()
        assert started.returncode == 0, started.stdout + started.stderr
        found.note("the stack is up")
        yield found
        print(found.told())
    finally:
        stack.down()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def champion(loop: Loop) -> str:
    """The first version that went all the way, and the run that promoted it."""
    loop.drop("a", 60, seed=1)
    run = loop.trigger("data_release")
    loop.stack.ask("PATCH", "/dags/data_release", is_paused=False)
    assert loop.ended("data_release", run)["release"] == "success"
    states = loop.ended("training", loop.run_after("training", 0, key="data/v1"))
    assert set(states.values()) == {"success"}, states
    promotion = loop.run_after("promotion", 0, key="1")
    assert loop.decide(promotion, "Approve", APPROVED) == "success"
    return promotion


@pytest.fixture(scope="module")
def second(loop: Loop, champion: str) -> Second:
    """A training during which the scheduler is killed, and MLflow does not answer for a minute."""
    del champion
    known = len(loop.runs("promotion"))
    run = loop.trigger("training", changes=HARD)
    jobs = loop.stack.root / ".segloop" / "jobs"
    before = set(jobs.iterdir())
    loop.until(lambda: set(jobs.iterdir()) - before, "training: the job began")
    loop.until(lambda: loop.states("training", run)["train"] == "running", "training: its task watches the job")
    twin = loop.trigger("training", changes=HARD)
    loop.until(lambda: loop.states("training", twin)["commit"] == "skipped", "training: its twin has nothing to do")
    os.kill(loop.stack.record("scheduler")["pid"], signal.SIGKILL)
    loop.note("the scheduler was killed")
    loop.until(lambda: loop.states("training", run)["export"] == "success", "training: the job's results are there")
    server = loop.stack.record("mlflow")["pid"]
    os.killpg(os.getpgid(server), signal.SIGSTOP)
    loop.note("MLflow stopped answering")
    time.sleep(60)
    os.killpg(os.getpgid(server), signal.SIGCONT)
    loop.note("MLflow answers again")
    states = loop.ended("training", run)
    (job,) = set(jobs.iterdir()) - before
    tried = loop.stack.ask("GET", f"/dags/training/dagRuns/{run}/taskInstances/track").json()["try_number"]
    promotion = loop.run_after("promotion", known, key="2")
    begun = "".join(log.read_text() for log in job.glob("log-*.txt")).count("epoch 1 of")
    return Second(states, begun, tried, promotion, loop.states("training", twin))


@contextmanager
def reviewers_page(loop: Loop, browser: str) -> Iterator["Page"]:
    """A page of a headless browser in which the reviewer is logged in."""
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser, args=flags)
        page = started.new_page(viewport={"width": 1400, "height": 1000}, base_url=loop.stack.url("airflow"))
        page.goto("/")
        page.fill("input[name=username]", "reviewer")
        page.fill("input[name=password]", loop.stack.password("reviewer"))
        page.click("button[type=submit]")
        page.wait_for_selector("text=Dags")
        yield page
        started.close()


def shown(page: "Page", address: str, word: str) -> str:
    """The text of a page, once a word is on it; its picture goes to the folder that SEGLOOP_SCREENSHOTS names."""
    page.goto(address)
    page.wait_for_selector(f"text={word}", timeout=60_000)
    folder = os.environ.get("SEGLOOP_SCREENSHOTS")
    if folder:
        page.wait_for_timeout(2000)
        page.screenshot(path=f"{folder}/{word.split(maxsplit=1)[0].lower()}.png")
    return page.inner_text("body")


def test_a_batch_in_the_inbox_becomes_the_champion(loop: Loop, champion: str) -> None:
    """Released, trained, gated, approved over the API by the reviewer, promoted: the decision log has all of it."""
    assert champion
    assert alias(loop, "champion") == "1"
    log = loop.segloop("versions", "--log")
    assert APPROVED in log
    assert "champion" in loop.segloop("versions")


def test_a_run_commits_to_a_branch_of_its_own(loop: Loop, champion: str) -> None:
    """Lock and metrics of the run are in git, and the operator's checkout is where it was."""
    assert champion
    branch = loop.stack.workspace.ok("git", "branch", "--list", "runs/*").split()[-1]
    listed = loop.stack.workspace.ok("git", "ls-tree", "-r", "--name-only", branch).split()
    assert {"dvc.lock", "data/evaluation/metrics.json", "run.json"} <= set(listed)
    changed = loop.stack.workspace.ok("git", "status", "--porcelain", "--untracked-files=no").split()
    assert set(changed) <= {"M", "data/decisions.head"}


def test_tasks_link_to_what_they_made(loop: Loop, champion: str) -> None:
    """The addresses of the MLflow run, the Data Docs and the dossier are on the tasks' pages, and answer."""
    import requests

    assert champion
    run = loop.runs("training")[0]["dag_run_id"]
    for task, name in (("track", "MLflow run"), ("validate", "Data Docs"), ("dossier", "Dossier")):
        links = loop.stack.ask("GET", f"/dags/training/dagRuns/{run}/taskInstances/{task}/links").json()
        address = links["extra_links"][name]
        assert requests.get(address, timeout=30).ok, (task, address)


def test_the_same_release_twice_is_no_second_training(loop: Loop, champion: str) -> None:
    """The run says that there is nothing to do, and skips."""
    assert champion
    states = loop.ended("training", loop.trigger("training", release="data/v1"))
    assert set(states.values()) == {"skipped"}, states


def test_a_finished_run_can_be_cleared(loop: Loop, champion: str) -> None:
    """An operator has a task done again; with the deadline of Airflow's own kind that would be an error."""
    assert champion
    run = loop.runs("data_release")[0]["dag_run_id"]
    asked = {"dag_run_id": run, "task_ids": ["announce"], "dry_run": False, "only_failed": False}
    answer = loop.stack.ask("POST", "/dags/data_release/clearTaskInstances", **asked)
    assert answer.ok, answer.text
    assert loop.ended("data_release", run)["announce"] in {"success", "skipped"}


def have_arrived(told: Inboxes, words: str) -> bool:
    """Whether a mail and a message with the words are there."""
    return any(words in mail["Subject"] for mail in told.mails) and any(words in text for text in told.texts)


def test_a_run_that_is_late_is_told(loop: Loop, told: Inboxes) -> None:
    """Mail and message of the missed deadline arrive, also where no task ever began; the callback succeeds."""
    run = loop.trigger("housekeeping", dry_run=True)
    words = f"housekeeping: the run {run} has missed its deadline"
    loop.until(lambda: have_arrived(told, words), f"housekeeping: {run} is late, and somebody is told")
    assert "Callback failed" not in loop.stack.log("scheduler")


def test_a_killed_scheduler_does_not_take_the_training_along(second: Second) -> None:
    """The retry finds the job, also where the kill came while it was being started: it ran once."""
    assert set(second.states.values()) == {"success"}, second.states
    assert second.begun == 1


def test_the_same_training_twice_at_once_is_done_once(second: Second) -> None:
    """The second run says that the first is at it, and skips."""
    assert set(second.twin.values()) == {"skipped"}, second.twin


def test_mlflow_may_be_away_for_a_minute(second: Second) -> None:
    """The task that needs it is tried again until it answers."""
    assert second.tries > 1
    assert second.states["register"] == "success"


def test_people_see_graph_question_and_links_in_a_browser(loop: Loop, second: Second) -> None:
    """The reviewer logs in and finds verdict, table and link to the dossier; the operator sees every stage."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no Chromium on this machine")
    training = loop.runs("training")[0]["dag_run_id"]
    loop.question(second.promotion)
    asked = f"/dags/promotion/runs/{second.promotion}/tasks/approve/required_actions"
    with reviewers_page(loop, browser) as page:
        seen = {
            "question": shown(page, asked, "passed its gate"),
            "graph": shown(page, f"/dags/training/runs/{training}", "evaluate"),
            "links": shown(page, f"/dags/training/runs/{training}/tasks/validate/details", "Data Docs"),
        }
    assert "passed its gate, compared with the champion" in " ".join(seen["question"].split())
    assert "dossier" in seen["question"].lower()
    assert {"prepare", "train", "export", "gate"} <= set(seen["graph"].split())


@pytest.mark.parametrize("dag", ["data_release", "training", "promotion"])
def test_a_run_can_be_triggered_without_filling_in_anything(loop: Loop, champion: str, dag: str) -> None:
    """What the descriptions call optional does not keep the form's button closed."""
    assert champion
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no Chromium on this machine")
    with reviewers_page(loop, browser) as page:
        page.goto(f"/dags/{dag}")
        page.get_by_role("button", name="Trigger").first.click()
        button = page.get_by_role("dialog").get_by_role("button", name="Trigger").last
        button.wait_for(timeout=60_000)
        page.wait_for_timeout(2000)
        assert button.is_enabled()


def test_a_forged_approval_promotes_nothing(loop: Loop, second: Second) -> None:
    """A user writes the answer into XCom and sets the task to success: the promoter sees that nobody answered."""
    run = second.promotion
    loop.question(run)
    path = f"/dags/promotion/dagRuns/{run}/taskInstances/approve"
    forged = {"chosen_options": ["Approve"], "params_input": {"reason": "x"}, "responded_by_user": "reviewer"}
    assert loop.stack.ask("POST", f"{path}/xcomEntries", "reviewer", key="return_value", value=forged).ok
    assert loop.stack.ask("PATCH", path, "reviewer", new_state="success").ok
    assert loop.ended("promotion", run)["promote"] == "failed"
    assert alias(loop, "champion") == "1"


def test_a_run_that_failed_is_told(loop: Loop, second: Second, told: Inboxes) -> None:
    """Mail and message name the run and its page, and no log has the mail's password or the webhook's address."""
    words = f"promotion: the run {second.promotion} failed"
    loop.until(lambda: have_arrived(told, words), "promotion: somebody is told of the failure")
    (message,) = [text for text in told.texts if words in text]
    assert f"{loop.stack.url('airflow')}/dags/promotion/runs/" in message
    folder = loop.stack.root / ".segloop"
    logs = [*(folder / "airflow" / "logs").rglob("*.log"), *(folder / "stack" / "logs").glob("*.log")]
    assert not [log for log in logs for secret in (PASSWORD, TOKEN) if secret in log.read_text(errors="replace")]


def test_a_rejection_is_recorded_and_promotes_nothing(loop: Loop, second: Second) -> None:
    """The version stays what it was, and the log knows who said no, and why."""
    assert second.promotion
    run = loop.trigger("promotion", version="2")
    assert loop.decide(run, "Reject", "worse at the dock") == "success"
    assert alias(loop, "champion") == "1"
    assert "worse at the dock" in loop.segloop("versions", "--log")


def test_two_releases_in_a_row_both_get_their_training(loop: Loop, second: Second) -> None:
    """While a training is under way, neither release is lost."""
    assert second.promotion
    for batch, seed in (("b", 2), ("c", 3)):
        loop.drop(batch, 6, seed=seed)
        assert loop.ended("data_release", loop.trigger("data_release"))["release"] == "success"

    def released() -> bool:
        keys = {each["partition_key"] for each in loop.runs("training")}
        return {"data/v2", "data/v3"} <= keys

    loop.until(released, "both releases have a run of the training")
