"""The `segloop` command: a table of commands, each imported only when it is called."""

import importlib
import re
import sys

import click

from pipeline.command import run

# Help lines stand here so that `segloop --help` imports no stage: those take seconds.
STAGES = {
    "demo-data": "Render the demo dataset of warehouse scenes, with faults of known truth on request.",
    "catalog": "Measure every annotated image: sizes, class pixels, components, hashes, brightness, blur.",
    "validate": "Judge the catalogue: a verdict, a quarantine with reasons, Data Docs.",
    "prepare": "Cut the accepted items into memory-mapped tiles; list the holdout with its digest.",
    "train": "Trains a network on prepared tiles; run again after a kill, it resumes from the last finished epoch.",
    "export": "Export the trained network as the graph that serves, calibrated, and prove that it computes the same.",
    "evaluate": "Measure the exported graph on the full-size images of the holdout.",
}
ACTIONS = {
    "use": "Put a project's taxonomy and params in place.",
    "ingest": "Add a batch of images and masks to the dataset.",
    "batch manifest": "Write the manifest of a folder of annotated images, which makes it a batch for the inbox.",
    "batch demo": "Render warehouse scenes as a batch for the inbox, to try the loop with.",
    "inbox": "Take annotated batches from an inbox in object storage or a folder.",
    "release": "Release the dataset: validated, pushed, verified on the remote, tagged data/vN.",
    "releases": "Print the releases of the dataset.",
    "diff": "Compare two releases: items, labels, class shares, taxonomy.",
    "purge": "Remove items for good: from the dataset, every release, the cache and the remotes.",
    "reproduce": "Train on a release by its name, in a workspace of its own: the same items as then.",
    "resplit": "Move groups to another split, on the record.",
    "migrate": "Migrate the taxonomy, and the masks whose pixels change with it.",
    "dataset": "Print the dataset's items, groups, splits, class shares and sizes.",
    "show": "Write items as pictures: image, mask and overlay.",
    "labels check": "Check the masks of the dataset, and list those that are probably wrong.",
    "labels folds": "Train the networks by which `labels check` judges masks that they never saw.",
    "labels export": "Export doubted items as tasks for an annotation tool, with their masks as they are.",
    "labels read": "Read annotators' answers back: changed masks become new revisions, unchanged ones are kept.",
    "labels decide": "Record what is to become of doubted items: keep, remove or relabel.",
    "labels agreement": "Measure how well annotators of the same images agree, and make one mask out of several.",
    "track": "Complete the MLflow run of the last training.",
    "register": "Register the evaluated model as a candidate version in MLflow.",
    "summary": "Print the IoU per class and where to look next.",
    "gate": "Judge a version against the service levels and the champion.",
    "dossier": "Write the page that a reviewer looks at before deciding on a version.",
    "reviewer": "Keep the allow-list of reviewers.",
    "review": "Record a reviewer's signed decision about a judged version.",
    "promote": "Let an approved version serve.",
    "rollback": "Give the place of the champion back to the version before it, at once.",
    "versions": "Print the versions of the model, and where each one stands.",
    "lineage": "Print what a version was made from, back to the masks, and prove it.",
    "verify": "Check a version's certificate against the bytes that would be loaded.",
    "audit": "Check that nobody has tampered with the decision log.",
    "approval": "Print what a reviewer is asked in Airflow about a judged version.",
    "promotion ask": "Ask the promoter to take the answer of a run of Airflow.",
    "promoter": "Run the promoter, which turns answers given in Airflow into reviews and promotions.",
    "workspace make": "Make the workspace of a training run, named by release, code and params; one that has "
    "finished is left alone.",
    "workspace commit": "Commit what a run decided and measured (lock, params, metrics, record) to the branch "
    "runs/KEY.",
    "workspace remove": "Remove the workspace of a run, never one with a running job; branch and cache keep what "
    "counts.",
    "job submit": "Submit a stage of the workspace as a job, or attach to the one that computes the same.",
    "job status": "Print where the jobs of the workspace stand.",
    "job follow": "Print the log of a stage's job while it runs, and exit as the job does.",
    "job cancel": "End a stage's job with all its processes; what it had finished stays, and a later attempt goes on "
    "from there.",
    "job restore": "Bring the results of a stage's job into the workspace; nothing is computed here.",
    "job run": "Compute a job on the machine that a launcher chose; launchers call it, people need not.",
    "up": "Start the loop on this machine: MLflow, Airflow, the promoter and the reports.",
    "down": "Stop the loop on this machine, with everything that it started.",
    "status": "Print what runs of the loop on this machine, where it is, and whether it is healthy.",
    "reports": "Serve the reports of all runs as web pages, on this machine unless told otherwise.",
    "clean": "Remove what nobody needs any more, by the retention in params.yaml.",
    "registry": "Set the registry up, or bring MLflow in line with the decision log.",
}


class Listing(click.Group):
    """Lists the commands; `main` dispatches to them, so that a command's module is imported when it is called."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Lists actions and stages apart."""
        for title, commands in (("Actions", ACTIONS), ("Stages (run by `dvc repro`)", STAGES)):
            with formatter.section(title):
                formatter.write_dl(list(commands.items()))


def _listed(commands: dict[str, str]) -> list[click.Command]:
    return [click.Command(name, help=line) for name, line in commands.items()]


listing = Listing(
    name="segloop",
    help="The MLOps loop for semantic segmentation.\n\nExample: segloop ingest photos/ --format folders --batch may",
    commands=_listed({**ACTIONS, **STAGES}),
)


def main() -> None:
    """Runs the command line of the process; see `pipeline.command.run` for the exit codes."""
    arguments = sys.argv[1:]
    for words in (2, 1):  # `labels check` is a command, as `ingest` is
        name = " ".join(arguments[:words])
        if name in listing.commands:
            module = importlib.import_module(f"pipeline.{re.sub('[- ]', '_', name)}")
            run(module.main, arguments[words:], name=f"segloop {name}")
    family = {name.split()[1]: line for name, line in ACTIONS.items() if name.split()[0] == " ".join(arguments[:1])}
    if family:
        click.Group(name=arguments[0], commands=_listed(family))(arguments[1:], prog_name=f"segloop {arguments[0]}")
    listing(arguments, prog_name="segloop")


if __name__ == "__main__":
    main()
