"""Releases with real git and real DVC: what is made, what is verified, what is left alone."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import release_case
import yaml
from release_case import CLASSES, add_batch, assert_trustworthy, enter, more_items, objects, relabelled, tags
from tiny import tiny_items
from workspace import Workspace

from pipeline import migrate, release, releases
from pipeline.dataset import DatasetParams
from pipeline.errors import OutageError, UserError, VerdictError
from pipeline.images import encode_mask
from pipeline.ingest_guard import locked
from pipeline.params import read_section
from pipeline.part_writer import write_batch
from pipeline.releasing.making import PARAMS, Making, ReleaseParams, start
from pipeline.releasing.reader import open_release
from pipeline.releasing.steps import STEPS, make, publish, verify

# A deprecation between DVC and a library of its own.
pytestmark = [
    pytest.mark.e2e,  # a release takes half a minute
    pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A validated workspace that the others are copies of."""
    return release_case.make_template(tmp_path_factory.mktemp("release") / "workspace")


@pytest.fixture(scope="module")
def released_template(template: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with one release, to be copied."""
    copy = release_case.copy_of(template, tmp_path_factory.mktemp("released"))
    copy.ok("python", "-m", "pipeline.release", "--message", "the first one")
    return copy


@pytest.fixture
def project(template: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace before its first release."""
    return enter(release_case.copy_of(template, tmp_path), monkeypatch)


@pytest.fixture
def released(released_template: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace with the release data/v1."""
    return enter(release_case.copy_of(released_template, tmp_path), monkeypatch)


def git_remote(workspace: Workspace, name: str = "origin") -> Path:
    """An empty bare repository beside the workspace, as its git remote."""
    bare = workspace.root.parent / f"{name}.git"
    workspace.ok("git", "init", "-q", "--bare", str(bare))
    workspace.ok("git", "remote", "add", name, str(bare))
    return bare


def card(workspace: Workspace, tag: str) -> dict[str, object]:
    """The card of a release as its tag has it."""
    found = json.loads(workspace.ok("git", "show", f"{tag}:data/releases/{tag.removeprefix('data/')}.json"))
    assert isinstance(found, dict)
    return found


def spoil(file: Path, content: bytes | None) -> None:
    """Puts other bytes into an object on the remote, or takes it away."""
    file.parent.chmod(0o755)
    file.unlink()
    if content is not None:
        file.write_bytes(content)
        file.chmod(0o444)  # as DVC leaves objects, which it then believes unread


def test_the_first_release_is_a_commit_a_tag_and_verified_bytes(released: Workspace) -> None:
    """The tag is annotated with the message, at a commit whose pointer names objects that the remote has unharmed."""
    assert tags(released) == ["data/v1"]
    assert released.ok("git", "cat-file", "-t", "data/v1").strip() == "tag"
    assert released.ok("git", "tag", "--list", "-n1", "data/v1").split(maxsplit=1)[1].strip() == "the first one"
    assert len(objects(released)) == 2
    assert_trustworthy(released)


def test_the_release_leaves_nothing_to_commit(released: Workspace) -> None:
    """Pointer, card and the new remote are in the commit; git has nothing more to say."""
    assert released.ok("git", "status", "--porcelain") == ""
    changed = released.ok("git", "show", "--format=", "--name-only", "HEAD").split()
    assert changed == [
        ".dvc/config",
        "data/dataset.dvc",
        *(f"data/releases/v1.{kind}" for kind in ("items.csv", "json", "md")),
    ]


def test_the_card_tells_what_is_in_the_release(released: Workspace) -> None:
    """Items, groups, splits and class shares are those of the dataset, and its bytes are those on disk."""
    facts = card(released, "data/v1")
    content = facts["content"]
    assert isinstance(content, dict)
    assert (content["items"], content["groups"], content["superseded"]) == (16, 8, 0)
    assert content["splits"]["test"] == {"items": 4, "groups": 2, "accepted": 4}
    assert [each["name"] for each in content["classes"]] == CLASSES
    assert sum(each["px"] for each in content["classes"]) == 16 * 48 * 64
    assert content["validation"]["passed"] is True
    assert facts["schema"] == 1
    part = released.root / "data" / "dataset" / "first" / "part-00000.parquet"
    assert facts["bytes"] == part.stat().st_size


def test_the_default_remote_is_set_up_beside_the_workspace(released: Workspace) -> None:
    """Without a configured remote a folder becomes it, with DVC's own verification on."""
    config = (released.root / ".dvc" / "config").read_text()
    assert "url = ../../segloop-remote" in config
    assert "verify = True" in config


def test_nothing_new_makes_nothing_new(released: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """The same content again is neither committed nor tagged nor read back."""
    before = released.ok("git", "rev-parse", "HEAD")
    release.main("again")
    capsys.readouterr()
    release.main("and again")
    assert tags(released) == ["data/v1"]
    assert released.ok("git", "rev-parse", "HEAD") == before
    said = capsys.readouterr().out
    assert "nothing is new since data/v1" in said
    assert "0 of them read back" in said


def test_a_missing_object_is_sent_again(released: Workspace) -> None:
    """What the remote has lost since comes back, though DVC holds the folder for pushed."""
    lost = next(file for name, file in objects(released).items() if not name.endswith(".dir"))
    content = lost.read_bytes()
    spoil(lost, None)
    released.ok("dvc", "push")
    assert not lost.exists()
    release.main("again")
    assert lost.read_bytes() == content


def test_a_corrupt_object_is_sent_again(released: Workspace) -> None:
    """Bytes that rotted on the remote are found by their digest and replaced."""
    rotten = next(file for name, file in objects(released).items() if not name.endswith(".dir"))
    content = rotten.read_bytes()
    spoil(rotten, bytes(len(content)))
    release.main("again")
    assert rotten.read_bytes() == content


def test_a_corrupt_list_is_sent_again(released: Workspace) -> None:
    """The list of the folder's files is verified like the files."""
    rotten = next(file for name, file in objects(released).items() if name.endswith(".dir"))
    spoil(rotten, b"[]")
    release.main("again")
    assert_trustworthy(released)


def test_a_remote_that_takes_nothing_is_an_outage(project: Workspace) -> None:
    """Where the remote is no folder, nothing is tagged and the exit code says outage."""
    release_case.remote_of(project).write_text("in the way")
    with pytest.raises(OutageError, match="storage"):
        release.main("no room")
    assert tags(project) == []


def test_a_failed_verdict_stops_the_release(project: Workspace) -> None:
    """A dataset that fails its validation is neither pushed nor tagged."""
    project.set_params({"validate": {"min_images_per_class": 100}})
    with pytest.raises(VerdictError, match="docs/index"):
        release.main("bad")
    assert tags(project) == []
    assert not release_case.remote_of(project).exists()


def test_a_validation_that_cannot_run_is_no_verdict(project: Workspace) -> None:
    """Where a stage stops for another reason, the error is the user's, not a verdict."""
    (project.root / "data" / "splits.csv").write_text("nonsense\n")
    with pytest.raises(UserError, match="dvc repro validate"):
        release.main("bad")


def test_what_the_user_has_staged_stays_out(project: Workspace) -> None:
    """Other staged and unstaged changes are neither committed nor lost."""
    (project.root / "notes.txt").write_text("mine")
    project.ok("git", "add", "notes.txt")
    (project.root / "dvc.yaml").write_text((project.root / "dvc.yaml").read_text() + "\n")
    release.main("only the data")
    assert project.ok("git", "status", "--porcelain").splitlines() == [" M dvc.yaml", "A  notes.txt"]


def test_a_dry_run_changes_nothing(project: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """It validates and says what would be made; no remote, commit, tag or pointer comes of it."""
    before = project.ok("git", "status", "--porcelain"), project.ok("git", "rev-parse", "HEAD")
    release.main("look", dry_run=True)
    assert "would release data/v1: 16 items in 8 groups" in capsys.readouterr().out
    assert (project.ok("git", "status", "--porcelain"), project.ok("git", "rev-parse", "HEAD")) == before
    assert tags(project) == []
    assert not release_case.remote_of(project).exists()


def tree(root: Path) -> dict[str, bytes | None]:
    """Every file's bytes, and every folder, git's and DVC's own among them."""
    return {str(each.relative_to(root)): each.read_bytes() if each.is_file() else None for each in root.rglob("*")}


def test_a_dry_run_leaves_every_byte_as_it_is(
    released: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a new batch and a new limit both stages have to run, and no file is written, changed or removed."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(released.root.parent / "site"))
    add_batch(released, "second", more_items(3, seed=7))
    released.set_params({"validate": {"max_void_share": 0.4}})
    before = tree(released.root)
    release.main("look", dry_run=True)
    assert "would release data/v2: 19 items in 9 groups; 3 added since data/v1" in capsys.readouterr().out
    after = tree(released.root)
    assert sorted(after) == sorted(before)
    assert [name for name in after if after[name] != before[name]] == []


def test_a_dry_run_leaves_what_a_stage_makes(project: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage that would make the dataset anew makes it aside, also where git would keep the dataset."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(project.root.parent / "site"))
    stages = yaml.safe_load((project.root / "dvc.yaml").read_text())
    stages["stages"]["copy"] = {"cmd": "cp -r data/dataset data/made", "deps": ["data/dataset"], "outs": ["data/made"]}
    (project.root / "dvc.yaml").write_text(yaml.safe_dump(stages))
    project.set_params({"dataset": {"path": "data/made"}})
    project.ok("dvc", "repro", "copy")
    (project.root / ".gitignore").write_text("/.site/\n__pycache__/\n")
    add_batch(project, "second", more_items(3, seed=7))
    before = tree(project.root)
    release.main("look", dry_run=True)
    assert tree(project.root) == before


def test_branch_and_tag_reach_the_git_remote(project: Workspace) -> None:
    """Where a git remote is set, both are pushed."""
    bare = git_remote(project)
    release.main("shared")
    refs = project.ok("git", "ls-remote", str(bare))
    assert "refs/tags/data/v1" in refs
    assert project.ok("git", "rev-parse", "HEAD").strip() in refs


def test_a_git_remote_that_is_away_is_an_outage_before_anything_is_done(project: Workspace) -> None:
    """A number cannot be chosen without knowing the others' releases."""
    project.ok("git", "remote", "add", "origin", str(project.root.parent / "nowhere.git"))
    with pytest.raises(OutageError, match="origin"):
        release.main("alone")
    assert tags(project) == []


def test_a_tag_that_did_not_reach_the_remote_is_pushed_later(released: Workspace) -> None:
    """A release whose last step failed is finished by the next call, without a new release."""
    bare = git_remote(released)
    release.main("again")
    assert tags(released) == ["data/v1"]
    assert "refs/tags/data/v1" in released.ok("git", "ls-remote", str(bare))


def asked(workspace: Workspace, message: str, *, no_push: bool = False) -> Making:
    """A release that has not begun."""
    sections = read_section(ReleaseParams, "release", PARAMS), read_section(DatasetParams, "dataset", PARAMS)
    return Making(workspace.root, *sections, message, no_push)


def begun(workspace: Workspace, *, no_push: bool = False) -> Making:
    """The last release of a workspace as the last step finds it."""
    making = asked(workspace, "again", no_push=no_push)
    start(making)
    making.tag, making.unchanged = making.last, True
    return making


def test_releases_older_than_the_git_remote_reach_it(released: Workspace) -> None:
    """Every tag that the remote lacks is pushed, not the newest alone."""
    released.ok("git", "tag", "-a", "-m", "the second", "data/v2")
    bare = git_remote(released)
    publish(begun(released))
    refs = released.ok("git", "ls-remote", str(bare))
    assert all(f"refs/tags/{tag}" in refs for tag in ("data/v1", "data/v2"))


def test_a_git_remote_that_cannot_be_read_is_told_with_the_likely_cause(released: Workspace) -> None:
    """Tasks of a stack cannot read what was made beside it since; the folder is there all the same."""
    bare = git_remote(released)
    (bare / "HEAD").unlink()
    with pytest.raises(OutageError, match="If it was made after `segloop up`"):
        begun(released)


@pytest.mark.parametrize("by", ["--no-push", "release.push_git"])
def test_without_a_push_the_git_remote_stays_as_it_is(
    released: Workspace, capsys: pytest.CaptureFixture[str], by: str
) -> None:
    """Where it is not wanted nothing is pushed to git, and that is said."""
    bare = git_remote(released)
    released.set_params({"release": {"push_git": by == "--no-push"}})
    publish(begun(released, no_push=by == "--no-push"))
    assert released.ok("git", "ls-remote", str(bare)) == ""
    assert f"not pushed to the git remote 'origin', as {by} asks: data/v1" in capsys.readouterr().out


@pytest.mark.parametrize(("no_push", "said"), [(False, "would push to"), (True, "would leave alone")])
def test_a_dry_run_names_where_it_would_push(released: Workspace, no_push: bool, said: str) -> None:
    """Remote, address, branch and tags are told beforehand, also where nothing is new."""
    bare = git_remote(released)
    line = list(release.planned(begun(released, no_push=no_push)))[-1]
    assert line.startswith(said)
    assert f"'origin' ({bare}): branch {released.ok('git', 'branch', '--show-current').strip()}, data/v1" in line


def test_the_inboxs_verdicts_are_in_the_commit(released: Workspace) -> None:
    """Who clones the release knows which batches it has taken."""
    released.set_params({"inbox": {"ledger": "data/inbox.csv"}})
    (released.root / "data/inbox.csv").write_text("batch\n")
    assert Path("data/inbox.csv") in begun(released).files


def test_the_lock_that_the_validation_wrote_is_in_the_commit(released: Workspace) -> None:
    """A release with new items leaves nothing of DVC's uncommitted."""
    add_batch(released, "second", more_items(3, seed=7))
    released.ok("git", "add", "data/splits.csv")
    release.main("more")
    assert released.ok("git", "status", "--porcelain") == ""
    assert "dvc.lock" in released.ok("git", "show", "--format=", "--name-only", "HEAD").split()


def test_a_release_of_somebody_else_must_be_fetched_first(released: Workspace) -> None:
    """A tag on the remote that is unknown here stops the release before it takes the same number."""
    bare = git_remote(released)
    released.ok("git", "push", "-q", str(bare), "data/v1:refs/tags/data/v2", "data/v1")
    with pytest.raises(UserError, match="data/v2"):
        release.main("clash")


def test_a_rejected_push_names_the_way_out(released: Workspace) -> None:
    """When somebody pushed to the branch in between, neither branch nor tag arrives, and the remedy is told."""
    bare = git_remote(released)
    other = released.root.parent / "other"
    released.ok("git", "clone", "-q", str(released.root), str(other))
    for command in (
        ("commit", "-q", "--allow-empty", "-m", "theirs"),
        ("push", "-q", str(bare), "HEAD"),
    ):
        released.ok("git", "-C", str(other), "-c", "user.name=b", "-c", "user.email=b@x", *command)
    released.ok("git", "commit", "-q", "--allow-empty", "-m", "mine")
    with pytest.raises(UserError, match="git tag -d data/v1"):
        release.main("again")
    assert "refs/tags" not in released.ok("git", "ls-remote", str(bare))


def test_credentials_in_the_shared_configuration_are_refused(project: Workspace) -> None:
    """A release commits .dvc/config, so a password in it is an error that names the key and not the value."""
    project.ok("dvc", "remote", "add", "-d", "bucket", "s3://bucket/path")
    project.ok("dvc", "remote", "modify", "bucket", "secret_access_key", "hunter2")
    with pytest.raises(UserError, match="secret_access_key") as raised:
        release.main("leak")
    assert "hunter2" not in str(raised.value)


def test_an_unfinished_merge_stops_the_release(project: Workspace) -> None:
    """Git cannot commit single files in the middle of a merge: that is said before any work."""
    (project.root / ".git" / "MERGE_HEAD").write_text(project.ok("git", "rev-parse", "HEAD"))
    with pytest.raises(UserError, match="a merge"):
        release.main("now")


def test_a_message_is_needed(project: Workspace) -> None:
    """A list of releases without words helps nobody."""
    with pytest.raises(UserError, match="message"):
        release.main("  \n")
    assert tags(project) == []


def test_a_second_release_at_the_same_time_is_refused(project: Workspace) -> None:
    """One release at a time in a workspace."""
    with release.only_one(project.root / release.LOCK), pytest.raises(OutageError, match="Another release"):
        release.main("both")


def test_a_second_release_moves_only_new_parts(released: Workspace) -> None:
    """Three further items cost one part and one list on the remote; the card counts what changed."""
    before = set(objects(released))
    names = ["item-001", "item-005"]
    add_batch(released, "second", [*relabelled(names, lambda mask: mask.clip(0, 3)), *more_items(3, seed=7)])
    release.main("more")
    new = set(objects(released)) - before
    assert sorted(name.endswith(".dir") for name in new) == [False, True]
    assert set(objects(released)) >= before
    facts = card(released, "data/v2")
    none = {"removed": 0, "replaced": 0, "migrated": 0}
    held_out = {"added": 0, "relabelled": 1, **none}
    expected = {"since": "data/v1", "added": 3, "relabelled": 2, "moved": 0, **none, "holdout": held_out}
    assert facts["changes"] == expected
    content = facts["content"]
    assert isinstance(content, dict)
    assert (content["items"], content["superseded"]) == (19, 2)
    assert_trustworthy(released)


def test_a_changed_taxonomy_is_a_new_release(released: Workspace) -> None:
    """The content is more than the bytes: another name for a class is something new."""
    file = released.root / "data" / "taxonomy.yaml"
    taxonomy = yaml.safe_load(file.read_text())
    taxonomy["classes"][4]["critical"] = True
    file.write_text(yaml.safe_dump(taxonomy))
    release.main("obstacles are critical now")
    assert tags(released) == ["data/v1", "data/v2"]


def test_what_a_migration_rewrote_is_not_relabelled(released: Workspace) -> None:
    """On the card stand apart the item that somebody drew anew and those whose ids a migration alone changed."""
    (released.root / "m.yaml").write_text("{from: 1, note: n, merge: {floor: background}}")
    migrate.main(released.root / "m.yaml")
    [item] = relabelled(["item-001"], lambda mask: (mask * 0).clip(0, 3), revision=3)
    mask = encode_mask(np.arange(48 * 64, dtype=np.uint8).reshape(48, 64) % 4)
    classes = [name for name in CLASSES if name != "floor"]
    write_batch(released.root / "data/dataset", "anew", [replace(item, mask=mask)], ["camera"], classes)
    release.main("floor is background now")
    changes = card(released, "data/v2")["changes"]
    assert isinstance(changes, dict)
    assert (changes["relabelled"], changes["migrated"]) == (1, 15)
    page = (released.root / "data/releases/v2.md").read_text()
    assert "| relabelled by people | 1 |" in page
    assert "| rewritten by a taxonomy migration alone | 15 |" in page


def test_a_rewritten_split_ledger_is_refused(released: Workspace) -> None:
    """A group that models learnt from cannot become holdout by an edit of the ledger."""
    ledger = released.root / "data" / "splits.csv"
    ledger.write_text(ledger.read_text().replace(",train,", ",test,", 1))
    with pytest.raises(UserError, match=r"append-only.*data/v1"):
        release.main("edited")


def test_a_dataset_that_was_not_fetched_is_no_release(released: Workspace) -> None:
    """In a fresh clone the way to the data is told, before DVC misses it."""
    released.ok("rm", "-r", "data/dataset")
    with pytest.raises(UserError, match="dvc pull"):
        release.main("nothing here")


def test_items_that_nobody_removed_do_not_get_lost(released: Workspace) -> None:
    """A batch that git brought and DVC did not would else leave the dataset without a word; on purpose it may."""
    released.ok("rm", "-r", "data/dataset/first")
    add_batch(released, "again", tiny_items(groups=6))
    with pytest.raises(
        UserError, match="4 items of data/v1 are not here, though nobody removed them, first 'item-012'"
    ):
        release.main("without them")
    assert tags(released) == ["data/v1"]
    release.main("without them", without_lost=True)
    assert tags(released) == ["data/v1", "data/v2"]


def test_a_misspelt_item_of_a_release_is_told_what_is_near(released: Workspace) -> None:
    """The error suggests the name that comes nearest."""
    with pytest.raises(UserError, match="Did you mean 'item-001'"):
        open_release(released.root, "data/v1").item("itme-001")


def test_the_list_shows_every_release(released: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """A row a release: its message, its items, and whether it was pushed."""
    assert tags(released) == ["data/v1"]
    releases.main()
    said = capsys.readouterr().out
    assert "data/v1" in said
    assert "the first one" in said
    assert "no git remote" in said


def test_the_list_says_what_is_not_pushed(released: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """A tag that the git remote lacks is shown with the command that pushes it."""
    git_remote(released)
    releases.main()
    assert "`segloop release` pushes it" in capsys.readouterr().out


def test_a_dataset_that_a_stage_makes_is_released_by_its_lock(project: Workspace) -> None:
    """Where a stage's output is the dataset, dvc.lock and dvc.yaml are the pointer, and nothing is added."""
    stages = yaml.safe_load((project.root / "dvc.yaml").read_text())
    stages["stages"]["copy"] = {"cmd": "cp -r data/dataset data/made", "deps": ["data/dataset"], "outs": ["data/made"]}
    (project.root / "dvc.yaml").write_text(yaml.safe_dump(stages))
    project.set_params({"dataset": {"path": "data/made"}})
    release.main("made")
    listed = project.ok("git", "show", "--format=", "--name-only", "HEAD").split()
    assert {"dvc.lock", "dvc.yaml"} <= set(listed)
    assert not (project.root / "data" / "made.dvc").exists()
    lock = yaml.safe_load(project.ok("git", "show", "data/v1:dvc.lock"))
    assert lock["stages"]["copy"]["outs"][0]["md5"] in objects(project)


def test_what_changes_after_the_verdict_is_not_released(project: Workspace) -> None:
    """A taxonomy that is edited while the remote is verified would be tagged beside masks that nobody judged by it."""

    def edit(making: Making) -> None:
        with (making.root / "data" / "taxonomy.yaml").open("a") as file:
            file.write("# another\n")

    place = STEPS.index(verify) + 1
    with pytest.raises(UserError, match=r"data/taxonomy.yaml changed while the release was made"):
        make(asked(project, "now"), [*STEPS[:place], edit, *STEPS[place:]])
    assert tags(project) == []


def test_a_release_waits_for_an_ingestion(project: Workspace) -> None:
    """What writes into the dataset, its ledger or its taxonomy and the release take turns."""
    command = [sys.executable, "-m", "pipeline.release", "--message", "x"]
    with locked(project.root / "data" / "taxonomy.yaml"):
        waiting = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        try:
            assert waiting.stderr is not None
            assert any("waiting for another ingestion" in line for line in waiting.stderr)
        finally:
            waiting.kill()
            waiting.communicate()
    assert tags(project) == []


def test_an_empty_dataset_is_no_release(project: Workspace) -> None:
    """The verdict of an empty dataset is a failure, and stays one here."""
    project.ok("rm", "-r", "data/dataset")
    write_batch(project.root / "data" / "dataset", "none", list(tiny_items(groups=0)), ["camera"], CLASSES)
    with pytest.raises(VerdictError):
        release.main("nothing")


def test_a_dry_run_counts_what_would_change(released: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """With a new batch, the changes against the last release are told, and no release is made."""
    add_batch(released, "second", [*relabelled(["item-001"], lambda mask: mask.clip(0, 3)), *more_items(3, seed=7)])
    release.main("look", dry_run=True)
    said = capsys.readouterr().out
    assert "would release data/v2: 19 items in 9 groups; 3 added, 1 relabelled since data/v1" in said
    assert tags(released) == ["data/v1"]
