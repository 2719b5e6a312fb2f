"""Which peers there are, and the virtual environment of each."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
# One core, nothing fetched: Data-Juicer installs what it misses while it runs, the others look for models.
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PIP_NO_INDEX": "1",
    "RAYON_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "UV_OFFLINE": "1",
}


class CannotRunError(Exception):
    """A peer that could not be installed or run; its text is the last line that was said."""


@dataclass(frozen=True)
class Peer:
    """One way to run one tool."""

    name: str
    runner: str  # module of this package
    environment: str  # its folder in the cache, and the file of requirements
    megabytes: float  # of text, at most: what takes about 10 to 60 s, and fits in memory


PEERS = (
    Peer("rensa", "run_rensa", "rensa", 100),
    Peer("Daft", "run_daft", "daft", 200),
    Peer("Daft, same words", "run_daft_words", "daft", 200),
    Peer("datasketch bulk", "run_datasketch_bulk", "datasketch", 40),
    Peer("datasketch update", "run_datasketch_loop", "datasketch", 10),
    Peer("text-dedup", "run_text_dedup", "text-dedup", 10),
    Peer("datatrove", "run_datatrove", "datatrove", 10),
    Peer("Data-Juicer", "run_data_juicer", "data-juicer", 10),
    Peer("Data-Juicer, operator alone", "run_data_juicer_operator", "data-juicer", 10),
)


def last_line(text: str) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "ended without a word"


def call(command: list[str], timeout: float, environment: dict[str, str], folder: Path) -> None:
    """Run a command; raise CannotRunError with its last line of error if it does not end well."""
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=environment,
            cwd=folder,
        )
    except subprocess.TimeoutExpired as error:
        raise CannotRunError(f"did not end within {timeout:,.0f} s") from error
    if done.returncode:
        raise CannotRunError(f"exit code {done.returncode}: {last_line(done.stderr or done.stdout)}")


def python_of(peer: Peer, cache: Path) -> Path:
    return cache / peer.environment / "bin" / "python"


def is_installed(peer: Peer, cache: Path) -> bool:
    """Tell whether the environment holds just what is required today."""
    mark = cache / peer.environment / "installed.txt"
    return mark.exists() and mark.read_text() == requirements(peer).read_text()


def requirements(peer: Peer) -> Path:
    """Return the file that pins everything in the peer's environment."""
    return HERE / "requirements" / f"{peer.environment}.txt"


def install(peer: Peer, cache: Path) -> None:
    """Make the peer's environment where it is not there yet.

    The pins are all that is installed (--no-deps): enough to run the deduplication, never torch.

    Raises:
        CannotRunError: with pip's last line.
    """
    if is_installed(peer, cache):
        return
    folder = cache / peer.environment
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    call([sys.executable, "-m", "venv", "--clear", str(folder)], 300, environment, HERE)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
    call([*pip, "--requirement", str(requirements(peer))], 1800, environment, HERE)
    (folder / "installed.txt").write_text(requirements(peer).read_text())
