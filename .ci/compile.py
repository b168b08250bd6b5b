"""Compiles the engine's hot path in place, with mypyc: `compile.py`, or `compile.py --remove` to run it interpreted.

Results are kept under build/compiled/ by a digest of the sources, Python and mypyc, so only a change costs time.
Without a C compiler it says so and leaves the engine interpreted: nothing depends on being compiled but speed.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from harness.compiled import MODULES, extension  # noqa: E402

GROUP = "engagement_harness"
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
SHARED = ROOT / f"{GROUP}__mypyc{SUFFIX}"
SOURCES = [f"harness/{module}.py" for module in MODULES]
KEPT = ROOT / "build" / "compiled"

SETUP = """
from mypyc.build import mypycify
from setuptools import setup

extensions = mypycify({sources!r}, opt_level="2", debug_level="0", group_name={group!r}, multi_file=False)
setup(name="compiled", packages=[], py_modules=[], ext_modules=extensions)
"""


def say(text: str) -> None:
    """A line for people."""
    sys.stderr.write(f"{text}\n")


def digest() -> str:
    """Names what would be built."""
    found = hashlib.sha256(f"{sys.version} {version('mypy')} {Path(__file__).read_text()}".encode())
    for source in SOURCES:
        found.update((ROOT / source).read_bytes())
    return found.hexdigest()[:16]


def remove() -> None:
    """Takes the compiled modules away: the sources run again."""
    for path in (*map(extension, MODULES), SHARED):
        path.unlink(missing_ok=True)


def build(target: Path) -> None:
    """Compiles into `target`; raises `CalledProcessError` with what the compiler said."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT) as scratch:
        tree = Path(scratch)
        shutil.copytree(ROOT / "harness", tree / "harness", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", tree)
        (tree / "setup.py").write_text(SETUP.format(sources=SOURCES, group=GROUP))
        command = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", "built", "--build-temp", "temporary"]
        subprocess.run(command, cwd=tree, check=True, capture_output=True, text=True)
        shutil.rmtree(target, ignore_errors=True)
        (tree / "built").rename(target)


def main() -> int:
    """Compiles, or removes; 0 also where there is no compiler."""
    if "--remove" in sys.argv[1:]:
        remove()
        return 0
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None or not Path(sysconfig.get_path("include"), "Python.h").exists():
        remove()
        say(f"no C compiler ({compiler}, Python.h): the engine runs interpreted, only slower")
        return 0
    target = KEPT / digest()
    if not target.exists():
        say("compiling the engine (only when it changed) …")
        try:
            build(target)
        except subprocess.CalledProcessError as error:
            remove()
            say(f"{error.stdout}{error.stderr}")
            say("the engine could not be compiled; it runs interpreted")
            return 1
    remove()
    for built in target.rglob(f"*{SUFFIX}"):
        shutil.copy(built, ROOT / built.relative_to(target))  # with the time of now: newer than its source
    return 0


if __name__ == "__main__":
    sys.exit(main())
