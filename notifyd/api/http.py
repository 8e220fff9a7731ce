"""The HTTP seam. A plugin sees these two shapes and never the library beneath them."""

from __future__ import annotations

import email.utils
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Protocol, Self

from pydantic import Field, ValidationInfo, model_validator

from notifyd.api.errors import Reject, Retry
from notifyd.api.files import CaFile, FilePath, show
from notifyd.api.options import SETTINGS_ONLY, Options, SecretUrl, sends

_COME_AGAIN = frozenset({408, 425, 429})
_LONGEST_WAIT = 1e9  # seconds; the daemon waits far less, and a number without an end is no duration


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. Header names are lower case; `excerpt` is the start of the body as clean text.

    `note` is for the history: the rest of the body did not come, or not in time, though the status did.
    """

    status: int
    headers: Mapping[str, str]
    excerpt: str
    note: str = ""

    def raise_for_status(self, now: datetime | None = None) -> None:
        """Say what the status means for a delivery: the one place where HTTP statuses are classified.

        2xx is sent. 408, 425, 429 and 5xx raise Retry (with Retry-After, if given); everything
        else, a redirect included, raises Reject.
        """
        if 200 <= self.status < 300:
            return
        reason = f"HTTP {self.status}" + (f": {self.excerpt}" if self.excerpt else "")
        if self.status in _COME_AGAIN or self.status >= 500:
            raise Retry(reason, self.retry_after(now), status_code=self.status)
        if 300 <= self.status < 400:
            reason = f"HTTP {self.status}: it redirects, and redirects are not followed; use the final URL"
        raise Reject(reason, status_code=self.status)

    def retry_after(self, now: datetime | None = None) -> float | None:
        """The Retry-After header in seconds from `now` (RFC 9110: seconds, or a date), if it can be read."""
        value = self.headers.get("retry-after", "").strip()
        if value.isascii() and value.isdigit():
            return min(float(value), _LONGEST_WAIT)
        try:
            moment = email.utils.parsedate_to_datetime(value)
        except (TypeError, ValueError):
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())


class Http(Protocol):
    """One request, one answer. Redirects are not followed; names are resolved, guarded and pinned beneath."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout: float | None = None,
    ) -> Answer:
        """Send and wait for the answer; `timeout` is the total in seconds (default: the config's).

        Raises Retry when no answer came (refused, reset, timed out, DNS, TLS) and Reject when the
        target may not be called at all.
        """
        ...


class HttpOptions(Options):
    """Options of a channel that speaks HTTP. Subclass it, and `ctx.http` does what these keys of your config say."""

    ca_file: CaFile | None = Field(
        None, description="A PEM file of the certificates to trust instead of the system's, for a CA of your own."
    )
    client_cert: FilePath | None = Field(
        None, description="A PEM file of the certificate to show to an endpoint that asks for one, with its chain."
    )
    client_key: FilePath | None = Field(
        None, description="A PEM file of the key of client_cert. Default: client_cert holds it too."
    )
    proxy: Annotated[SecretUrl, SETTINGS_ONLY] | None = Field(
        None, description="The http or https URL of a proxy to send through. Proxy variables are ignored."
    )

    @model_validator(mode="after")
    def _certificate_and_key(self, info: ValidationInfo) -> Self:
        if self.client_key and not self.client_cert:
            raise ValueError("client_key has no use without client_cert")
        if self.client_cert and sends(info):
            show(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), self.client_cert, self.client_key)
        return self
