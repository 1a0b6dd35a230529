"""The project's commands as a user gives them, without waiting for torch to be imported each time.

    with commands(environment) as run:
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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LIBRARIES = (
    *("torch", "transformers", "transformers.pipelines", "datasets", "accelerate", "gradio"),
    *("scipy.ndimage", "scipy.stats", "sklearn.metrics", "matplotlib.pyplot", "pyarrow.parquet"),
    *("huggingface_hub", "jinja2", "yaml"),
)
ROOT = Path(__file__).resolve().parents[1]
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


class Commands:
    """Runs one command at a time; made by `commands`."""

    def __init__(self, server: subprocess.Popen[str], environment: Mapping[str, str]) -> None:
        self.server = server
        self.environment = dict(environment)

    def __call__(
        self, words: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
    ) -> Finished:
        """Run a command in `folder`, with these variables besides those that all commands have."""
        with (
            tempfile.NamedTemporaryFile("r", errors="replace") as output,
            tempfile.NamedTemporaryFile("r", errors="replace") as errors,
        ):
            process = self.start(words, folder, environment, output.name, errors.name)
            return Finished(self.wait(process), output.read(), errors.read())

    @contextmanager
    def running(
        self, words: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
    ) -> Iterator[Path]:
        """Run a command until the block ends; gives the file that has what it printed."""
        with tempfile.NamedTemporaryFile("r", errors="replace") as output:
            process = self.start(words, folder, environment, output.name)
            try:
                yield Path(output.name)
            finally:
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

    def _ask(self, request: object) -> int:
        print(json.dumps(request), file=self.server.stdin, flush=True)
        answer = self.server.stdout.readline()
        assert answer, "The process that starts commands has ended."
        return int(answer)


@contextmanager
def commands(environment: Mapping[str, str] = os.environ) -> Iterator[Commands]:
    """What runs commands, until the block ends; the environment is that of all of them."""
    own = {name: text for name, text in environment.items() if name != "PYTHONPATH"}
    own["PATH"] = f"{PROGRAMS}{os.pathsep}{own.get('PATH', '')}"
    own["OMP_WAIT_POLICY"] = "passive"  # threads that wait by spinning keep others from the cores
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    server = subprocess.Popen([sys.executable, __file__], env=own, text=True, cwd="/", **pipes)
    try:
        yield Commands(server, own)
    finally:
        server.stdin.close()
        server.wait()


@functools.cache
def of_this_process() -> Commands:
    """What runs commands in this process's environment, the same for all tests that need it."""
    running = commands()
    run = running.__enter__()
    atexit.register(running.__exit__, None, None, None)
    return run


def run_command(*words: object) -> Finished:
    """Run "-m", a module and its options, or a script and its options, from the project's root."""
    return of_this_process()(["python", *map(str, words)], ROOT)


def serve() -> None:
    """Answer each line of JSON until none comes.

    A command is answered by the number of its process, and such a number by the exit code of its
    process, once that has ended.
    """
    sys.path.pop(0)  # the folder of this file, which no command would find
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()  # what is never looked at again stays shared with the processes that fork
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        if isinstance(request, int):
            _, status = os.waitpid(request, 0)
            print(os.waitstatus_to_exitcode(status), file=answers, flush=True)
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
