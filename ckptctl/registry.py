"""A registry: name -> plug-in, filled by importing every module of a package."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Registry(Generic[T]):
    """The plug-ins of one package.

    Each public module of the package registers what it defines; so adding one is adding a file.
    """

    def __init__(self, package: str) -> None:
        self._package = package
        self._items: dict[str, T] = {}
        self._loaded = False

    def add(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers a plug-in under a name that nothing else has."""

        def register(item: T) -> T:
            if name in self._items:
                raise ValueError(f"{self._package} has two plug-ins called {name!r}")
            self._items[name] = item
            return item

        return register

    def _load(self) -> dict[str, T]:
        if not self._loaded:
            self._loaded = True
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                if not module.name.startswith("_"):
                    importlib.import_module(f"{self._package}.{module.name}")
        return self._items

    def __iter__(self) -> Iterator[T]:
        """Yield the plug-ins in the order of their names."""
        return iter([item for _, item in sorted(self._load().items())])

    def __getitem__(self, name: str) -> T:
        """Return one plug-in; KeyError where there is none of that name."""
        return self._load()[name]

    def names(self) -> list[str]:
        """Return the names, sorted."""
        return sorted(self._load())
