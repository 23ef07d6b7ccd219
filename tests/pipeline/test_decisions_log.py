"""Tests of the decision log: what it keeps, who wins a race, and every way of tampering with it."""

import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import pytest
from decisions import INTRUDER, MODEL, PROMOTER, Place, certified_draft, fill, gate_draft, grant_of, promote

from pipeline.decisions.audit import Fault
from pipeline.decisions.certificate import Certificate, issue
from pipeline.decisions.entry import Entry, Kind
from pipeline.decisions.keys import public_text
from pipeline.decisions.log import Conflict, DecisionLog, audit
from pipeline.errors import OutageError, UserError, VerdictError

TEXTS = ("at", "kind", "model_name", "model_digest", "gate_digest", "actor", "note", "payload_json", "previous_hash")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty place for a log."""
    return Place(tmp_path)


@pytest.fixture
def filled(place: Place) -> Place:
    """A log with five decisions, the second and the fourth a promotion."""
    fill(place.log())
    return place


def sql(place: Place, *statements: str) -> None:
    """Does to the database what the log never does."""
    connection = sqlite3.connect(place.database)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def faults(place: Place, certificates: list[Certificate] | None = None) -> set[Fault]:
    """The kinds of what an audit finds."""
    return {finding.fault for finding in place.audit(certificates or [])}


def rewrite(place: Place, change: Callable[[list[Entry]], list[Entry]]) -> None:
    """Rewrites the entries with a perfect chain, as someone would who knows the format but has no key."""
    entries = change(place.log().entries())
    sql(place, "DELETE FROM decisions")
    connection = sqlite3.connect(place.database)
    previous = "0" * 64
    with connection:
        for number, entry in enumerate(entries, start=1):
            moved = replace(entry, sequence=number, previous_hash=previous)
            moved = replace(moved, hash=moved.expected_hash())
            values = tuple(vars(moved).values())
            connection.execute(f"INSERT INTO decisions VALUES ({','.join('?' * len(values))})", values)  # noqa: S608
            previous = moved.hash
    connection.close()


def test_an_empty_log_is_read_without_being_made(place: Place) -> None:
    """Looking leaves no file behind, and nothing is wrong."""
    log = place.log(None)
    assert (log.entries(), log.head(), log.next_sequence()) == ([], None, 1)
    assert place.audit() == []
    assert list(place.folder.iterdir()) == []


def test_entries_come_back_in_order_and_chained(filled: Place) -> None:
    """Numbers run from 1 without a gap, each entry names the hash before it, and the audit finds nothing."""
    entries = filled.log().entries()
    assert [entry.sequence for entry in entries] == [1, 2, 3, 4, 5]
    assert [entry.previous_hash for entry in entries[1:]] == [entry.hash for entry in entries[:-1]]
    assert entries[0].payload["verdict"]["passed"] is True
    assert filled.audit() == []


def test_entries_of_one_model_are_picked(filled: Place) -> None:
    """Several models share a log."""
    filled.log().append(replace(gate_draft(1), model_name="other"))
    assert [entry.sequence for entry in filled.log().entries("other")] == [6]
    assert len(filled.log().entries(MODEL)) == 5


def test_a_number_that_is_taken_is_a_conflict(filled: Place) -> None:
    """Whoever wanted that number is told, and nothing is written."""
    with pytest.raises(Conflict, match="number 5 was not to be had"):
        filled.log().append(gate_draft(4), expected_sequence=5)
    assert filled.log().next_sequence() == 6


def test_a_number_ahead_of_the_log_is_a_conflict(filled: Place) -> None:
    """No gap can be made."""
    with pytest.raises(Conflict):
        filled.log().append(gate_draft(4), expected_sequence=8)


def race(folder: Path, version: int) -> str:
    """One promoter in a process of its own."""
    log = Place(folder).log()
    certificate = issue(PROMOTER, grant_of(version, 1))
    try:
        log.append(certified_draft(Kind.PROMOTION, certificate), expected_sequence=1)
    except Conflict:
        return "conflict"
    return "won"


def test_of_two_processes_one_wins_the_number(place: Place) -> None:
    """Two promotions of the same number at once, in a new database: one is recorded, the other gets a conflict."""
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        for attempt in range(8):
            folder = place.folder / str(attempt)
            folder.mkdir()
            said = list(pool.map(race, [folder, folder], [1, 2]))
            assert sorted(said) == ["conflict", "won"]
            assert [entry.version for entry in Place(folder).log().entries()] == [1 + said.index("won")]
            assert Place(folder).audit() == []


def test_the_database_itself_refuses_a_number_twice(place: Place) -> None:
    """Where both writers look before either writes, the table's key decides and nothing of the loser stays."""
    log = place.log()
    first, second = (gate_draft(version).placed(1, "2026-01-01", "0" * 64) for version in (1, 2))
    assert log._insert(first, None) is True
    assert log._insert(second, None) is False
    assert log.entries() == [first]


def collect(folder: Path, version: int) -> int:
    """One gate in a process of its own, which takes any number."""
    return Place(folder).log().append(gate_draft(version)).sequence


def test_who_wants_no_special_number_gets_one(place: Place) -> None:
    """Gates at once all find their place."""
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        numbers = list(pool.map(collect, [place.folder] * 6, range(6)))
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]
    assert place.audit() == []


def test_a_promotion_needs_the_promoters_key(place: Place) -> None:
    """Without the private key at hand none is written."""
    certificate = issue(PROMOTER, grant_of(1, 1))
    with pytest.raises(UserError, match="private key, which is not at hand"):
        place.log(None).append(certified_draft(Kind.PROMOTION, certificate))


def test_another_key_is_not_taken_for_the_promoters(place: Place) -> None:
    """A private key that does not belong to the trusted public one is refused at once."""
    with pytest.raises(UserError, match="is not the promoter's"):
        DecisionLog(f"sqlite:///{place.database}", key=INTRUDER, trusted=[public_text(PROMOTER)])


@pytest.mark.parametrize("other", [{"version": 9}, {"sequence": 9}, {"override": True}])
def test_a_promotion_agrees_with_its_certificate(place: Place, other: dict[str, object]) -> None:
    """What differs from its certificate is never written."""
    draft = certified_draft(Kind.PROMOTION, issue(PROMOTER, grant_of(1, 1)))
    certificate = issue(PROMOTER, grant_of(1, 1, **other))
    with pytest.raises(UserError, match=f"differs from its certificate in {next(iter(other))}"):
        place.log().append(replace(draft, payload={"certificate": certificate.model_dump()}))
    assert place.log().entries() == []


def test_text_that_no_database_keeps_is_refused(place: Place) -> None:
    """A NUL character is told before anything is written."""
    with pytest.raises(UserError, match="note of a decision holds a NUL"):
        place.log().append(replace(gate_draft(1), note="a\0b"))


@pytest.mark.parametrize("column", [*TEXTS, "hash"])
def test_a_changed_text_shows(filled: Place, column: str) -> None:
    """Whatever column of an entry is changed."""
    sql(filled, f"UPDATE decisions SET {column} = 'x' WHERE sequence = 3")  # noqa: S608
    assert Fault.CHANGED in faults(filled)


@pytest.mark.parametrize("change", ["version = 9", "version = 'nine'", "override = 1", "note = x'ff'"])
def test_a_changed_number_flag_or_type_shows(filled: Place, change: str) -> None:
    """SQLite lets any column hold anything."""
    sql(filled, f"UPDATE decisions SET {change} WHERE sequence = 3")  # noqa: S608
    assert Fault.CHANGED in faults(filled)


def test_a_changed_entry_with_a_mended_chain_shows(filled: Place) -> None:
    """All hashes computed anew are not those that the signed heads name."""
    rewrite(filled, lambda entries: [replace(entries[0], note="fine"), *entries[1:]])
    found = faults(filled)
    assert Fault.REWRITTEN in found
    assert not found & {Fault.CHANGED, Fault.CHAIN}


@pytest.mark.parametrize("number", [1, 3, 4])
def test_a_removed_entry_shows(filled: Place, number: int) -> None:
    """The gap is named."""
    sql(filled, f"DELETE FROM decisions WHERE sequence = {number}")  # noqa: S608
    assert (Fault.REMOVED, number) in {(each.fault, each.sequence) for each in filled.audit()}


def test_a_removed_entry_with_a_closed_gap_shows(filled: Place) -> None:
    """Numbers and hashes made anew do not reach the heads."""
    rewrite(filled, lambda entries: entries[:2] + entries[3:])
    assert faults(filled) & {Fault.REWRITTEN, Fault.CUT_OFF}


def test_reordered_entries_show(filled: Place) -> None:
    """Two entries with their numbers swapped break the chain."""
    sql(
        filled,
        "UPDATE decisions SET sequence = 99 WHERE sequence = 1",
        "UPDATE decisions SET sequence = 1 WHERE sequence = 3",
        "UPDATE decisions SET sequence = 3 WHERE sequence = 99",
    )
    assert {Fault.CHANGED, Fault.CHAIN} <= faults(filled)


def test_reordered_entries_with_a_mended_chain_show(filled: Place) -> None:
    """The heads name others in their place."""
    rewrite(filled, lambda entries: [entries[2], entries[1], entries[0], *entries[3:]])
    assert Fault.REWRITTEN in faults(filled)


def test_an_inserted_entry_shows(filled: Place) -> None:
    """A decision slipped in moves the others from their places."""
    rewrite(filled, lambda entries: [entries[0], replace(entries[0], version=8), *entries[1:]])
    assert Fault.REWRITTEN in faults(filled)


def test_a_promotion_appended_without_the_key_shows(filled: Place) -> None:
    """A perfect chain and a copied certificate do not make a promotion."""
    rewrite(filled, lambda entries: [*entries, entries[1]])
    assert {(each.fault, each.sequence) for each in filled.audit()} >= {(Fault.CERTIFICATE, 6), (Fault.SIGNATURE, 6)}


def test_a_log_cut_off_shows_by_its_heads(filled: Place) -> None:
    """Entries removed from the end are missed by the heads in the database."""
    sql(filled, "DELETE FROM decisions WHERE sequence > 3")
    assert Fault.CUT_OFF in faults(filled)


def test_a_log_cut_off_with_its_heads_shows_by_the_head_file(filled: Place) -> None:
    """Entries and heads removed from the end are missed by the head file."""
    sql(filled, "DELETE FROM decisions WHERE sequence > 2", "DELETE FROM heads WHERE sequence > 2")
    found = filled.audit()
    assert {each.fault for each in found} == {Fault.CUT_OFF}
    assert any("the head file knows decision 5" in each.what for each in found)


def test_a_database_that_was_removed_shows_by_the_head_file(filled: Place) -> None:
    """An empty log where the head file knows five decisions is cut off, and takes nothing new."""
    filled.database.unlink()
    assert Fault.CUT_OFF in faults(filled)
    with pytest.raises(VerdictError, match="does not stand up to its audit"):
        filled.log().append(gate_draft(1))


def test_the_tail_that_only_a_gate_wrote_is_guarded_too(place: Place) -> None:
    """Entries after the last signed head are missed by the head file, though nobody signed them."""
    promote(place.log(), 1)
    place.log(None).append(gate_draft(2, champion=1))
    assert place.audit() == []
    sql(place, "DELETE FROM decisions WHERE sequence = 2")
    assert faults(place) == {Fault.CUT_OFF}


def test_a_log_and_head_file_taken_back_show_by_a_certificate(filled: Place) -> None:
    """A whole older state is a sound log; only a certificate issued since tells, and it does."""
    first, second = [Certificate(**entry.payload["certificate"]) for entry in filled.log().entries()[1:4:2]]
    older = Place(filled.folder / "older")
    older.folder.mkdir()
    older.log().append(gate_draft(1))
    promote(older.log(), 1)
    assert older.audit([first.model_copy(update={"signature": "x"})]) != []
    assert faults(older) == set()
    assert faults(older, [second]) == {Fault.CUT_OFF}


def test_a_certificate_of_another_decision_shows(filled: Place) -> None:
    """A genuine certificate that the log does not have at its number tells of a rewritten log."""
    assert faults(filled, [issue(PROMOTER, grant_of(9, 4))]) == {Fault.REWRITTEN}
    assert faults(filled, [issue(PROMOTER, grant_of(9, 3))]) == {Fault.REWRITTEN}


def test_certificates_that_the_log_issued_are_sound_witnesses(place: Place) -> None:
    """What was issued agrees."""
    assert faults(place, fill(place.log())) == set()


def test_a_head_file_that_was_removed_shows(filled: Place) -> None:
    """Its absence is a finding of its own."""
    filled.head_file.unlink()
    assert faults(filled) == {Fault.HEAD_FILE}


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"latest": {"sequence": "5", "hash": "x"}}'])
def test_a_damaged_head_file_shows(filled: Place, text: str) -> None:
    """So does what is none."""
    filled.head_file.write_text(text)
    assert faults(filled) == {Fault.HEAD_FILE}


def test_heads_removed_from_the_database_show(filled: Place) -> None:
    """A promotion without its signed head counts for nothing."""
    sql(filled, "DELETE FROM heads")
    assert {Fault.SIGNATURE, Fault.CUT_OFF} <= faults(filled)


@pytest.mark.parametrize("column", ["hash", "at", "key_id", "signature"])
def test_a_changed_head_shows(filled: Place, column: str) -> None:
    """Each field of a head is under its signature."""
    sql(filled, f"UPDATE heads SET {column} = 'x' WHERE sequence = 2")  # noqa: S608
    assert Fault.SIGNATURE in faults(filled)


def test_a_log_rewritten_with_another_key_shows(filled: Place) -> None:
    """A whole log, its heads, its head file and its certificates, all sound but for the key."""
    shutil.rmtree(filled.folder)
    filled.folder.mkdir()
    fill(filled.log(INTRUDER), INTRUDER)
    own = audit(filled.log(INTRUDER), [public_text(INTRUDER)], filled.head_file)
    assert own == []
    assert faults(filled) == {Fault.SIGNATURE, Fault.CERTIFICATE}


def test_a_log_that_was_tampered_with_takes_nothing(filled: Place) -> None:
    """Or the next signed head would cover the damage up."""
    sql(filled, "UPDATE decisions SET note = 'x' WHERE sequence = 3")
    before = filled.head_file.read_bytes()
    for key in (PROMOTER, None):
        with pytest.raises(VerdictError, match="does not stand up to its audit"):
            filled.log(key).append(gate_draft(4))
    assert filled.head_file.read_bytes() == before


def test_a_kill_before_the_first_head_leaves_a_sound_log(place: Place) -> None:
    """The head file of the empty log is there before the first entry, and holds for what comes after."""
    place.log().append(gate_draft(1))
    place.head_file.write_text(json.dumps({"latest": {"sequence": 0, "hash": "0" * 64}, "signed": None}))
    assert place.audit() == []
    place.log().append(gate_draft(2))
    assert place.audit() == []


def test_a_head_file_left_behind_is_sound_and_mended(filled: Place) -> None:
    """A kill between database and file leaves a lower bound that still holds; sealing brings it up, twice is once."""
    before = filled.head_file.read_bytes()
    promote(filled.log(), 3)
    after = filled.head_file.read_bytes()
    filled.head_file.write_bytes(before)
    assert filled.audit() == []
    filled.log().seal()
    assert filled.head_file.read_bytes() == after
    filled.log().seal()
    assert filled.head_file.read_bytes() == after


def test_sealing_signs_what_others_appended(place: Place) -> None:
    """Gates come without the promoter's key; sealing puts them under its signature."""
    place.log(None).append(gate_draft(1))
    assert place.log(None).evidence().heads == []
    place.log().seal()
    assert [head.sequence for head in place.log().evidence().heads] == [1]
    assert place.audit() == []


def test_a_head_file_that_cannot_be_written_is_told(place: Place) -> None:
    """Before the first decision nothing is written, since a log without its head file is one that lost it."""
    (place.folder / "file").write_text("")
    log = DecisionLog(f"sqlite:///{place.database}", head_file=place.folder / "file" / "head", key=PROMOTER)
    with pytest.raises(UserError, match="Nothing was written, but the log's head could not be kept"):
        log.append(gate_draft(1))
    assert log.head() is None


@pytest.mark.parametrize("url", ["postgresql+psycopg://u:secret@127.0.0.1:1/x", "nonsense", "nosuch://u:secret@host/x"])
def test_a_url_that_leads_nowhere_is_told_without_its_password(url: str) -> None:
    """A server that is away is an outage; a driver or dialect that is missing, or no URL at all, a mistake."""
    with pytest.raises((OutageError, UserError), match="decision log") as caught:
        DecisionLog(url).entries()
    assert "secret" not in str(caught.value)


def test_a_folder_that_is_missing_is_an_outage(tmp_path: Path) -> None:
    """A disk that is not mounted may come back."""
    with pytest.raises(OutageError, match="has no folder"):
        DecisionLog(f"sqlite:///{tmp_path}/none/decisions.db").append(gate_draft(1))


def test_a_damaged_database_is_told(place: Place) -> None:
    """Rubbish in place of the database asks for the backup."""
    place.database.write_bytes(b"rubbish" * 1000)
    with pytest.raises(UserError, match="restore it from a backup"):
        place.log().entries()


def _postgres_binaries() -> Path | None:
    found = shutil.which("postgres")
    return Path(found).resolve().parent if found else None


@pytest.fixture
def postgres() -> Iterator[str]:
    """A real Postgres in a folder of its own, reached by a socket."""
    binaries = _postgres_binaries()
    if binaries is None or find_spec("psycopg") is None:
        pytest.skip("needs the Postgres server's binaries and psycopg")
    if os.getuid() == 0 and shutil.which("runuser") is None:
        pytest.skip("Postgres does not run as root, and there is no runuser")
    folder = Path(tempfile.mkdtemp(prefix="pg."))  # a short path: that of a socket has at most 107 characters
    if os.getuid() == 0:  # Postgres refuses to run as root
        shutil.chown(folder, "postgres")

    def call(program: str, *words: str) -> None:
        as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        command = [*as_user, str(binaries / program), "-D", str(folder / "data"), *words]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)

    try:
        call("initdb", "-A", "trust", "-U", "log")
        options = f"-c listen_addresses='' -k {folder} -c fsync=off"
        call("pg_ctl", "-w", "-o", options, "-l", str(folder / "server.log"), "start")
        yield f"postgresql+psycopg://log@/postgres?host={folder}"
        call("pg_ctl", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def race_in_postgres(url: str, head_file: Path, version: int) -> str:
    """One promoter in a process of its own."""
    log = DecisionLog(url, head_file=head_file, key=PROMOTER)
    try:
        log.append(certified_draft(Kind.PROMOTION, issue(PROMOTER, grant_of(version, 1))), expected_sequence=1)
    except Conflict:
        return "conflict"
    return "won"


def test_postgres_keeps_the_log_as_sqlite_does(postgres: str, tmp_path: Path) -> None:
    """Of two processes one wins, what is appended comes back, the audit is clean, and a change shows."""
    import sqlalchemy

    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert sorted(pool.map(race_in_postgres, [postgres] * 2, [tmp_path / "head"] * 2, [1, 2])) == [
            "conflict",
            "won",
        ]
    log = DecisionLog(postgres, head_file=tmp_path / "head", key=PROMOTER)
    log.append(gate_draft(3))
    assert [entry.sequence for entry in log.entries()] == [1, 2]
    assert audit(log, [public_text(PROMOTER)], tmp_path / "head") == []
    engine = sqlalchemy.create_engine(postgres)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE decisions SET override = true WHERE sequence = 2"))
    engine.dispose()
    assert {each.fault for each in audit(log, [public_text(PROMOTER)], tmp_path / "head")} == {Fault.CHANGED}


def test_a_url_that_leads_nowhere_is_told() -> None:
    """A port that is no number is the user's matter; a folder that is not there is no empty log."""
    with pytest.raises(UserError, match="decision log"):
        DecisionLog("postgresql://h:notaport/x").entries()
    with pytest.raises(OutageError, match="has no folder /nonexistent/folder"):
        DecisionLog("sqlite:////nonexistent/folder/log.db").entries()
