"""A registry: name -> plug-in, filled by importing every module of a package."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Container, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Registry(Generic[T]):
    """The plug-ins of one package.

    Each public module of the package registers what it defines; so adding one is adding a file.
    """

    def __init__(self, package: str) -> None:
        self._package = package
        self._items: dict[str, T] = {}
        self._modules: list[str] | None = None

    def add(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers a plug-in under a name that nothing else has."""

        def register(item: T) -> T:
            if name in self._items:
                raise ValueError(f"{self._package} has two plug-ins called {name!r}")
            self._items[name] = item
            return item

        return register

    def _load(self, without: Container[str] = ()) -> dict[str, T]:
        if self._modules is None:
            path = importlib.import_module(self._package).__path__
            modules = (module.name for module in pkgutil.iter_modules(path))
            self._modules = [name for name in modules if not name.startswith("_")]
        left = []
        for name in self._modules:
            if name in without:
                left.append(name)
            else:
                importlib.import_module(f"{self._package}.{name}")
        self._modules = left
        return self._items

    def some(self, without: Container[str]) -> list[T]:
        """Return the plug-ins of modules other than these, in the order of their names; no other is imported."""
        return [
            item
            for _, item in sorted(self._load(without).items())
            if str(getattr(item, "__module__", "")).rpartition(".")[2] not in without
        ]

    def __iter__(self) -> Iterator[T]:
        """Yield the plug-ins in the order of their names."""
        return iter([item for _, item in sorted(self._load().items())])

    def __getitem__(self, name: str) -> T:
        """Return one plug-in; KeyError where there is none of that name."""
        return self._load()[name]

    def names(self) -> list[str]:
        """Return the names, sorted."""
        return sorted(self._load())
