"""Asks Airflow's REST API, as one of the stack's users."""

from typing import Any

from pipeline.errors import OutageError
from pipeline.stack.accounts import Secrets
from pipeline.stack.settings import Stack

TIMEOUT_S = 30
PAGE = 100


class AirflowApi:
    """A session with Airflow.

    Args:
        stack: Whose Airflow.
        secrets: With the user's password.
        user: Its name.
    """

    def __init__(self, stack: Stack, secrets: Secrets, user: str) -> None:
        import requests

        self._base = stack.url("airflow")
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy between here and the loopback device
        account = {"username": user, "password": secrets.passwords[user]}
        token = self._asked("POST", "/auth/token", json=account)["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **query: str | int) -> dict[str, Any]:
        """What lies at a path below `/api/v2`.

        Raises:
            OutageError: Airflow does not answer, or refuses.
        """
        return self._asked("GET", f"/api/v2{path}", params=query)

    def post(self, path: str, **content: Any) -> dict[str, Any]:
        """Makes something anew.

        Raises:
            OutageError: Airflow does not answer, or refuses.
        """
        return self._asked("POST", f"/api/v2{path}", json=content)

    def every(self, path: str, key: str) -> list[dict[str, Any]]:
        """All elements of a list that comes in pages.

        Args:
            path: Of the list.
            key: The elements' name in the answer.
        """
        found: list[dict[str, Any]] = []
        while True:
            page = self.get(path, limit=PAGE, offset=len(found))
            found += page[key]
            if not page[key] or len(found) >= page["total_entries"]:
                return found

    def _asked(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        import requests

        try:
            answer = self._session.request(method, self._base + path, timeout=TIMEOUT_S, **options)
        except requests.RequestException as error:
            raise OutageError(f"Airflow at {self._base} does not answer: {type(error).__name__}.") from None
        if not answer.ok:
            # The answer to a wrong password repeats what was sent: its status says enough.
            raise OutageError(f"Airflow at {self._base} answers {answer.status_code} to {method} {path}.")
        content: dict[str, Any] = answer.json()
        return content
