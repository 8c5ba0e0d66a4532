"""A real Slurm on this machine, for tests: munged, slurmctld and a slurmd for each node, reachable from this machine only.

Its configuration has to be /etc/slurm/slurm.conf: Snakemake's jobs drop SLURM_CONF from their environment. It is taken away again at the
end, as every Snakemake waits ten seconds for a slurmctld that is configured and does not answer.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import filelock

CONFIG = Path("/etc/slurm")
OURS = "# written by the tests of petl-vtr"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel")
NAME = "petl-vtr-tests"
# Two ordinary partitions, and one whose jobs give way to theirs.
PARTITIONS = (("cpu", 10, "Default=YES"), ("gpu", 10, ""), ("scavenge", 1, ""))
GPUS = 2


def missing():
    """Why no Slurm can be started here, or nothing."""
    if os.geteuid():
        return "only root can start munged, slurmctld and slurmd"
    absent = [program for program in PROGRAMS if not where(program)]
    if absent:
        return f"{', '.join(absent)} not installed (apt-get install slurm-wlm munge)"
    config = CONFIG / "slurm.conf"
    if config.exists() and OURS not in config.read_text(encoding="utf-8"):
        return f"{config} is not from these tests, and is left alone"
    return None


def where(program):
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def until(found, *, seconds, what):
    """What `found` returns as soon as it is true. AssertionError after so many seconds."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, f"{what}: not within {seconds} seconds"
        time.sleep(0.2)
    return value


def of_jobs():
    """The numbers of the processes of jobs that outlive their node, as nothing but cgroups would hold them together."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and f"SLURM_CLUSTER_NAME={NAME}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


class Slurm:
    """`with Slurm() as slurm:`. Another one waits until it is gone, as a machine has one /etc/slurm/slurm.conf."""

    # munged wants a folder that all users may enter.
    folder = Path("/run/petl-vtr-slurm")
    lock = filelock.FileLock("/run/petl-vtr-slurm.lock")

    def __init__(self, *, nodes=1):
        self.nodes = nodes
        self.names = [f"n{number}" for number in range(1, nodes + 1)]

    def __enter__(self):
        self.lock.acquire()
        # A test that was killed leaves its daemons.
        self._end_all()
        self.folder.mkdir(mode=0o755)
        for name in ("state", "log", "pid", "gpus"):
            (self.folder / name).mkdir()
        try:
            self._configure()
            self._start_munged()
            self.start("slurmctld")
            for name in self.names:
                self.start("slurmd", node=name)
            until(lambda: self.ask("sinfo", "-h", "-p", "cpu", "-o", "%T").split() == ["idle"], seconds=30, what="idle nodes")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error):
        if self.pid("slurmctld"):
            subprocess.run(["scancel", "--user=root"], capture_output=True, check=False)
            end = time.monotonic() + 40
            while self.jobs(states="running,completing") and time.monotonic() < end:
                time.sleep(0.5)
        self._end_all()
        self.lock.release()

    def _end_all(self):
        # slurmd before slurmctld, and munged, which both speak through, last.
        for daemon in ("slurmd", "slurmctld", "munged"):
            for file in sorted((self.folder / "pid").glob(f"{daemon}*")):
                self.end(daemon, node=file.name.partition(".")[2])
        for number in of_jobs():
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        if not missing():
            for name in ("slurm.conf", "gres.conf"):
                (CONFIG / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, daemon, *, node=None):
        """Start slurmctld or a slurmd; they go on in the background and note their number in a file."""
        words = [where(daemon), *(["-N", node] if node and self.nodes > 1 else [])]
        subprocess.run(words, check=True, capture_output=True)
        until(lambda: self.pid(daemon, node=node), seconds=20, what=daemon)

    def end(self, daemon, *, node=None, how=signal.SIGTERM):
        pid = self.pid(daemon, node=node)
        if pid:
            os.kill(pid, how)
            until(lambda: not self.pid(daemon, node=node), seconds=30, what=f"the end of {daemon}")

    def pid(self, daemon, *, node=None):
        """Its number, if it runs."""
        file = self.folder / "pid" / (f"{daemon}.{node}" if node else daemon)
        try:
            number = int(file.read_text())
            named = Path(f"/proc/{number}/comm").read_text().strip()
        except (OSError, ValueError):
            return None
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
        return number if named == daemon and state != "Z" else None

    def revive(self):
        """What an admin does for nodes and jobs that slurmctld has given up: killed, it does not know what runs, and starts it again."""
        given_up = self.ask("sinfo", "-h", "-N", "-t", "down,drained,draining", "-o", "%N")
        for name in {*given_up.split()}:
            subprocess.run(["scontrol", "update", f"nodename={name}", "state=resume"], capture_output=True, check=False)
        held = self.ask("squeue", "-h", "-t", "pending", "-o", "%A %r")
        for number in [line.split()[0] for line in held.splitlines() if "held" in line]:
            subprocess.run(["scontrol", "release", number], capture_output=True, check=False)

    def ask(self, *words):
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout

    def jobs(self, *, states="all", rule=""):
        """(number, state, comment) of the jobs of a rule that slurmctld still knows; nothing while it is down."""
        asked = subprocess.run(["squeue", "-h", f"--states={states}", "-o", "%A|%T|%k"], capture_output=True, text=True, check=False)
        rows = [tuple(line.split("|")) for line in asked.stdout.splitlines()]
        return [row for row in rows if rule in row[2]]

    def _start_munged(self):
        user = pwd.getpwnam("munge")
        home = self.folder / "munge"
        home.mkdir(mode=0o755)
        (home / "key").write_bytes(os.urandom(128))
        for path, mode in ((home, 0o755), (home / "key", 0o400)):
            os.chown(path, user.pw_uid, user.pw_gid)
            path.chmod(mode)
        files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        words = [f"--{option}={home / file}" for option, file in files.items()]
        subprocess.run([where("munged"), *words], check=True, capture_output=True, user=user.pw_uid, group=user.pw_gid, extra_groups=[])
        until((home / "socket").exists, seconds=20, what="munged")
        (self.folder / "pid/munged").symlink_to(home / "pid")

    def _configure(self):
        host = socket.gethostname().split(".")[0]
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20 - 1024
        for number in range(GPUS):
            # /dev/null by another name: Slurm counts files, and the tests need no GPU.
            os.mknod(self.folder / f"gpus/nvidia{number}", 0o600 | 0o020000, os.makedev(1, 3))
        several = [f"NodeName={name} NodeHostname={host} Port={27100 + number}" for number, name in enumerate(self.names)]
        one = [f"NodeName={self.names[0]} NodeHostname={host}"]
        node = f"NodeAddr=127.0.0.1 CPUs={os.cpu_count()} RealMemory={memory} Gres=gpu:{GPUS} State=UNKNOWN"
        lines = [
            OURS,
            f"ClusterName={NAME}",
            f"SlurmctldHost={host}(127.0.0.1)",
            "SlurmUser=root",
            "SlurmctldPort=27017",
            "SlurmdPort=27018",
            "SrunPortRange=61000-62999",
            "CommunicationParameters=NoInAddrAny,NoCtldInAddrAny",
            # A job that is put back into the queue waits for its credential to end: 2 minutes where a test wants seconds.
            f"AuthInfo=socket={self.folder}/munge/socket,cred_expire=5",
            f"SlurmctldPidFile={self.folder}/pid/slurmctld",
            f"SlurmdPidFile={self.folder}/pid/slurmd.%n",
            f"SlurmctldLogFile={self.folder}/log/slurmctld",
            f"SlurmdLogFile={self.folder}/log/slurmd.%n",
            f"StateSaveLocation={self.folder}/state",
            f"SlurmdSpoolDir={self.folder}/spool.%n",
            # Neither systemd nor cgroups are asked of the machine: memory is looked at every two seconds.
            "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none",
            "JobAcctGatherType=jobacct_gather/linux",
            "JobAcctGatherFrequency=2",
            "JobAcctGatherParams=OverMemoryKill",
            "MpiDefault=none",
            "ReturnToService=2",
            # The tests ask at their end what became of each job.
            "MinJobAge=3600",
            "KillWait=10",
            "SlurmctldTimeout=30",
            "SlurmdTimeout=60",
            "SchedulerType=sched/backfill",
            "SchedulerParameters=bf_interval=2,sched_interval=2,batch_sched_delay=0",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_CPU_Memory",
            "PreemptType=preempt/partition_prio",
            "PreemptMode=REQUEUE",
            "GresTypes=gpu",
            "AccountingStorageType=accounting_storage/none",
            *(f"{line} {node}" for line in (several if self.nodes > 1 else one)),
            *(f"PartitionName={name} Nodes=ALL MaxTime=120 State=UP PriorityTier={tier} {more}" for name, tier, more in PARTITIONS),
        ]
        CONFIG.mkdir(exist_ok=True)
        (CONFIG / "slurm.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (CONFIG / "gres.conf").write_text(f"{OURS}\nName=gpu File={self.folder}/gpus/nvidia[0-{GPUS - 1}]\n", encoding="utf-8")
