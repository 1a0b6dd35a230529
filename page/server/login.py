"""Who may see the page, where APP_USERNAME and APP_PASSWORD are set: one account for all.

Gradio asks for name and password, keeps who is logged in, and refuses everybody else. Here they
are compared, and a page of another site is kept from calling in the visitor's name.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.types import Scope

USERNAME, PASSWORD = "APP_USERNAME", "APP_PASSWORD"


@dataclass(frozen=True)
class Account:
    """The name and the password that open the page; as Gradio's `auth=` it says who may enter."""

    username: str  # without spaces around it, which Gradio takes from what a visitor types
    password: str = field(repr=False)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Account | None:
        """The account that the environment sets; None for a page that everybody may see.

        Raises:
            ValueError: when it sets one of the two words only.
        """
        username = environment.get(USERNAME, "").strip()
        password = environment.get(PASSWORD, "")
        if bool(username) != bool(password):
            found, missing = (USERNAME, PASSWORD) if username else (PASSWORD, USERNAME)
            raise ValueError(
                f"{found} is set and {missing} is not, expected both for a page with a login or "
                f"neither for one without; set {missing} too."
            )
        return cls(username, password) if username else None

    def __call__(self, username: str, password: str) -> bool:
        """Whether these are the two words; how long it takes does not tell how much is right."""
        is_name = hmac.compare_digest(username.encode(), self.username.encode())
        is_password = hmac.compare_digest(password.encode(), self.password.encode())
        return is_name and is_password


def call_of_another_site(scope: Scope) -> str | None:
    """Why a page of another site may call nothing where there is a login; None for other requests.

    The browser would send the visitor's session along, and Gradio lets every site read the answer.
    Programs say nothing of a site and go on, and so does who follows a link to the app.
    """
    headers = Headers(scope=scope)
    is_foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site")
    if is_foreign and headers.get("sec-fetch-mode") != "navigate":
        return "With a login, the app answers its own pages and programs only."
    return None
