"""The one root of every error that notifyd raises on purpose.

    NotifydError
    ├── api.Retry, api.Reject            a channel's answer to a delivery
    ├── render.TemplateError             a config's template that failed with a notification
    ├── settings.SettingsError           a settings file with problems, each with its line
    ├── sources.SourceError              a sync log that could not be read
    └── store.StoreError                 a state DB that could not be opened or is in use

The text of a NotifydError is written for the person who reads it: one line that says
what is wrong and, where it can, how to mend it. It never holds a secret.
"""


class NotifydError(Exception):
    """Something is wrong, and the message says what, to a person."""


def text_of(error: BaseException) -> str:
    """What an exception of a plugin's says; only its kind, where its text fails too."""
    try:
        return f"{type(error).__name__}: {error}".removesuffix(": ")
    except BaseException:
        return type(error).__name__
