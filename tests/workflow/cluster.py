"""A real SLURM of one node for tests: its own daemons on the loopback interface, without root, systemd or accounting.

`with Cluster(folder) as cluster:` starts munged, slurmctld and slurmd from a configuration in that folder, and stops
exactly these three in the end. Its partitions are `cpu` and `gpu`, as in the shipped profile, `urgent`, whose jobs push
those of the other two back into the queue, and its two GPUs are names without a device.
"""

import os
import secrets
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

DAEMONS = ("munged", "slurmctld", "slurmd")
CONFIGURATION = """\
ClusterName=rim
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={node_port}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=2
OverTimeLimit=0
MinJobAge=3600
ReturnToService=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=24000 Gres=gpu:2 State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=2880 PriorityTier=1
PartitionName=gpu Nodes={host} MaxTime=2880 PriorityTier=1
PartitionName=urgent Nodes={host} MaxTime=60 PriorityTier=9
"""
# Inside a job the plugin forgets SLURM_CONF, which clusters with /etc/slurm/slurm.conf do not need.
SRUN = '#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {srun} "$@"\n'


def missing() -> str | None:
    """What a cluster cannot be started without, if it is not installed."""
    return next((name for name in (*DAEMONS, "sbatch", "srun") if shutil.which(name, path=_path()) is None), None)


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Cluster:
    def __init__(self, folder: Path, cpus: int) -> None:
        self.folder, self.cpus = folder, cpus
        self.environment = {
            **os.environ,
            "PATH": f"{folder}/bin:{_path()}",
            "SLURM_CONF": str(folder / "slurm.conf"),
        }

    def __enter__(self) -> Self:
        for name in ("state", "spool", "bin"):
            (self.folder / name).mkdir(parents=True)
        self.folder.chmod(0o755)  # munge wants its socket in reach of everybody
        host, user = socket.gethostname().split(".")[0], subprocess.check_output(["id", "-un"], text=True).strip()
        (self.folder / "slurm.conf").write_text(
            CONFIGURATION.format(
                host=host, user=user, folder=self.folder, port=_free_port(), node_port=_free_port(), cpus=self.cpus
            )
        )
        (self.folder / "gres.conf").write_text(f"NodeName={host} Name=gpu File=/dev/null,/dev/zero\n")
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        srun = self.folder / "bin/srun"
        srun.write_text(SRUN.format(folder=self.folder, srun=shutil.which("srun")))
        srun.chmod(0o755)
        try:
            self._start("munged", *(f"--{name}={self.folder}/munge.{end}" for name, end in (("key-file", "key"), ("socket", "socket"), ("seed-file", "seed"), ("log-file", "log"))), f"--pid-file={self.folder}/munged.pid")  # fmt: skip
            self._start("slurmctld", "-i")
            self._start("slurmd", "-N", host)
            self._wait_until_idle()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def run(self, *line: str) -> str:
        """The output of a command of SLURM that must succeed."""
        done = subprocess.run(line, env=self.environment, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def _start(self, name: str, *options: str) -> None:
        self.run(str(shutil.which(name, path=_path())), *options)

    def _wait_until_idle(self) -> None:
        for _ in range(100):
            if self.run("sinfo", "-h", "-p", "cpu", "-o", "%t") == "idle":
                return
            time.sleep(0.2)
        logs = [(self.folder / f"{name}.log").read_text()[-2000:] for name in ("slurmctld", "slurmd")]
        raise RuntimeError("the node did not come up\n" + "\n".join(logs))

    def stop(self) -> None:
        """End all jobs, then the daemons, by their process ids."""
        subprocess.run(["scancel", "--full", "--user", str(os.getuid())], env=self.environment, check=False, timeout=60, capture_output=True)  # fmt: skip
        time.sleep(1)
        for name in reversed(DAEMONS):
            file = self.folder / f"{name}.pid"
            process = int(file.read_text()) if file.exists() and file.read_text().strip() else None
            if process and Path(f"/proc/{process}/comm").exists():
                os.kill(process, 15)
                for _ in range(100):
                    if not Path(f"/proc/{process}").exists():
                        break
                    time.sleep(0.1)
