"""Finds plugins at start-up, checks what they hand over, and keeps the registry of channels and filters.

    entry points "notifyd", *.py in plugins_dir ──load──► hooks ──call──► classes ──check──► Registry

pluggy is used here and nowhere else: after `discover` the daemon holds plain classes. Nothing that a
plugin does wrong is raised; each fault becomes one PluginProblem, and the plugins beside it stay usable.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import inspect
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import pluggy
from pydantic import TypeAdapter

from notifyd.api import API_VERSION, Channel, Filter, Options, hooks
from notifyd.api.files import opened
from notifyd.errors import text_of

GROUP = "notifyd"
"""The entry-point group in which an installed package announces its plugin."""

PATIENCE = 5.0
"""Seconds after which it is said which plugin is still being loaded: nothing can stop it, and everything waits."""

Kind = Literal["channel", "filter"]
P = TypeVar("P", bound="Channel[Any] | Filter[Any]")

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_HOOKS: Mapping[str, Kind] = {"notifyd_channels": "channel", "notifyd_filters": "filter"}
_BASES: Mapping[Kind, type[Any]] = {"channel": Channel, "filter": Filter}
_STEPS: Mapping[str, tuple[str, ...]] = {"send": ("notification", "ctx"), "check": ("ctx",), "open": (), "close": ()}
_IMPORT_SYSTEM = str(Path(importlib.__file__).parent)


class PluginProblem(NamedTuple):
    """What is wrong with one plugin, in one line."""

    origin: str
    text: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.text}"


@dataclass(frozen=True)
class Registered(Generic[P]):
    """One usable channel or filter class. `doc` is the first line of its docstring, perhaps empty."""

    name: str
    cls: type[P]
    origin: str  # "notifyd 0.1.0 (notifyd_plugins.slack)", or the path of a drop-in file
    doc: str


@dataclass(frozen=True)
class Registry:
    """Every usable channel and filter by name, and what is wrong with the others."""

    channels: Mapping[str, Registered[Channel[Any]]]
    filters: Mapping[str, Registered[Filter[Any]]]
    problems: tuple[PluginProblem, ...] = ()
    claims: Mapping[tuple[Kind, str], PluginProblem] = field(default_factory=dict)
    plugins_dir: Path | None = None  # where the drop-in files were

    def broken(self, kind: Kind, name: str) -> str | None:
        """Why `name` is unavailable though a plugin claims it; None where it works or nothing claims it."""
        usable: Mapping[str, object] = self.channels if kind == "channel" else self.filters
        problem = None if name in usable else self.claims.get((kind, name))
        return str(problem) if problem else None


def discover(plugins_dir: Path | None, patience: float = PATIENCE, only: str | None = None) -> Registry:
    """Load every installed and every drop-in plugin, or `only` the one of this origin; never raises for a bad one, and
    names one that takes long."""
    findings = _Findings()
    with contextlib.redirect_stdout(sys.stderr):  # what a plugin prints is no part of what a command prints
        for candidate in [*_installed(), *_dropped_in(plugins_dir, findings)]:
            if only not in (None, candidate.origin):
                continue
            with _named_after(patience, candidate.origin):
                _collect(candidate, findings)
    return replace(findings.registry(), plugins_dir=plugins_dir)


class _Candidate(NamedTuple):
    """Something that may turn out to be a plugin. `name` is the entry point's, or the file's stem."""

    name: str
    origin: str
    load: Callable[[], object]


class _Findings:
    """What discovery has found so far."""

    def __init__(self) -> None:
        self._found: dict[tuple[Kind, str], list[Registered[Any]]] = {}
        self._problems: list[PluginProblem] = []
        self._claims: dict[tuple[Kind, str], PluginProblem] = {}

    def add(self, kind: Kind, registered: Registered[Any]) -> None:
        self._found.setdefault((kind, registered.name), []).append(registered)

    def problem(self, origin: str, text: str, *claims: tuple[Kind, str]) -> None:
        """Note a fault; `claims` are the names that would exist without it."""
        problem = PluginProblem(origin, _one_line(text))
        self._problems.append(problem)
        for claim in claims:
            self._claims.setdefault(claim, problem)

    def registry(self) -> Registry:
        """Settle the names: what two plugins give belongs to neither."""
        for (kind, name), rivals in self._found.items():
            if len(rivals) > 1:
                self._duplicate(kind, name, rivals)
        return Registry(
            channels=self._usable("channel"),
            filters=self._usable("filter"),
            problems=tuple(self._problems),
            claims=self._claims,
        )

    def _duplicate(self, kind: Kind, name: str, rivals: list[Registered[Any]]) -> None:
        origins = " and ".join(f"{rival.origin} ({rival.cls.__name__})" for rival in rivals)
        text = f"each gives a {kind} called {name}, so none of them is used; remove or rename all but one"
        self.problem(origins, text, (kind, name))

    def _usable(self, kind: Kind) -> dict[str, Registered[Any]]:
        single = {name: found[0] for (of, name), found in self._found.items() if of == kind and len(found) == 1}
        return dict(sorted(single.items()))


# Where plugins come from


def _installed() -> Iterator[_Candidate]:
    """One candidate per entry point; loaded one by one, so that a broken one can be named."""
    points = importlib.metadata.entry_points(group=GROUP)
    packages = {point.dist for point in points if point.dist}
    owners = {each: _name_and_version(each) for each in packages}  # once each: it reads and parses a file
    for point in sorted(points, key=lambda point: (point.name, point.value)):
        owner = owners[point.dist] if point.dist else "an unnamed package"
        yield _Candidate(point.name, f"{owner} ({point.value})", point.load)


def _name_and_version(package: importlib.metadata.Distribution) -> str:
    said = package.metadata
    return f"{said['Name']} {said['Version']}"


def _dropped_in(plugins_dir: Path | None, findings: _Findings) -> Iterator[_Candidate]:
    """One candidate per *.py file, by name; those that begin with "_" or "." are nobody's plugin."""
    if plugins_dir is None:
        return
    try:
        files = sorted(path for path in plugins_dir.iterdir() if path.suffix == ".py" and path.name[0] not in "_.")
    except OSError as error:
        findings.problem(str(plugins_dir), f"the plugins_dir cannot be read: {error.strerror}")
        return
    for path in files:
        yield _Candidate(path.stem, str(path), _FileLoader(f"notifyd_dropin_{path.stem}", str(path)).load)


class _FileLoader(importlib.machinery.SourceFileLoader):
    """Loads one drop-in file, always from its source.

    The folder stays off sys.path, where an `email.py` would shadow the standard library; and no
    bytecode is read or written, because one written within the same second would be stale.
    """

    def get_code(self, fullname: str) -> CodeType:
        try:
            with opened(Path(self.path)) as file:
                source = file.read()
        except OSError as error:
            raise error.with_traceback(None) from None  # no place in the plugin is to blame
        return self.source_to_code(source, self.path)

    def load(self) -> ModuleType:
        spec = importlib.util.spec_from_loader(self.name, self)
        assert spec is not None  # noqa: S101 - the loader has a path
        module = importlib.util.module_from_spec(spec)
        sys.modules[self.name] = module  # dataclasses and pydantic look a class's module up there
        try:
            self.exec_module(module)
        except BaseException:
            sys.modules.pop(self.name, None)
            raise
        return module


@contextlib.contextmanager
def _named_after(seconds: float, origin: str) -> Iterator[None]:
    """Say which plugin is at work in here, if it still is after so long."""
    timer = threading.Timer(seconds, _name, (origin, seconds))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _name(origin: str, seconds: float) -> None:
    mend = "a plugin should do its work in open(), not where it is imported"
    structlog = sys.modules.get("structlog")  # an isolated channel's process has no use for it, and starts sooner
    if structlog and structlog.is_configured():
        structlog.get_logger("notifyd.plugins").warning("a plugin is still being loaded", plugin=origin, mend=mend)
    else:
        sys.stderr.write(f"{origin} is still being loaded after {seconds:g} s; {mend}\n")


# What a plugin hands over


def _collect(candidate: _Candidate, findings: _Findings) -> None:
    """Load one plugin, ask its hooks, and note every class or fault."""
    claims: list[tuple[Kind, str]] = [("channel", candidate.name), ("filter", candidate.name)]
    try:
        plugin = candidate.load()
        if fault := _version_fault(plugin):
            findings.problem(candidate.origin, f"the plugin {fault}", *claims)
            return
        hooked = _hook_up(plugin)
        slips = _misspelt(plugin, hooked)
    except pluggy.PluginValidationError as error:
        findings.problem(candidate.origin, f"a hook is declared wrongly: {str(error).splitlines()[-1]}", *claims)
    except BaseException as error:  # also SystemExit and KeyboardInterrupt: it ends the plugin, not the daemon
        findings.problem(candidate.origin, f"could not be loaded: {_describe(error)}", *claims)
    else:
        for slip in slips:
            findings.problem(candidate.origin, slip, *claims)
        for hook in _HOOKS:
            _ask(candidate, getattr(hooked.hook, hook), findings)


def _hook_up(plugin: object) -> pluggy.PluginManager:
    """Give the plugin a pluggy registry of its own, so that a broken one cannot spoil another's."""
    hooked = pluggy.PluginManager(GROUP)
    hooked.add_hookspecs(hooks)
    hooked.register(plugin)
    return hooked


def _misspelt(plugin: object, hooked: pluggy.PluginManager) -> list[str]:
    """Everything that looks like a hook of this plugin and would never be called."""
    texts = [
        f"there is no hook called {caller.name}{_did_you_mean(caller.name)}"
        for caller in hooked.get_hookcallers(plugin) or []
        if not caller.has_spec() and not all(impl.optionalhook for impl in caller.get_hookimpls())
    ]
    texts += [f"the function {name} is not marked with @hookimpl, so it is never called" for name in _unmarked(plugin)]
    if not texts and not hooked.get_hookcallers(plugin):
        texts.append(f"gives nothing: it has no function marked with @hookimpl ({' or '.join(_HOOKS)})")
    return texts


def _unmarked(plugin: object) -> list[str]:
    """The plugin's own functions that are named like a hook but carry no mark."""
    return [
        name
        for name, value in getattr(plugin, "__dict__", {}).items()
        if name.startswith("notifyd_")
        and inspect.isfunction(value)
        and value.__module__ == getattr(plugin, "__name__", None)
        and not hasattr(value, f"{GROUP}_impl")
    ]


def _did_you_mean(name: str) -> str:
    close = difflib.get_close_matches(name, _HOOKS, n=1)
    return f"; did you mean {close[0]}?" if close else f"; the hooks are {', '.join(_HOOKS)}"


def _ask(candidate: _Candidate, hook: pluggy.HookCaller, findings: _Findings) -> None:
    """Call one hook of one plugin, if it has it, and register the classes that it returns."""
    kind = _HOOKS[hook.name]
    try:
        judged = [_judged(candidate, cls, kind) for cls in _returned(hook)]
    except BaseException as error:
        findings.problem(candidate.origin, f"{hook.name} failed: {_describe(error)}", (kind, candidate.name))
        return
    for name, found in judged:
        if isinstance(found, Registered):
            findings.add(kind, found)
        else:
            findings.problem(candidate.origin, f"{hook.name} returned {found}", (kind, name))


def _judged(candidate: _Candidate, cls: Any, kind: Kind) -> tuple[str, Registered[Any] | str]:
    """The name that a class has or would have, and what it is; or its fault."""
    if fault := fault_of(cls, kind):
        return _claimed_name(cls) or candidate.name, fault
    return cls.name, Registered(cls.name, cls, candidate.origin, _first_line(cls))


def _returned(hook: pluggy.HookCaller) -> list[Any]:
    """What the one plugin behind this hook answers."""
    if not hook.get_hookimpls():
        return []
    answer = next(iter(hook()), None)  # pluggy leaves None out
    if inspect.iscoroutine(answer):
        answer.close()
        raise TypeError("it is `async def`; a hook is a plain function")
    if not isinstance(answer, Iterable) or isinstance(answer, str | bytes | dict):
        raise TypeError(f"it returned {_shown(answer)} instead of a list of classes")
    return list(answer)


# What a class must be


def fault_of(cls: Any, kind: Kind) -> str | None:
    """What is wrong with a class that a hook returned, as the end of a sentence; None if it is usable."""
    base = _BASES[kind]
    if isinstance(cls, base):
        return f"an instance of {type(cls).__name__}; return the class itself"
    if not isinstance(cls, type) or not issubclass(cls, base):
        return f"{_shown(cls)}, which is not a subclass of notifyd.api.{base.__name__}"
    checks = (_name_fault, _class_version_fault, _channel_fault if kind == "channel" else _filter_fault)
    fault = next(filter(None, (check(cls) for check in checks)), None)
    return f"class {cls.__name__}, {fault}" if fault else None


def _name_fault(cls: type[Any]) -> str | None:
    name = getattr(cls, "name", None)
    if name is None:
        return "which has no `name`"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return f"whose name {_shown(name)} is not lower-case letters, digits, - and _, beginning with a letter"
    if abstract := sorted(getattr(cls, "__abstractmethods__", ())):
        return f"which lacks the method {', '.join(abstract)}"
    if not hasattr(cls, "Options"):
        return "which has no `Options`"
    return None


def _class_version_fault(cls: type[Any]) -> str | None:
    fault = _version_fault(cls)
    return f"which {fault}" if fault else None


def _version_fault(plugin: object) -> str | None:
    """What is wrong with the `api_version` of a module or a class, which need not have one."""
    wanted = getattr(plugin, "api_version", API_VERSION)
    if wanted == API_VERSION and isinstance(wanted, int):
        return None
    if not isinstance(wanted, int):
        return f"has the api_version {_shown(wanted)}, which is not a whole number; say api_version = {API_VERSION}"
    mend = "upgrade notifyd" if wanted > API_VERSION else "upgrade the plugin"
    return f"is written for version {wanted} of notifyd.api, and this notifyd has version {API_VERSION}; {mend}"


def _channel_fault(cls: type[Any]) -> str | None:
    if not (isinstance(cls.Options, type) and issubclass(cls.Options, Options)):
        return "whose Options is not a subclass of notifyd.api.Options"
    for step, arguments in _STEPS.items():
        function = inspect.unwrap(getattr(cls, step))
        if not inspect.iscoroutinefunction(function):
            return f"whose {step} is not `async def`"
        if fault := _signature_fault(function, step, arguments):
            return fault
    return _options_fault(cls)


def _filter_fault(cls: type[Any]) -> str | None:
    if inspect.iscoroutinefunction(cls.decide):
        return "whose decide is `async def`; a filter decides without waiting"
    return _signature_fault(cls.decide, "decide", ("event", "ctx")) or _options_fault(cls)


def _signature_fault(function: Callable[..., Any], step: str, arguments: tuple[str, ...]) -> str | None:
    """Whether it can be called with self and these arguments, by their places."""
    signature = inspect.signature(function)
    try:
        signature.bind(None, *arguments)
    except TypeError:
        return f"whose {step} takes {signature} and not (self{''.join(f', {each}' for each in arguments)})"
    return None


def _options_fault(cls: type[Any]) -> str | None:
    try:
        TypeAdapter(cls.Options).validator.title  # noqa: B018 - building it is the check
    except BaseException as error:  # whatever pydantic makes of a foreign type
        return f"whose Options pydantic cannot validate: {_describe(error)}"
    return None


def _claimed_name(cls: object) -> str | None:
    name = getattr(cls, "name", None)
    return name if isinstance(name, str) else None


# Words


def _first_line(cls: type[Any]) -> str:
    return inspect.cleandoc(cls.__doc__ or "").partition("\n")[0]


def _describe(error: BaseException) -> str:
    """The error in one line, with the place in the plugin where it came from."""
    if isinstance(error, SyntaxError):
        place = f" ({Path(error.filename).name}:{error.lineno})" if error.filename and error.lineno else ""
        return f"{type(error).__name__}: {error.msg}{place}"
    if isinstance(error, SystemExit):
        return f"it called sys.exit({_shown(error.code)}){_place(error)}"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}{_place(error)}"
    if isinstance(error, ImportError) and (error.name or "").startswith(hooks.__package__):
        return f"{error.msg.partition(' (')[0]}, which is of version {API_VERSION}{_place(error)}"
    return f"{text_of(error)}{_place(error)}"


def _place(error: BaseException) -> str:
    """The innermost frame outside of the import system and this module, as " (pager.py:3)"."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(("<", _IMPORT_SYSTEM)) and frame.filename != __file__
    ]
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


def _shown(value: object) -> str:
    try:
        return _one_line(repr(value), 80)
    except BaseException:  # a foreign repr may raise anything
        return f"a {type(value).__name__}"


def _one_line(text: str, longest: int = 400) -> str:
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
