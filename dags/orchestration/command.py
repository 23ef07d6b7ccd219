"""An operator that runs one of the project's commands, in the project or in the workspace of a run."""

import json
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from orchestration import reports, settings
from orchestration.links import Link

FAILED_VERDICT, USERS_MISTAKE = 1, 2  # what a repetition does not mend
OPTIONAL = ["null", "string"]  # a type of parameters: the form can be sent without
NO_OPTION = "^(?!-)"  # a pattern of parameters: text that does not look like an option
VERDICT = {"ended": "verdict"}  # told with exit code 1, which is also Python's own for a crash
WORKSPACES = Path(".segloop/workspaces")
OUTLIVES = "SEGLOOP_JOB"  # in the environment of what is not to end with the scheduler
TRIGGERED_BY = "SEGLOOP_TRIGGERED_BY"  # likewise: the account of whoever started the run by hand
DVC_FAILED = 255  # behind it stands the exit code of a stage, which DVC tells in words only
STAGE_FAILED = re.compile(r"failed to run: .*, exited with (\d+)\s*$")
TETHER = Path(__file__).with_name("tether.py")


class FailedVerdict(AirflowFailException):
    """A command has judged, and found wanting."""


class Command(BaseOperator):
    """Runs `python -m MODULE OPTIONS -- WORDS` and returns the facts that the command told.

    A failed verdict and a user's mistake fail at once; an outage, a bug or a signal is tried again, as often as the
    task may.

    Args:
        module: The module, such as `pipeline.release`, with the subcommand where it has one: `dvc repro`.
        words: Its arguments; templated. None is ever taken for an option.
        options: Its options; templated. What renders as nothing is left out.
        lists: Those of the options that render as a list in JSON, and are given as often as it has entries.
        flags: Those of the options that have no value, and are given unless they render as nothing.
        folder: Where it runs; templated. The project's root when empty, else a run's workspace.
        accept: Exit codes beside 0 that are no failure of the task: `returncode` is among the facts.
        tells: Facts without which the command has not done its work, whatever its exit code.
        when: Templated; when it renders as nothing, the task is skipped.
        done_when: A fact that, when true, skips this task and what follows: there is nothing to do.
        publish: Folders or files of `folder` that are put where people can look at them, by the link's name; `{fact}`
            stands for a fact.
        link: Names of facts, by the link's name, whose value is an address.
        see: Addresses by the link's name; templated. What renders as anything else is left out.
    """

    template_fields: Sequence[str] = ("words", "options", "folder", "when", "publish", "see")

    def __init__(  # noqa: PLR0913 - a declaration says all that there is to say of a task
        self,
        *,
        module: str,
        words: Sequence[str] = (),
        options: Mapping[str, str] | None = None,
        lists: Sequence[str] = (),
        flags: Sequence[str] = (),
        folder: str = "",
        accept: Sequence[int] = (),
        tells: Sequence[str] = (),
        when: str = "always",
        done_when: str = "",
        publish: Mapping[str, str] | None = None,
        link: Mapping[str, str] | None = None,
        see: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.module, self.words, self.options, self.folder = module, list(words), dict(options or {}), folder
        self.lists, self.flags, self.tells = list(lists), list(flags), list(tells)
        self.accept, self.when, self.done_when = list(accept), when, done_when
        self.publish, self.link, self.see = dict(publish or {}), dict(link or {}), dict(see or {})
        self.operator_extra_links = tuple(Link(name) for name in (*self.publish, *self.link, *self.see))
        self.addresses: dict[str, str] = {}
        self._process: subprocess.Popen[str] | None = None
        self._triggered_by: str | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Runs the command."""
        self.enter(context)
        if not self.when:
            raise AirflowSkipException("Nothing was asked for.")
        self.addresses |= {name: url for name, url in self.see.items() if url.startswith(("http://", "https://"))}
        words = list(filter(None, self.words))
        behind = ["--", *words] if words else []  # what a run is given may begin with a dash
        try:
            facts = self.run(self.module, [*given(self.options, self.lists, self.flags), *behind], accept=self.accept)
        except FailedVerdict:
            self._publish({}, context)  # what was judged is what somebody will want to look at
            raise
        if missing := [name for name in self.tells if name not in facts]:
            raise AirflowFailException(f"{self.module} did not say what it was run for: {', '.join(missing)}.")
        self.addresses |= {name: str(facts[fact]) for name, fact in self.link.items() if facts.get(fact)}
        self._publish(facts, context)
        if self.done_when and facts.get(self.done_when):
            raise AirflowSkipException(f"Nothing to do: {facts.get('said') or self.done_when}")
        return facts

    def _publish(self, facts: Mapping[str, Any], context: Context) -> None:
        """Puts reports where people can look at them; those whose place an untold fact names are left out."""
        wanted = {}
        for name, path in self.publish.items():
            with suppress(KeyError):
                wanted[name] = path.format_map(facts)
        self.addresses |= reports.publish(self.place(), wanted, context)

    def enter(self, context: Context) -> None:
        """Takes from the run who started it, and refuses parameters that nobody reads."""
        run, dag = context.get("dag_run"), context.get("dag")
        self._triggered_by = getattr(run, "triggering_user_name", None)  # None where a schedule or an event did
        unknown = sorted(set(run.conf or {}) - set(dag.params)) if run and dag else []
        if unknown:
            raise AirflowFailException(
                f"There is no parameter {', '.join(unknown)}; there are {', '.join(dag.params)}."
            )

    def place(self) -> Path:
        """Where commands run.

        Raises:
            AirflowFailException: The folder, which other tasks name in XCom, is neither the project nor a workspace of
                it: whoever may write to XCom could otherwise have any code run with the secrets of the tasks.
        """
        root = settings.root().resolve()
        place = Path(self.folder or root).resolve()
        if place != root and place.parent != (root / WORKSPACES).resolve():
            raise AirflowFailException(f"{place} is no workspace under {root / WORKSPACES}: nothing is run there.")
        return place

    def run(self, module: str, words: Sequence[str], *, accept: Sequence[int] = ()) -> dict[str, Any]:
        """Runs one command, its lines in the task's log.

        Returns:
            What it told, with its `returncode`.

        Raises:
            AirflowFailException: A verdict failed, or the user is mistaken: trying again mends neither.
            AirflowException: Anything else went wrong.
        """
        with tempfile.TemporaryDirectory() as scratch:
            told = Path(scratch) / "outcome.json"
            line = [settings.python(), "-m", *module.split(), *words]
            self.log.info("in %s: %s", self.place(), shlex.join(line[1:]))
            code = self._stream(line, told)
            facts = json.loads(told.read_text(encoding="utf-8")) if told.exists() else {}
        facts["returncode"] = code
        meant = code != FAILED_VERDICT or facts.items() >= VERDICT.items()
        if code and not (code in accept and meant):
            text = f"{module} ended with exit code {code}; its own words stand above."
            at_once = {FAILED_VERDICT: FailedVerdict, USERS_MISTAKE: AirflowFailException} if meant else {}
            raise at_once.get(code, AirflowException)(text)
        return facts

    def detach(self, module: str, words: Sequence[str]) -> None:
        """Starts a command that outlives this task, and whatever ends the scheduler's processes."""
        subprocess.Popen(
            [settings.python(), "-m", module, *words],
            cwd=self.place(),
            env=self._environment() | {OUTLIVES: self.task_id},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def on_kill(self) -> None:
        """Has the command end with the task, at once or soon; Airflow kills a task that takes long over its end."""
        if self._process and self._process.stdin:
            self._process.stdin.close()  # as the system does where the task itself is killed

    def _environment(self) -> dict[str, str]:
        by_hand = {TRIGGERED_BY: self._triggered_by} if self._triggered_by else {}
        return environment_of(os.environ) | by_hand

    def _stream(self, line: Sequence[str], told: Path) -> int:
        with subprocess.Popen(
            [settings.python(), "-IS", str(TETHER), *line],
            cwd=self.place(),
            env=self._environment() | {"SEGLOOP_OUTCOME": str(told)},
            stdin=subprocess.PIPE,  # open as long as this task lives
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # what is meant for the task's group is not for the command
        ) as self._process:
            assert self._process.stdout is not None
            stages_code = 0
            for text in self._process.stdout:
                self.log.info("%s", text.rstrip())
                found = STAGE_FAILED.search(text)
                stages_code = int(found[1]) if found else stages_code
        code = self._process.returncode
        if code == DVC_FAILED and stages_code:
            return stages_code
        return code if code >= 0 else 128 - code


def given(options: Mapping[str, str], lists: Sequence[str] = (), flags: Sequence[str] = ()) -> list[str]:
    """Options as words of a command line.

    Args:
        options: Their values; empty ones are left out.
        lists: Those whose values are lists in JSON, and are repeated.
        flags: Those that stand without their values.
    """
    words: list[str] = []
    for name, value in options.items():
        if name in flags:
            words += [name] if value else []
            continue
        many = json.loads(value or "[]") if name in lists else [value]
        words += [word for each in many if each for word in (name, str(each))]
    return words


def environment_of(every: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command: without Airflow's own settings, in which its passwords and secrets stand."""
    withheld = ("AIRFLOW", "_AIRFLOW", TRIGGERED_BY)
    kept = {name: value for name, value in every.items() if not name.startswith(withheld)}
    path = f"{Path(settings.python()).parent}{os.pathsep}{every.get('PATH', '')}"
    return kept | {"PATH": path, "SEGLOOP_ROOT": str(settings.root())}
