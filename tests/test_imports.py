"""Who may import whom, what `import recur` costs, and that public names are sorted, importable and explained."""

import ast
import graphlib
import importlib
import inspect
import json
import os
import pathlib
import pkgutil
import subprocess
import sys
import tomllib

import pytest

import recur

ROOT = pathlib.Path(recur.__file__).parent
BASE = {"_types", "_checks", "_files", "_version"}

# What a part of the package may import of recur: names of modules, or packages as a whole.
ALLOWED = {
    "_types": set(),
    "_version": set(),
    "_checks": set(),
    "_files": set(),
    "cells": BASE,
    "engines": {*BASE, "cells._base", "cells._facts", "cells._pointwise_cell"},
    "flow": {*BASE, "cells", "engines"},
    "nn": {*BASE, "cells", "engines"},
    "interop": {*BASE, "cells", "nn"},
    "train": BASE,
    "tasks": BASE,
    "report": {"_files"},
    "runs": {*BASE, "cells", "engines", "nn", "flow", "train", "report", "tasks"},
    "check": {*BASE, "cells", "engines", "flow"},
    "study": {*BASE, "cells", "engines", "flow", "nn", "tasks", "train", "interop", "runs", "check", "report"},
}
# What it may import besides recur, where that is limited.
FOREIGN = {
    "cells": {"jax", "numpy", "jaxtyping"},
    "engines": {"jax", "numpy", "jaxtyping", "llvmlite"},
    "flow": {"jax", "numpy", "jaxtyping"},
}
FORBIDDEN = {"report": {"jax", "flax", "optax"}, "_files": {"jax", "numpy"}}
OPTIONAL = {"torch", "keras", "tensorflow", "matplotlib", "sklearn", "tqdm", "llvmlite"}
UNIX_ONLY = {"fcntl", "grp", "pwd", "resource", "syslog", "termios"}

MODULES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))
NAMES = {".".join(("recur", *path.with_suffix("").parts)).removesuffix(".__init__"): path for path in MODULES}


def imports(path):
    """Every module that a file imports, as a dotted name, lazily inside functions or not; relative ones resolved."""
    package = ("recur", *path.parent.parts)
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*parent, *([node.module] if node.module else [])])
            # `from recur import cells` names a module by its last part, `from recur.cells import lstm` does not.
            for name in (f"{module}.{alias.name}" for alias in node.names):
                yield name if module == "recur" or name in NAMES else module


def part(path):
    return path.parts[0].removesuffix(".py")


def test_imports_follow_the_arrows():
    for path in MODULES:
        own = part(path)
        if own in {"__init__", "__main__"}:
            continue  # the package itself gathers its parts
        assert own in ALLOWED, f"{path}: a new part of recur needs its arrows here and in the design"
        for name in imports(path):
            if name.split(".")[0] != "recur":
                continue
            inside = name.removeprefix("recur.")
            granted = {own, *ALLOWED[own]}
            assert any(inside == g or inside.startswith(g + ".") for g in granted), (
                f"recur/{path} imports {name}; {own} may import only {sorted(ALLOWED[own])}"
            )


def test_foreign_imports_are_those_of_the_part():
    for path in MODULES:
        own, foreign = part(path), {name.split(".")[0] for name in imports(path)} - {"recur"} - sys.stdlib_module_names
        assert foreign <= FOREIGN.get(own, foreign), f"recur/{path} imports {sorted(foreign)}"
        assert not foreign & FORBIDDEN.get(own, set()), f"recur/{path} imports {sorted(foreign)}"
        assert not any(name.startswith("jax._src") for name in imports(path)), f"recur/{path} imports jax._src"


def test_what_only_unix_has_is_not_needed_to_import():
    """A module of it is imported inside ``try``, so not by a statement of the file itself."""
    for path in MODULES:
        body = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
        plain = {alias.name for node in body if isinstance(node, ast.Import) for alias in node.names}
        plain |= {node.module for node in body if isinstance(node, ast.ImportFrom)}
        assert not plain & UNIX_ONLY, f"recur/{path} imports {sorted(plain & UNIX_ONLY)}, which Windows does not have"


def test_no_module_imports_itself_on_a_detour():
    """Imports inside functions and under TYPE_CHECKING count: who needs them knows of each other."""
    graph = {name: NAMES.keys() & set(imports(path)) - {name} for name, path in NAMES.items()}
    # An error otherwise, which names the circle.
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert order.index("recur._checks") < order.index("recur.cells._base") < order.index("recur.cells")


def test_the_reader_of_imports_sees_all_kinds():
    found = set(imports(pathlib.Path("engines/_newton.py")))
    assert {"dataclasses", "jax", "jax.numpy", "recur._types", "recur.cells._base", "recur.engines._base"} <= found
    assert "recur.cells" in set(imports(pathlib.Path("__init__.py")))


PROBE = """
import json, sys, time
import jax, jax.numpy
before = {name: repr(getattr(jax.config, name)) for name in dir(jax.config) if name.startswith("jax_")}
loaded, begin = set(sys.modules), time.perf_counter()
import recur
seconds = time.perf_counter() - begin
after = {name: repr(getattr(jax.config, name)) for name in before}
try:
    # It refuses once a backend has been made, so it succeeds only if the import made none.
    jax.config.update("jax_num_cpu_devices", 3)
    devices = jax.device_count()
except RuntimeError as error:
    devices = str(error)
json.dump({
    "changed": sorted(name for name in before if before[name] != after[name]),
    "config_size": len(before),
    "modules": sorted({name.split(".")[0] for name in sys.modules}),
    "devices": devices,
    "seconds": seconds,
}, sys.stdout)
"""


@pytest.fixture(scope="module")
def probed():
    """A fresh process that imports recur after JAX, on the CPU, and reports what that did."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT.parent), "JAX_PLATFORMS": "cpu"}
    environment.pop("XLA_FLAGS", None)
    done = subprocess.run([sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_import_loads_no_optional_package(probed):
    assert not OPTIONAL & set(probed["modules"])


def test_import_changes_no_jax_setting(probed):
    assert probed["config_size"] > 20
    assert probed["changed"] == []


def test_import_makes_no_backend(probed):
    assert probed["devices"] == 3


def test_import_is_light(probed):
    # 0.1 s alone; flax, optax or orbax come to seconds, and so does anything compiled at import.
    assert probed["seconds"] < 10


PACKAGES = ["recur", *sorted(f"recur.{m.name}" for m in pkgutil.iter_modules([str(ROOT)]) if m.ispkg)]


def by_kind(name):
    """Constants, classes, functions, each in the order of the alphabet."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


@pytest.mark.parametrize("name", PACKAGES)
def test_public_names_are_sorted_importable_and_explained(name):
    package = importlib.import_module(name)
    assert package.__doc__
    assert package.__all__ == sorted(package.__all__, key=by_kind)
    assert len(set(package.__all__)) == len(package.__all__)
    for public in package.__all__:
        assert not public.startswith("_")
        value = getattr(package, public)
        if inspect.isroutine(value) or inspect.isclass(value):
            assert (inspect.getdoc(value) or "").strip(), f"{name}.{public} has no docstring"
            assert inspect.getdoc(value) != inspect.getdoc(object), f"{name}.{public} has no docstring"


@pytest.mark.parametrize("name", [p for p in PACKAGES if p != "recur"])
def test_init_files_only_re_export(name):
    tree = ast.parse(pathlib.Path(importlib.import_module(name).__file__).read_text(encoding="utf-8"))
    for node in tree.body:
        exports = isinstance(node, ast.Assign) and node.targets[0].id == "__all__"
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        assert exports or docstring or isinstance(node, ast.ImportFrom), ast.unparse(node)
        assert not isinstance(node, ast.ImportFrom) or len(node.names) == 1, ast.unparse(node)


def test_one_version():
    pyproject = tomllib.loads((ROOT.parent / "pyproject.toml").read_text(encoding="utf-8"))
    assert pyproject["project"]["version"] == recur.__version__
    assert pyproject["project"]["name"] == "recur-jax"
    assert {"cells", "check", "flow", "runs", "study"} <= set(dir(recur))
