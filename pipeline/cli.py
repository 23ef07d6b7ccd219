"""The `segloop` command: a table of commands, each imported only when it is called."""

import importlib
import sys
from typing import Any

import click
import typer

from pipeline.command import exit_code

# Help lines stand here so that `segloop --help` imports no stage: those take seconds.
STAGES = {
    "demo-data": "Render the demo dataset of warehouse scenes, with faults of known truth on request.",
    "catalog": "Write one row of facts per annotated image.",
    "validate": "Judge the catalogue: a verdict, a quarantine with reasons, Data Docs.",
    "prepare": "Cut the accepted items into memory-mapped tiles; list the holdout with its digest.",
    "train": "Train the model on the tiles.",
    "export": "Write the graph that will serve, with its parity report.",
    "evaluate": "Measure the exported graph on the holdout.",
}
ACTIONS = {
    "use": "Put a project's taxonomy and params in place.",
    "ingest": "Add a batch of images and masks to the dataset.",
    "dataset": "Print the dataset's items, groups, splits, class shares and sizes.",
    "show": "Write items as pictures: image, mask and overlay.",
    "track": "Complete the MLflow run of the last training.",
    "register": "Register the evaluated model as a candidate version in MLflow.",
    "summary": "Print the IoU per class and where to look next.",
}


class Commands(click.Group):
    """A group that knows its commands' names and imports a command's module when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names in the order of the loop."""
        return [*ACTIONS, *STAGES]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """The command of this name, or None when there is none."""
        if cmd_name not in {**STAGES, **ACTIONS}:
            return None
        module = importlib.import_module(f"pipeline.{cmd_name.replace('-', '_')}")
        return command_of(module, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Lists actions and stages apart."""
        for title, commands in (("Actions", ACTIONS), ("Stages (run by `dvc repro`)", STAGES)):
            with formatter.section(title):
                formatter.write_dl(list(commands.items()))


def command_of(module: Any, name: str) -> click.Command:
    """The command line of a module's `main`."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command(name)(module.main)
    return typer.main.get_command(app)


group = Commands(
    name="segloop",
    help="The MLOps loop for semantic segmentation.\n\nExample: segloop ingest photos/ --format folders --batch may",
)


def main() -> None:
    """Runs the command line of the process; see `pipeline.command.run` for the exit codes."""
    sys.exit(exit_code(group))


if __name__ == "__main__":
    main()
