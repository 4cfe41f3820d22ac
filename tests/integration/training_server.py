"""Real processes that train, without the seconds that each would need to import torch and fairseq.

``Server()`` starts one process that imports them; ``start`` forks it. What is forked behaves as ``fairseq-train``
(or ``fairseq-hydra-train``) does: own process id, signals, exit code, files for its output.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

LOOK = 0.02
NEVER = 600.0


def free_port():
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    def __init__(self):
        child_reads, request = os.pipe()
        answer, child_writes = os.pipe()
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(child_reads), str(child_writes)],
            pass_fds=(child_reads, child_writes),
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        os.close(child_reads)
        os.close(child_writes)
        self._requests = os.fdopen(request, "w")
        self._answers = os.fdopen(answer)

    def ask(self, **request):
        self._requests.write(json.dumps(request) + "\n")
        self._requests.flush()
        return json.loads(self._answers.readline())

    def start(self, command, folder, *, before="", environment=None):
        """Start a command whose output goes to files in ``folder``; ``before`` is Python run in the process first."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        output = folder / f"output{len(list(folder.glob('output*')))}.txt"
        output.touch()  # the next one of a group counts it, whether or not this one has begun to write
        pid = self.ask(
            command=[str(part) for part in command],
            cwd=str(folder),
            output=str(output),
            before=before,
            environment=environment or {},
        )
        return Job(self, pid, output)

    def run(self, command, folder, *, check=True, **options):
        job = self.start(command, folder, **options)
        job.wait()
        if check and job.code != 0:
            raise AssertionError(f"exit {job.code}\n{job.text()[-6000:]}")
        return job

    def run_group(self, command, folder, size=2, **options):
        """Run a command in several processes that know of each other, as torchrun would."""
        return self.wait_all(self.start_group(command, folder, size, **options))

    def start_group(self, command, folder, size=2, **options):
        group = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        return [
            self.start(command, folder, environment=group | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, **options)
            for rank in range(size)
        ]

    @staticmethod
    def wait_all(jobs):
        for job in jobs:
            job.wait()
        failed = [job for job in jobs if job.code != 0]
        if failed:
            raise AssertionError("\n".join(f"exit {job.code}\n{job.text()[-4000:]}" for job in failed))
        return jobs

    def close(self):
        self._requests.close()
        self._process.wait(timeout=NEVER)


class Job:
    def __init__(self, server, pid, output):
        self.server, self.pid, self.output = server, pid, output
        self.code = None

    def text(self):
        return self.output.read_text(errors="replace")

    def ended(self):
        if self.code is None:
            self.code = self.server.ask(wait=self.pid)
        return self.code is not None

    def wait(self, seconds=NEVER):
        """Return the exit code, negative for a signal, as subprocess does."""
        # Looks are counted, not seconds: nothing is late because the machine slept.
        for _ in range(round(seconds / LOOK)):
            if self.ended():
                return self.code
            time.sleep(LOOK)
        os.kill(self.pid, signal.SIGKILL)
        raise AssertionError(f"still running after {seconds} s:\n{self.text()[-4000:]}")

    def wait_for(self, text, seconds=NEVER):
        for _ in range(round(seconds / LOOK)):
            if text in self.text():
                return
            if self.ended():
                break
            time.sleep(LOOK)
        raise AssertionError(f"no {text!r}:\n{self.text()[-4000:]}")


def serve(requests, answers):
    """Answer requests; return a job in the process that was forked for it."""
    finished = {}
    for line in requests:
        request = json.loads(line)
        if "wait" in request:
            pid = request["wait"]
            if pid not in finished:
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    finished[pid] = os.waitstatus_to_exitcode(status)
            answer = finished.get(pid)
        else:
            answer = os.fork()
            if answer == 0:
                return request
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    return None


def become(job):
    """Make this process what the job asks for."""
    output = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    os.chdir(job["cwd"])
    os.environ.update(job["environment"])
    sys.argv = job["command"]


def warm_up():
    """Import, and let be prepared, what each training would otherwise spend its first seconds on."""
    import fairseq_cli.train  # noqa: I001 (first, because it sets up the logging)
    import fairseq_cli.hydra_train
    import jiwer  # noqa: F401
    import sacrebleu  # noqa: F401
    import sentencepiece  # noqa: F401
    import soundfile  # noqa: F401
    import torch._dynamo
    import torch.utils.tensorboard  # noqa: F401
    from fairseq import options
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf

    arguments = ["data", "--task", "translation", "--arch", "transformer"]
    convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), arguments))
    return {"fairseq-train": fairseq_cli.train.cli_main, "fairseq-hydra-train": fairseq_cli.hydra_train.cli_main}


if __name__ == "__main__":
    requests, answers = (os.fdopen(int(number), mode) for number, mode in zip(sys.argv[1:], "rw", strict=True))
    commands = warm_up()
    # Python puts the folder of a script first; the trainings are to find what an installed command finds.
    sys.path.pop(0)
    job = serve(requests, answers)
    if job is not None:
        become(job)
        exec(job["before"])
        commands[job["command"][0]]()
