"""A channel's two answers when it could not send. Anything else it raises is a bug in the channel."""

from notifyd.errors import NotifydError


class Retry(NotifydError):
    """Not now: try again later.

    `after` is the receiver's own wish in seconds (a Retry-After), honoured within the retry plan.
    `status_code` is kept in the history where the receiver gave one.
    """

    def __init__(self, reason: str, after: float | None = None, *, status_code: int | None = None) -> None:
        super().__init__(reason)
        if not (after is None or isinstance(after, int | float)):
            raise TypeError(f"Retry(after={after!r}): it is a number of seconds, or None")
        self.reason = reason
        self.after = after
        self.status_code = status_code


class Reject(NotifydError):
    """Never like this: the receiver refused it for good. The delivery is dead until a person requeues it."""

    def __init__(self, reason: str, *, status_code: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status_code = status_code
