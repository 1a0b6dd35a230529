"""The project's commands as a user gives them, without waiting for torch to be imported each time.

    run = commands(environment)
    finished = run(["python", "-m", "publishing.push", "--help"], folder)
    assert finished.returncode == 0, finished.output

A process that has imported the libraries, and nothing of the project, forks for every command. The
command then begins as Python begins: its folder, environment and search path are those of a fresh
process, so that a module which only the tests would find is missed here too.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LIBRARIES = (
    *("torch", "transformers", "transformers.pipelines", "datasets", "accelerate", "gradio"),
    *("scipy.ndimage", "scipy.stats", "sklearn.metrics", "matplotlib.pyplot", "pyarrow.parquet"),
    *("huggingface_hub", "jinja2", "yaml"),
)
ROOT = Path(__file__).resolve().parents[1]
# Threads that wait by spinning would keep the other processes' work from the cores.
PASSIVE = {"OMP_WAIT_POLICY": "passive"}
RUNNING = 1_000  # no exit code
READ_AT_IMPORT = ("HF_", "HUGGING", "TRANSFORMERS_", "GRADIO_", "TMPDIR")
READ_LATER = (
    *("HF_TOKEN", "GRADIO_ANALYTICS_ENABLED"),
    *("GRADIO_ANALYTICS_MAX_EVENTS", "GRADIO_ANALYTICS_CACHE_FREQUENCY"),
)
PROGRAMS = Path(sys.executable).parent  # accelerate, hf and others that are written in Python


@dataclass(frozen=True)
class Finished:
    """How a command ended.

    Attributes:
        returncode: its exit code.
        stdout: what it printed.
        stderr: errors and warnings.
    """

    returncode: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """What it printed, errors as well."""
        return self.stdout + self.stderr


class Running:
    """A command that has not been waited for.

    Attributes:
        output: the file that has what it printed.
    """

    def __init__(self, output: Path, ended: Callable[[], int | None]) -> None:
        self.output = output
        self._ended = ended
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code if it has ended, None as long as it runs."""
        if self._code is None:
            self._code = self._ended()
        return self._code


class Commands:
    """Runs one command at a time; made by `commands`."""

    def __init__(self, server: subprocess.Popen[str], environment: Mapping[str, str]) -> None:
        self.server = server
        self.environment = dict(environment)

    def __call__(
        self,
        words: Sequence[str],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        timeout: float = 600,
    ) -> Finished:
        """Run a command in `folder`, with these variables besides those that all commands have.

        A command that takes longer than `timeout`, in seconds, is killed.
        """
        with (
            tempfile.NamedTemporaryFile("r", errors="replace") as output,
            tempfile.NamedTemporaryFile("r", errors="replace") as errors,
        ):
            process = self.start(words, folder, environment, output.name, errors.name)
            too_long = threading.Timer(timeout, os.kill, (process, signal.SIGKILL))
            too_long.start()
            try:
                return Finished(self.wait(process), output.read(), errors.read())
            finally:
                too_long.cancel()

    @contextmanager
    def running(
        self,
        words: Sequence[str],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> Iterator[Running]:
        """Run a command until the block ends; what it prints goes to `log`, if there is one."""
        with tempfile.NamedTemporaryFile() if log is None else log.open("wb") as output:
            process = self.start(words, folder, environment, output.name)
            running = Running(Path(output.name), functools.partial(self._ended, process))
            try:
                yield running
            finally:
                if running.poll() is None:
                    os.kill(process, signal.SIGKILL)
                    self.wait(process)

    def start(
        self,
        words: Sequence[str],
        folder: Path,
        environment: Mapping[str, str] | None,
        output: str,
        errors: str | None = None,
    ) -> int:
        """Start a command whose output is added to these files; gives the number of its process.

        Without a file of their own, errors go where the output goes.
        """
        variables = self.environment | dict(environment or {})
        return self._ask([list(words), str(folder), variables, output, errors or output])

    def wait(self, process: int) -> int:
        """Wait for a command's end, once; gives its exit code."""
        return self._ask(process)

    def _ended(self, process: int) -> int | None:
        code = self._ask({"ended": process})
        return None if code == RUNNING else code

    def _ask(self, request: object) -> int:
        print(json.dumps(request), file=self.server.stdin, flush=True)
        answer = self.server.stdout.readline()
        assert answer, "The process that starts commands has ended."
        return int(answer)


def commands(environment: Mapping[str, str] | None = None) -> Commands:
    """What runs commands in this environment, or in that of the tests.

    Libraries read some variables when they are imported. Where these are new it takes as long as to
    import them, so a Hub's address and the folder of its client are best the same for all tests.
    """
    if environment is None:
        environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    read_at_import = {
        name: text
        for name, text in environment.items()
        if name.startswith(READ_AT_IMPORT) and name not in READ_LATER
    }
    path = f"{PROGRAMS}{os.pathsep}{environment.get('PATH', '')}"
    server = _server(tuple(sorted(read_at_import.items())))
    return Commands(server, {**environment, "PATH": path} | PASSIVE)


@functools.cache
def _server(variables: tuple[tuple[str, str], ...]) -> subprocess.Popen[str]:
    own = {name: text for name, text in os.environ.items() if not name.startswith(READ_AT_IMPORT)}
    server = subprocess.Popen(
        [sys.executable, __file__],
        env=own | dict(variables) | PASSIVE,
        text=True,
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    atexit.register(server.communicate)  # no further line comes, so it ends
    return server


def run_command(*words: object, timeout: float = 600) -> Finished:
    """Run "-m", a module and its options, or a script and its options, from the project's root."""
    return commands()(["python", *map(str, words)], ROOT, timeout=timeout)


def serve() -> None:
    """Answer each line of JSON until none comes.

    A command is answered by the number of its process, such a number by the exit code of its
    process, once that has ended, and {"ended": number} by that or `RUNNING`, at once.
    """
    sys.path.pop(0)  # the folder of this file, which no command would find
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()  # what is never looked at again stays shared with the processes that fork
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        if not isinstance(request, list):
            number, option = (
                (request, 0) if isinstance(request, int) else (request["ended"], os.WNOHANG)
            )
            ended, status = os.waitpid(number, option)
            code = os.waitstatus_to_exitcode(status) if ended else RUNNING
            print(code, file=answers, flush=True)
            continue
        process = os.fork()
        if not process:
            answers.close()
            become(*request)
            return
        print(process, file=answers, flush=True)


def become(
    words: Sequence[str], folder: str, environment: dict[str, str], output: str, errors: str
) -> None:
    """Do in this process what the command does; ends as it ends."""
    for descriptor, path, mode in (
        (0, os.devnull, os.O_RDONLY),
        (1, output, os.O_WRONLY | os.O_APPEND),
        (2, errors, os.O_WRONLY | os.O_APPEND),
    ):
        os.dup2(os.open(path, mode), descriptor)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    program, *arguments = words
    if program != "python":
        sys.argv = [str(PROGRAMS / program), *arguments]
        if not Path(sys.argv[0]).exists():
            os.execvp(program, words)
        runpy.run_path(sys.argv[0], run_name="__main__")
    elif arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        sys.path.insert(0, folder)
        exec(compile(arguments[1], "<string>", "exec"), sys.modules["__main__"].__dict__)
    elif arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path.insert(0, folder)
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    serve()
