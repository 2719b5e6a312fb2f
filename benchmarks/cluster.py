"""Two Ray nodes that share object storage and nothing else, against one process: are the releases the same bytes?

    python benchmarks/cluster.py [RECORDS]

Each node is a network namespace with a mount namespace: an address of its own, joined to the other by a veth pair, a
loopback of its own, and a /tmp and a /dev/shm that the other cannot see. The driver and the S3 server (moto's) run
beside the first node, whose raylet has no core, so that each task runs where nothing of the driver's is. Needs Linux,
root, ip (iproute2), the extras ray and s3, and moto[server]; the checkout, which stands for the image, must not lie in
/tmp. What it does not show: real distances, and a storage service that is many machines.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
HEAD, OTHER = "10.213.7.1", "10.213.7.2"
PORT, STORAGE = 6399, 5055
URL = f"http://{HEAD}:{STORAGE}"
ENVIRONMENT = {
    "AWS_ENDPOINT_URL": URL,
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": uuid.uuid4().hex,  # this cluster's own, for as long as it runs
    "TMPDIR": "/tmp",
}
STAGES = """\
stages:
  - license: {allow: commercial, unknown: quarantine}
  - conversation
  - boilerplate
  - exact
  - minhash: {similarity: 0.7, recall: 0.99}
  - pii
output: {index: true}
"""


class Node:
    """A machine of its own, as far as network and scratch disk go."""

    def __init__(self, name: str, disk: Path) -> None:
        self.name, self.disk = name, disk
        disk.mkdir()

    def command(self, *words: str) -> list[str]:
        """Return a command line that runs in the node."""
        mounts = f"mount --bind {self.disk} /tmp && mount -t tmpfs tmpfs /dev/shm && exec "
        script = mounts + '"$@"'
        return [*("ip", "netns", "exec", self.name, "unshare", "--mount", "sh", "-c", script, "sh"), *words]

    def run(self, *words: str) -> str:
        """Run a command there to its end, and return what it printed."""
        done = subprocess.run(
            self.command(*words),
            env=os.environ | ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"{' '.join(words)[:200]}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
        return done.stdout

    @contextmanager
    def running(self, *words: str) -> Iterator[None]:
        """Run a command there for as long as the block takes."""
        with (self.disk / "log").open("ab") as log:
            process = subprocess.Popen(
                self.command(*words),
                env=os.environ | ENVIRONMENT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)

    def stop(self) -> None:
        """End whatever still runs in the node, and take its network away."""
        found = subprocess.run(
            ["ip", "netns", "pids", self.name], capture_output=True, text=True, check=False
        )
        for number in found.stdout.split():
            with suppress(ProcessLookupError):
                os.kill(int(number), signal.SIGKILL)
        subprocess.run(["ip", "netns", "del", self.name], check=False)


@contextmanager
def machines(folder: Path) -> Iterator[tuple[Node, Node]]:
    """Two nodes, joined by a cable."""
    names = [f"curate{os.getpid()}{end}" for end in "ab"]
    nodes = [Node(name, folder / end) for name, end in zip(names, ("head", "other"), strict=True)]
    cable = [f"cur{os.getpid()}{end}"[:15] for end in "ab"]
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", cable[0], "type", "veth", "peer", "name", cable[1])
        for name, end, address in zip(names, cable, (HEAD, OTHER), strict=True):
            ip("link", "set", end, "netns", name)
            ip("-n", name, "address", "add", f"{address}/24", "dev", end)
            ip("-n", name, "link", "set", end, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield nodes[0], nodes[1]
    finally:
        for node in nodes:
            node.stop()


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def python(code: str) -> Sequence[str]:
    """Return a command that runs code where tests' helpers can be imported."""
    return (
        sys.executable,
        "-c",
        f"import sys; sys.path[:0] = [{str(HERE)!r}, {str(HERE / 'tests')!r}]\n{code}",
    )


def prepare(records: int) -> str:
    """Return code that puts a corpus into the bucket, and the recipe alone onto the driver's disk."""
    return f"""
from pathlib import Path
from conftest import RECIPE, make_corpus
from curate.io.files import connect
fs = connect("s3://corpus")[0]
fs.mkdir("corpus"); fs.mkdir("out")
make_corpus(Path("/tmp/corpus"), {records})
fs.put("/tmp/corpus/", "corpus/", recursive=True)
head = RECIPE.partition("stages:")[0].replace("docs/", "s3://corpus/docs/").replace("[pairs", "[s3://corpus/pairs")
Path("/tmp/curate.yaml").write_text(head + {STAGES!r})
"""


COMPARE = """
from pathlib import Path
from conftest import contents
from curate.io.files import connect
fs = connect("s3://out")[0]
for name in ("local", "ray"):  # not straight in /tmp, where Ray keeps a folder of that name
    fs.get(f"out/{name}/", f"/tmp/releases/{name}/", recursive=True)
one, other = (contents(Path("/tmp/releases", name)) for name in ("local", "ray"))
wrong = [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]
print(len(one), "files,", sum(map(len, one.values())), "bytes; different:", wrong or "none")
sys.exit(bool(wrong))
"""


NODES = f"""
import ray, time
for _ in range(60):
    try:
        ray.init("{HEAD}:{PORT}", log_to_driver=False, logging_level=50)
    except (Exception, SystemExit):
        time.sleep(2)
        continue
    break
while len(alive := [node for node in ray.nodes() if node["Alive"]]) < {{count}}:
    time.sleep(1)
print("nodes:", *sorted(node["NodeManagerAddress"] for node in alive))
"""


def main(records: int) -> None:
    curate = (sys.executable, "-m", "curate", "run", "/tmp/curate.yaml")
    ray = str(Path(sys.executable).with_name("ray"))
    lean = ("--object-store-memory", str(80 * 2**20), "--disable-usage-stats", "--block")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, ExitStack() as stack:
        head, other = stack.enter_context(machines(Path(folder)))
        stack.enter_context(
            head.running(*(sys.executable, "-m", "moto.server", "-H", HEAD, "-p", str(STORAGE)))
        )
        time.sleep(8)
        head.run(*python(prepare(records)))
        started = time.monotonic()
        head.run(*curate, "--workers", "1", "--out", "s3://out/local")
        print(f"one process: {time.monotonic() - started:.1f} s")
        at = (
            "--node-ip-address",
            HEAD,
            "--port",
            str(PORT),
            "--num-cpus",
            "0",
            "--include-dashboard",
            "false",
        )
        # Again and again: on a busy machine a raylet is late, and Ray gives up after 30 s.
        again = ("sh", "-c", 'until "$@"; do sleep 2; done', "sh")
        stack.enter_context(head.running(*again, ray, "start", "--head", *at, *lean))
        head.run(*python(NODES.format(count=1)))
        join = ("--address", f"{HEAD}:{PORT}", "--node-ip-address", OTHER, "--num-cpus", "2")
        stack.enter_context(other.running(*again, ray, "start", *join, *lean))
        joined = head.run(*python(NODES.format(count=2)))  # Ray tells of tries that failed, too
        print(*[line for line in joined.splitlines() if line.startswith("nodes:")])
        started = time.monotonic()
        address = ("--engine", "ray", "--address", f"{HEAD}:{PORT}")
        print(head.run(*curate, *address, "--out", "s3://out/ray").splitlines()[-1])
        print(f"two nodes: {time.monotonic() - started:.1f} s")
        print(head.run(*python(COMPARE)), end="")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
