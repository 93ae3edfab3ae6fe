"""`python …` as `subprocess` starts it, but at once: forked from a process that has imported the libraries already.

    python tests/warm.py FD    # that process: it serves the listening socket FD until its stdin is closed

What is asked of it is in a session of its own, has the environment, working folder and streams that it is given, and one thread
for torch. Only what an import itself does cannot be seen here: that takes a cold process.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent
LIBRARIES = (
    *("diffusers.pipelines.flux.pipeline_flux", "diffusers.pipelines.auto_pipeline", "diffusers.guiders", "open_clip"),
    *("transformers.models.owlvit.modeling_owlvit", "transformers.models.fuyu.modeling_fuyu", "mlflow.tracking"),
    *("mlflow.store.tracking.sqlalchemy_store", "alembic.command", "ipykernel.kernelapp", "duckdb", "pandas"),
    *("cyclopts", "dynamicprompts", "lemminflect", "forgekit.stages", "forgekit.trends"),
)  # not matplotlib: when it is imported it asks whether it is in a notebook


class Popen(subprocess.Popen):
    """`subprocess.Popen` of `sys.executable`, with `-m`, `-c` or a file; `start_new_session` is true whatever is said."""

    def _execute_child(self, args: Any, *others: Any) -> None:
        cwd, env, pipes = others[4], others[5], others[9:15]  # as subprocess hands them on, since 3.11
        python, *words = map(str, args)
        assert python == sys.executable, python
        told = {"words": words, "cwd": str(cwd or Path.cwd()), "env": dict(os.environ if env is None else env)}
        self._asked = socket.socket(socket.AF_UNIX)
        self._asked.connect(_server())
        theirs = enumerate((pipes[0], pipes[3], pipes[5]))  # the ends that are the command's; -1: it has ours
        streams = [own if given == -1 else given for own, given in theirs]
        socket.send_fds(self._asked, [b"."], streams)
        self._asked.sendall(json.dumps(told).encode() + b"\n")
        self.pid = int.from_bytes(self._asked.recv(4, socket.MSG_WAITALL))
        self._child_created = True
        self._close_pipe_fds(*pipes)

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        try:
            told = self._asked.recv(4, socket.MSG_DONTWAIT if wait_flags else socket.MSG_WAITALL)
        except BlockingIOError:
            return 0, 0
        self._asked.close()
        assert len(told) == 4, "the process that forks has gone, and how this one ended is not known"
        return self.pid, int.from_bytes(told)

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None and (ended := self._try_wait(os.WNOHANG))[0]:
            self._handle_exitstatus(ended[1])
        return self.returncode


def run(command: list[str], *, check: bool = False, **how: Any) -> subprocess.CompletedProcess:
    """Run a command to its end, as `subprocess.run` with `capture_output=True, text=True` does."""
    process = Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how)
    out, err = process.communicate()
    done = subprocess.CompletedProcess(command, process.returncode, out, err)
    assert not check or not done.returncode, err
    return done


def kernel(command: list[str], first: str = "", **how: Any) -> Popen:
    """Start the kernel of a notebook, as jupyter_client.launch_kernel does; `first` is run in it before anything else."""
    code = f"{first}\nimport os\nos.environ['JPY_PARENT_PID'] = str(os.getppid())  # it ends when that one does\n"
    code += "from ipykernel import kernelapp\nkernelapp.launch_new_instance()"
    given = {name: how[name] for name in ("cwd", "env") if name in how}
    return Popen([command[0], "-c", code, *command[3:]], stdin=subprocess.DEVNULL, **given)


@cache
def _server() -> str:
    """Start the process that has imported the libraries; where it listens."""
    address = str(Path(tempfile.mkdtemp(prefix="warm-", dir="/tmp"), "socket"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        paths = os.pathsep.join([str(TESTS.parent), str(TESTS)])
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
        server = subprocess.Popen(
            [sys.executable, __file__, str(listener.fileno())],
            stdin=subprocess.PIPE,
            env=environment,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
    _server.process = server  # its stdin is closed when this process ends
    return address


def _asked_for(listener: socket.socket) -> list[str]:
    """Fork for each who asks. Only the forks return: with the words of the command that they are to be."""
    while True:
        if sys.stdin in select.select([listener, sys.stdin], [], [])[0]:
            shutil.rmtree(Path(listener.getsockname()).parent, ignore_errors=True)
            os.killpg(0, signal.SIGKILL)  # those that wait for the forks as well; kernels end with them
        asked = listener.accept()[0]
        streams = socket.recv_fds(asked, 1, 3)[1]
        if not os.fork():
            work = os.fork()
            if not work:
                break
            _close(listener, *streams)
            asked.sendall(os.waitpid(work, 0)[1].to_bytes(4))
            os._exit(0)
        _close(asked, *streams)
        while True:  # those that ended
            try:
                if not os.waitpid(-1, os.WNOHANG)[0]:
                    break
            except ChildProcessError:
                break
    os.setsid()
    told = json.loads(asked.makefile().readline())
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.environ.clear()
    os.environ.update(told["env"])
    os.chdir(told["cwd"])
    paths = told["env"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [path for path in paths if path and path not in sys.path]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    asked.sendall(os.getpid().to_bytes(4))
    _close(asked, listener, *streams)
    return told["words"]


def _close(*what: socket.socket | int) -> None:
    for each in what:
        os.close(each) if isinstance(each, int) else each.close()


def _be(words: list[str]) -> None:
    """Do what `python WORDS…` does."""
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        exec(compile(words[1], "<string>", "exec"), vars(sys.modules["__main__"]))
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")


def _end(work: Callable[[list[str]], None], words: list[str]) -> None:
    """Work, and end as Python does, but leave the libraries where they are: to take them down takes seconds."""
    status = 0
    try:
        work(words)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in LIBRARIES:
            import_module(name)
    gc.freeze()  # what a fork looks through it copies
    _end(_be, _asked_for(socket.socket(fileno=int(sys.argv[1]))))
