"""Races for the decision log between real processes, and processes killed amid a decision."""

import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest
import registry_case
from journey_case import Journey, Said, approve, copied, end, set_up, write_journey

from pipeline import audit, promote, registry, verify
from pipeline.command import exit_code
from pipeline.gating.verdict import Verdict

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
]
PATIENCE_S = 200
LOOKS, PAUSE_S = 16, 0.05  # 0.8 seconds of looks: to read the log takes a process some milliseconds
# When a promotion is killed, once it was let at the log: after what is to be seen of it, and so much later.
MOMENTS = (("let", 0.0), ("writing", 0.0), ("written", 0.0), ("written", 0.01), ("written", 0.04), ("written", 0.15))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Journey:
    """Champion 1; versions 2 and 4 passed their gates against it and alice approved both. To be copied."""
    journey = write_journey(tmp_path_factory.mktemp("races") / "base")
    with journey.inside():
        set_up()
        approve("1")
        promote.main("1")
        approve("2")
        approve("4")
    return journey


@pytest.fixture
def journey(base: Journey, tmp_path: Path) -> Journey:
    """A copy of the base."""
    return copied(base, tmp_path)


def test_of_two_promotions_at_once_one_wins(journey: Journey) -> None:
    """One exits 0 and serves; the other exits 2, says that nothing was changed, and has left no trace."""
    before = len(journey.decisions())
    said = at_once(journey, ("promote", "2"), ("promote", "4"))
    assert sorted(each.code for each in said) == [0, 2], said
    won, lost = (2, 4) if said[0].code == 0 else (4, 2)
    assert "Another decision was faster" in max(said, key=lambda each: each.code).err
    assert "Nothing was changed" in max(said, key=lambda each: each.code).err
    assert [entry.version for entry in journey.decisions()[before:]] == [won]
    assert journey.aliases() == {"candidate": 4, "champion": won, "previous": 1}
    assert "segloop.certificate" not in journey.mlflow.get_model_version(registry_case.NAME, str(lost)).tags
    assert_sound(journey)
    with journey.inside():  # the loser's gate compared it with a champion of yesterday
        assert exit_code(lambda: promote.main(str(lost))) == 1


def test_of_a_promotion_and_a_rollback_at_once_one_wins(journey: Journey) -> None:
    """Whichever is faster decides who serves; the other exits 2 and the aliases are the faster one's."""
    with journey.inside():
        promote.main("2")
        approve("4")
    before = len(journey.decisions())
    promoted, rolled_back = at_once(journey, ("promote", "4"), ("rollback", "--note", "people are missed"))
    assert sorted([promoted.code, rolled_back.code]) == [0, 2], (promoted, rolled_back)
    wanted = {"champion": 4, "previous": 2} if promoted.code == 0 else {"champion": 1}
    assert len(journey.decisions()) == before + 1
    assert journey.aliases() == {"candidate": 4, **wanted}
    assert_sound(journey)


def test_two_gates_of_a_version_at_once_both_count(tmp_path: Path) -> None:
    """Into a log that is yet to be made both record a verdict; the later one is what a reviewer gets and signs."""
    journey = write_journey(tmp_path / "work")
    with journey.inside():
        set_up()
    said = at_once(journey, ("gate", "1"), ("gate", "1"))
    assert [each.code for each in said] == [0, 0], said
    assert [entry.kind for entry in journey.decisions()] == ["gate", "gate"]
    assert_sound(journey)
    with journey.inside():
        approve("1")
        promote.main("1")
        shown = Verdict.model_validate_json(Path("data/gate/verdict.json").read_text())
    assert [entry.kind for entry in journey.decisions()] == ["gate", "gate", "review", "promotion"]
    assert {entry.gate_digest for entry in journey.decisions()[1:]} == {shown.digest()}


def test_a_promotion_killed_at_any_moment_leaves_a_whole_log(journey: Journey) -> None:
    """After each `kill -9` the log stands up to its audit; reconcile and the same command end in the right state."""
    for turn, (moment, delay_s) in enumerate(MOMENTS):
        wanted = (2, 1)[turn % 2]
        process = killed_promotion(journey, wanted, moment, delay_s)
        assert process.returncode in {-signal.SIGKILL, 0}
        with journey.inside():
            assert exit_code(lambda: audit.main(offline=True)) == 0, f"killed {delay_s} s after {moment}"
            assert exit_code(lambda: registry.main(registry.Act.RECONCILE)) == 0
            assert exit_code(lambda version=str(wanted): promote.main(version, force=True, note="again")) == 0
        assert journey.aliases()["champion"] == wanted
    assert_sound(journey)


def test_a_promotion_killed_before_mlflow_knows_is_made_up_for(journey: Journey) -> None:
    """The log holds the decision and MLflow shows the old champion, until reconcile mends it."""
    before = len(journey.decisions())
    with held(journey.root / "mlflow.db"):
        process = journey.start("promote", "2")
        until(lambda: len(journey.decisions()) > before, process)
        until(lambda: hangs(process, journey.root / "mlflow.db"), process)
        process.kill()
        end(process)
    assert journey.aliases() == {"candidate": 4, "champion": 1}
    with journey.inside():
        assert exit_code(verify.main) == 1  # the old champion's certificate is no longer the last one
        assert exit_code(lambda: audit.main(offline=True)) == 0
        assert exit_code(lambda: registry.main(registry.Act.RECONCILE)) == 0
        assert exit_code(verify.main) == 0
    assert journey.aliases() == {"candidate": 4, "champion": 2, "previous": 1}
    assert_sound(journey)


def at_once(journey: Journey, *commands: tuple[str, ...]) -> list[Said]:
    """Runs commands that all have read the log before any of them can write to it."""
    database = journey.root / "decisions.db"
    with held(database):
        started = [journey.start(*command) for command in commands]
        for process in started:
            until(lambda process=process: hangs(process, database), process)
    return [end(process) for process in started]


def killed_promotion(journey: Journey, version: int, moment: str, delay_s: float) -> subprocess.Popen[str]:
    """Kills a forced promotion at a moment of its writing to the log: at once, amid the transaction, or after it."""
    database, before = journey.root / "decisions.db", len(journey.decisions())
    seen = {
        "let": lambda: True,
        "writing": (journey.root / "decisions.db-journal").exists,
        "written": lambda: entries_in(database) > before,
    }
    with held(database):
        process = journey.start("promote", str(version), "--force", "--note", "the fleet stands still")
        until(lambda: hangs(process, database), process)
    while process.poll() is None and not seen[moment]():
        time.sleep(0.0002)  # the moments are short
    time.sleep(delay_s)
    process.kill()
    end(process)
    return process


def entries_in(database: Path) -> int:
    """How many entries a log holds, by a look that is fast."""
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute("SELECT count(*) FROM decisions").fetchone()[0])


@contextmanager
def held(database: Path) -> Iterator[None]:
    """Holds the write lock of an SQLite file: others read on, and wait when they want to write."""
    connection = sqlite3.connect(database, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()


def hangs(process: subprocess.Popen[str], database: Path) -> bool:
    """Whether a process waits for a database's lock: it has the file open at each of many looks."""
    for _ in range(LOOKS):
        if str(database) not in {each.path for each in psutil.Process(process.pid).open_files()}:
            return False
        time.sleep(PAUSE_S)
    return True


def until(come: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Waits for something that a running process brings about."""
    deadline = time.monotonic() + PATIENCE_S
    while not come():
        assert process.poll() is None, end(process)
        assert time.monotonic() < deadline, "it never came"
        time.sleep(PAUSE_S)


def assert_sound(journey: Journey) -> None:
    """The log stands up to its audit with MLflow's certificates as witnesses, and MLflow shows what it says."""
    with journey.inside():
        assert exit_code(audit.main) == 0
        before = journey.aliases()
        assert exit_code(lambda: registry.main(registry.Act.RECONCILE)) == 0
    assert journey.aliases() == before
