"""Whether the ports of a stack are free, and who holds those that are not."""

import errno
import socket

import psutil

from pipeline.errors import UserError
from pipeline.stack.settings import HOST, MARKER, OFFSET_VARIABLE, Stack

LISTENERS = {"airflow": "api-server", "mlflow": "mlflow", "promoter": "promoter", "reports": "reports"}


def assert_free(stack: Stack) -> None:
    """Refuses to start a stack where somebody listens already.

    Raises:
        UserError: A port is taken; the message names it, its holder and the setting.
    """
    for name, process in LISTENERS.items():
        port = stack.port(name)
        if process in stack.without or is_free(port):
            continue
        key = f"stack.{name}_port"
        raise UserError(
            f"Port {port} of {HOST}, for {name}, is taken by {holder(port)}. Stop that, change {key} in params.yaml, "
            f"or shift all ports by --port-offset or {OFFSET_VARIABLE}, which is {stack.offset} now."
        )


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of the loopback device."""
    with socket.socket() as probe:
        # As servers do: a connection that has just been closed does not hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError:
            raise UserError(f"Port {port} is not for everybody: ports below 1024 are the administrator's.") from None
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True


def holder(port: int) -> str:
    """Who listens on a port, as far as this user may know."""
    try:
        listening = [each for each in psutil.net_connections(kind="tcp") if each.status == psutil.CONN_LISTEN]
    except psutil.AccessDenied:  # macOS tells its administrator only
        return "another process"
    pids = [each.pid for each in listening if each.laddr.port == port and each.pid]
    if not pids:
        return "a process of another user"
    try:
        process = psutil.Process(pids[0])
        stack = process.environ().get(MARKER)
        return f"{process.name()} (pid {pids[0]}{f', of the stack of {stack}' if stack else ''})"
    except psutil.Error:
        return f"pid {pids[0]}"
