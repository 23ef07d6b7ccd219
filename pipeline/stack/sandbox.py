"""Runs a command that cannot read one folder, whoever it runs as: Linux's Landlock, inherited by all it starts.

Landlock (docs.kernel.org/userspace-api/landlock.html) needs no root. Its rules only ever allow: so everything beside
the way to the folder is allowed to be read, and the folder is not. What comes into being later *directly in* a folder
on that way (`/home/ada` on the way to `/home/ada/.config/segloop`) is not allowed either; inside its other subfolders
everything is. Only reading files is restricted, and moving or linking them to where they could be read: a hard link
that was made before, from outside, still leads to the file. A process under Landlock can neither trace one outside nor
read its memory or environment, the promoter's among them; of root the capabilities that would go around it are taken.
"""

import ctypes
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.errors import OutageError, UserError

# The numbers are the same on every architecture: include/uapi/asm-generic/unistd.h.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
VERSION_FLAG = 1
PATH_BENEATH = 1
READ_FILE, REFER = 1 << 2, 1 << 13
# The version that knows REFER: without it, Landlock forbids every move of a file from one folder to another.
OLDEST = 2
SET_NO_NEW_PRIVS, DROP_CAPABILITY = 38, 24
# CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_PERFMON: the last two read other processes' environments past Landlock.
CAPABILITIES = (19, 21, 38)
USAGE = "Usage: python -m pipeline.stack.sandbox --deny-read DIR [--deny-read DIR ...] -- COMMAND ..."
MISTAKE, NO_COMMAND = 2, 127


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def version() -> int:
    """The version of Landlock's interface; 0 where the system has none."""
    if platform.system() != "Linux":
        return 0
    return max(0, int(_libc().syscall(CREATE_RULESET, None, ctypes.c_size_t(0), VERSION_FLAG)))


def works() -> bool:
    """Whether this system can keep a folder from a command."""
    return version() >= OLDEST


def deny_reading(folders: Sequence[Path]) -> None:
    """From now on neither this process nor any that it starts can read a file in these folders; for good.

    Args:
        folders: Folders or files, whether or not they exist yet.

    Raises:
        UserError: A folder is the root of the file system.
        OutageError: The kernel refuses.
    """
    denied = [Path(os.path.realpath(folder)) for folder in folders]
    if Path("/") in denied:
        raise UserError("The root of the file system cannot be denied: nothing could be read at all.")
    attributes = _RulesetAttributes(READ_FILE | REFER)
    rules = _call(CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(ctypes.sizeof(attributes)), 0)
    try:
        # Files may be moved wherever that does not make them readable.
        _allow(rules, Path("/"), REFER)
        for path in beside(Path("/"), denied):
            _allow(rules, path, READ_FILE if path.is_file() else READ_FILE | REFER)
        for capability in CAPABILITIES:
            _libc().prctl(DROP_CAPABILITY, capability, 0, 0, 0)  # fails for whoever has none to lose
        if _libc().prctl(SET_NO_NEW_PRIVS, 1, 0, 0, 0):
            raise OutageError(f"The kernel refuses to give up new privileges: {os.strerror(ctypes.get_errno())}.")
        _call(RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)


def beside(folder: Path, denied: Sequence[Path]) -> Iterator[Path]:
    """Yields what lies beside the ways to what is denied, such that all of it together is everything else.

    Args:
        folder: Where to begin.
        denied: Absolute paths without symbolic links.
    """
    if folder in denied:
        return
    if not any(each.is_relative_to(folder) for each in denied):
        yield folder
        return
    try:
        children = sorted(folder.iterdir())
    except OSError:  # who may not list a folder may not read by it either
        return
    for child in children:
        # A link grants nothing by itself: what it leads to is decided where that lies.
        if not child.is_symlink():
            yield from beside(child, denied)


def main(arguments: Sequence[str]) -> int:
    """Runs the command in place of this process, or tells why not."""
    try:
        folders, command = _parsed(arguments)
        if works():
            deny_reading(folders)
        else:
            named = ", ".join(map(str, folders))
            print(
                "warning: this system has no Landlock (Linux 5.19 and later): what runs here as the same user can read "
                f"{named}.",
                file=sys.stderr,
                flush=True,
            )
        os.execvp(command[0], command)  # noqa: S606 - the command's own words, and no shell
    except (UserError, OutageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"error: {command[0]}: {error.strerror}", file=sys.stderr)
        return NO_COMMAND


def _parsed(arguments: Sequence[str]) -> tuple[list[Path], list[str]]:
    words = list(arguments)
    if "--" not in words or words.index("--") == len(words) - 1:
        raise UserError(f"There is no command after `--`. {USAGE}")
    options, command = words[: words.index("--")], words[words.index("--") + 1 :]
    named = options[1::2]
    if not named or len(options) % 2 or any(word != "--deny-read" for word in options[::2]):
        raise UserError(f"Expected --deny-read DIR, received {' '.join(options)!r}. {USAGE}")
    return [Path(each) for each in named], command


def _allow(rules: int, path: Path, access: int) -> None:
    try:
        file = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # gone since it was listed
        return
    try:
        beneath = _PathBeneath(access, file)
        _call(ADD_RULE, rules, PATH_BENEATH, ctypes.byref(beneath), 0)
    finally:
        os.close(file)


def _call(number: int, *arguments: object) -> int:
    result: int = _libc().syscall(number, *arguments)
    if result < 0:
        raise OutageError(f"Landlock's call {number} fails: {os.strerror(ctypes.get_errno())}.")
    return result


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
