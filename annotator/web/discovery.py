"""Finding blueprints: one file is one blueprint, so a new page is a new file and nothing else."""

import importlib
import pkgutil
from collections.abc import Iterable

from flask import Blueprint


def find_blueprints(package: str, path: Iterable[str]) -> list[Blueprint]:
    """Every ``blueprint`` of a package's modules, in the order of their names.

    Args:
        package: dotted name.
        path: its ``__path__``.
    """
    names = sorted(info.name for info in pkgutil.iter_modules(path))
    modules = [importlib.import_module(f"{package}.{name}") for name in names]
    return [module.blueprint for module in modules if hasattr(module, "blueprint")]
