"""A real Slurm on this machine, for tests: munged, slurmctld and a slurmd for each node, reachable from this machine only.

`accounting` adds slurmdbd and a mariadb of its own (tests/cluster/accounts.py).

Its configuration has to be /etc/slurm/slurm.conf: Snakemake's jobs drop SLURM_CONF from their environment. It is taken away again at the
end, as every Snakemake waits ten seconds for a slurmctld that is configured and does not answer.
"""

import contextlib
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import filelock

from tests.cluster import accounts

CONFIG = Path("/etc/slurm")
FILES = ("slurm.conf", "gres.conf", "slurmdbd.conf")
OURS = "# written by the tests of petl-vtr"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel")
NAME = "petl-vtr-tests"
# Two ordinary partitions, and one whose jobs give way to theirs.
PARTITIONS = (("cpu", 10, "Default=YES"), ("gpu", 10, ""), ("scavenge", 1, ""))
# The models of the made-up GPUs: one of each.
GPUS = ("a100", "v100")
# In this order: slurmd speaks through slurmctld, that one through slurmdbd, and all of them through munged.
DAEMONS = ("slurmd", "slurmctld", "slurmdbd", "mariadbd", "munged")


def missing(*, accounting=False):
    """Why no Slurm can be started here, or nothing."""
    if not os.access(CONFIG if CONFIG.exists() else CONFIG.parent, os.W_OK):
        return f"{CONFIG} cannot be written (sudo install --directory --owner {accounts.USER} {CONFIG})"
    absent = [program for program in (*PROGRAMS, *(accounts.PROGRAMS if accounting else ())) if not where(program)]
    if absent:
        return f"{', '.join(absent)} not installed (apt-get install slurm-wlm munge{' slurmdbd mariadb-server' if accounting else ''})"
    for config in (CONFIG / name for name in FILES):
        if config.exists() and OURS not in config.read_text(encoding="utf-8"):
            return f"{config} is not from these tests, and is left alone"
    return None


def where(program):
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def run(program, *words, check=True):
    """Whether a program ended well."""
    return not subprocess.run([where(program), *words], check=check, capture_output=True).returncode


def until(found, *, seconds, what):
    """The value of `found` as soon as it is true. AssertionError after so many seconds."""
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
    folder = Path(f"/tmp/petl-vtr-slurm-{accounts.USER}" if os.geteuid() else "/run/petl-vtr-slurm")
    lock = filelock.FileLock(f"{folder}.lock")

    def __init__(self, *, nodes=1, accounting=False):
        self.nodes, self.accounting = nodes, accounting
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
            if self.accounting:
                self._start_accounts()
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
            subprocess.run(["scancel", f"--user={accounts.USER}"], capture_output=True, check=False)
            end = time.monotonic() + 40
            while self.jobs(states="running,completing") and time.monotonic() < end:
                time.sleep(0.5)
        self._end_all()
        self.lock.release()

    def _end_all(self):
        for daemon in DAEMONS:
            for file in (self.folder / "pid").glob("*"):
                name, _, node = file.name.partition(".")
                if name == daemon:
                    self.end(daemon, node=node)
        for number in of_jobs():
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        if not missing():
            for name in FILES:
                (CONFIG / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, daemon, *, node=None):
        """Start slurmctld, slurmdbd or a slurmd; they go on in the background and note their number in a file."""
        words = [where(daemon), *(["-N", node] if node and self.nodes > 1 else [])]
        subprocess.run(words, check=True, capture_output=True, env=os.environ | {"MYSQL_UNIX_PORT": str(accounts.socket(self.folder))})
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
        """An admin's remedy for nodes and jobs that slurmctld has given up: killed, it does not know what runs, and starts it again.

        Which they were.
        """
        given_up = {*self.ask("sinfo", "-h", "-N", "-t", "down,drained,draining", "-o", "%N").split()}
        for name in given_up:
            subprocess.run(["scontrol", "update", f"nodename={name}", "state=resume"], capture_output=True, check=False)
        pending = self.ask("squeue", "-h", "-t", "pending", "-o", "%A %r").splitlines()
        held = [line.split()[0] for line in pending if "held" in line]
        for number in held:
            subprocess.run(["scontrol", "release", number], capture_output=True, check=False)
        return [*given_up, *held]

    def ask(self, *words):
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout

    def jobs(self, *, states="all", rule=""):
        """(number, state, comment) of the jobs of a rule that slurmctld still knows; nothing while it is down."""
        asked = subprocess.run(["squeue", "-h", f"--states={states}", "-o", "%A|%T|%k"], capture_output=True, text=True, check=False)
        rows = [tuple(line.split("|")) for line in asked.stdout.splitlines()]
        return [row for row in rows if rule in row[2]]

    def _start_munged(self):
        # As root it would refuse to run; as anybody else it is theirs.
        user = pwd.getpwuid(os.geteuid()) if os.geteuid() else pwd.getpwnam("munge")
        home = self.folder / "munge"
        home.mkdir(mode=0o755)
        (home / "key").write_bytes(os.urandom(128))
        for path, mode in ((home, 0o755), (home / "key", 0o400)):
            path.chmod(mode)
            os.chown(path, user.pw_uid, user.pw_gid)
        files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        words = [f"--{option}={home / file}" for option, file in files.items()]
        drop = {} if os.geteuid() else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        subprocess.run([where("munged"), *words], check=True, capture_output=True, **drop)
        until((home / "socket").exists, seconds=20, what="munged")
        (self.folder / "pid/munged").symlink_to(home / "pid")

    def _start_accounts(self):
        (self.folder / "mariadb").mkdir(mode=0o700)
        run(*accounts.install(self.folder))
        # Alone among the daemons it stays in the foreground.
        program, *words = accounts.serve(self.folder)
        server = shlex.join([where(program), *words])
        subprocess.run(f"{server} </dev/null >{self.folder}/log/mariadbd 2>&1 &", shell=True, check=True)
        until(lambda: run(*accounts.ping(self.folder), check=False), seconds=60, what="mariadbd")
        config = CONFIG / "slurmdbd.conf"
        config.touch(mode=0o600)
        config.write_text("\n".join([OURS, *accounts.slurmdbd(self.folder)]) + "\n", encoding="utf-8")
        self.start("slurmdbd")
        add = ("sacctmgr", "--immediate", "add")
        until(lambda: run(*add, "cluster", NAME, check=False), seconds=60, what="slurmdbd")
        run(*add, "account", accounts.ACCOUNT, "Description=tests", "Organization=tests")
        run(*add, "user", accounts.USER, f"Account={accounts.ACCOUNT}")

    def _configure(self):
        host = socket.gethostname().split(".")[0]
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20 - 1024
        for number in range(len(GPUS)):
            # Slurm counts devices, and the tests need no GPU.
            (self.folder / f"gpus/nvidia{number}").symlink_to("/dev/null")
        gres = ",".join(f"gpu:{model}:1" for model in GPUS)
        several = [f"NodeName={name} NodeHostname={host} Port={27100 + number}" for number, name in enumerate(self.names)]
        one = [f"NodeName={self.names[0]} NodeHostname={host}"]
        node = f"NodeAddr=127.0.0.1 CPUs={os.cpu_count()} RealMemory={memory} Gres={gres} State=UNKNOWN"
        lines = [
            OURS,
            f"ClusterName={NAME}",
            f"SlurmctldHost={host}(127.0.0.1)",
            f"SlurmUser={accounts.USER}",
            f"SlurmdUser={accounts.USER}",
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
            *(accounts.client(self.folder) if self.accounting else accounts.NONE),
            *(f"{line} {node}" for line in (several if self.nodes > 1 else one)),
            *(f"PartitionName={name} Nodes=ALL MaxTime=120 State=UP PriorityTier={tier} {more}" for name, tier, more in PARTITIONS),
        ]
        CONFIG.mkdir(exist_ok=True)
        (CONFIG / "slurm.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
        models = [f"Name=gpu Type={model} File={self.folder}/gpus/nvidia{number}" for number, model in enumerate(GPUS)]
        (CONFIG / "gres.conf").write_text("\n".join([OURS, *models]) + "\n", encoding="utf-8")
