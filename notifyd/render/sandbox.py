"""The Jinja2 environment of people's templates: plain values in, text out, and never more than the budget.

Beyond Jinja2's own sandbox, which keeps a template from Python's inner life, nothing here can take long or grow large:
filters and methods are those listed, and each value that is made is paid for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from jinja2 import StrictUndefined, TemplateRuntimeError, Undefined, UndefinedError, pass_context
from jinja2.filters import FILTERS
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment
from jinja2.utils import missing

from notifyd.render import filters
from notifyd.render.budget import counted, paid, take
from notifyd.render.language import Refused

_FROM_JINJA = (
    *("capitalize", "default", "d", "dictsort", "first", "int", "items", "last", "length", "count", "lower"),
    *("reverse", "sort", "title", "trim", "truncate", "unique", "upper", "urlencode"),
)
_METHODS: Mapping[type, frozenset[str]] = {
    dict: frozenset({"get", "items", "keys", "values"}),
    str: frozenset(
        {
            *("endswith", "lower", "lstrip", "partition", "removeprefix", "removesuffix", "rpartition", "rsplit"),
            *("rstrip", "split", "splitlines", "startswith", "strip", "title", "upper"),
        }
    ),
}
_LARGEST = 10**15
_LONGEST_RANGE = 1000


class Missing(StrictUndefined):
    """What is not there, and says so as soon as it is used."""

    __slots__ = ()

    def __init__(
        self,
        hint: str | None = None,
        obj: Any = missing,
        name: str | None = None,
        exc: type[TemplateRuntimeError] = UndefinedError,
    ) -> None:
        hint = hint or f'there is no "{name}" here; write {{{{ … | default("") }}}} where it may be missing'
        super().__init__(hint, obj, name, exc)


class Sandbox(SandboxedEnvironment):
    """One environment for all templates; a rendering of one takes place inside of `a_budget()`."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%"})

    def __init__(self) -> None:
        # Nothing is computed ahead of its time: what a template costs is paid when it is rendered.
        layout = {"trim_blocks": True, "lstrip_blocks": True}  # a line that holds only {% … %} leaves none behind
        super().__init__(undefined=Missing, optimized=False, finalize=_printed, **layout)
        self.filters = {name: _charging(FILTERS[name]) for name in _FROM_JINJA}
        self.filters |= {"counted": counted, "join": filters.join, "replace": filters.replace, "time": filters.time}
        self.globals = {"range": _range}

    def is_safe_callable(self, obj: Any) -> bool:
        """Only `range`, and methods that make nothing larger than what they are called on."""
        methods = _METHODS.get(type(getattr(obj, "__self__", None)), frozenset())
        return obj is _range or getattr(obj, "__name__", "") in methods

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Call what is safe, and pay for what comes of it."""
        if not __self.is_safe_callable(__obj):
            name = getattr(__obj, "__name__", "")
            raise Refused(f"{f'{name}()' if name else 'this'} cannot be called in a notification")
        return paid(__context.call(__obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic of numbers of a sane size; texts that are added or repeated; times."""
        operation = self.binop_table[operator]
        match (left, operator, right):
            case (int() | float(), _, int() | float()):
                return _sane(operation(_sane(left), _sane(right)))
            case (str(), "+", str()):
                take(len(left) + len(right))
            case (str(), "*", int()):
                take(len(left) * max(right, 0))
            case (datetime() | timedelta(), "+" | "-", datetime() | timedelta()):
                pass
            case (Undefined(), _, _) | (_, _, Undefined()):
                pass  # which raises, and says what is missing
            case _:
                raise Refused(f"{operator} does not work on {type(left).__name__} and {type(right).__name__}")
        return operation(left, right)


@pass_context
def _printed(context: Context, value: Any) -> str:
    """The value as it is printed. It takes the context so that Jinja2 prints no constant ahead of time."""
    return filters.as_text(value)


def _charging(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter whose result is paid for."""

    @functools.wraps(function)
    def charging(*args: Any, **kwargs: Any) -> Any:
        return paid(function(*args, **kwargs))

    return charging


def _range(*args: int) -> range:
    numbers = range(*args)
    if len(numbers) > _LONGEST_RANGE:
        raise Refused(f"a range may hold at most {_LONGEST_RANGE} numbers")
    return numbers


def _sane(number: Any) -> Any:
    if not -_LARGEST <= number <= _LARGEST:
        raise Refused("a number is too large")
    return number
