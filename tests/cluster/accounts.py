"""The accounting of the tests' Slurm: slurmdbd, and behind it a mariadb whose only door is a socket in a folder of our own."""

import getpass

PROGRAMS = ("mariadbd", "mariadb-install-db", "mariadb-admin", "slurmdbd", "sacct", "sacctmgr")
PORT = 27019
# Whoever runs the tests, is all of Slurm, and has this account.
USER = getpass.getuser()
ACCOUNT = "tests"
NONE = ("AccountingStorageType=accounting_storage/none",)
# Whoever can reach the socket is that user, and is asked for no password.
OPTIONS = ("--skip-networking", "--skip-grant-tables", "--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=900")


def client(folder):
    """The lines of slurm.conf. The password is, with munge, its socket."""
    return [
        "AccountingStorageType=accounting_storage/slurmdbd",
        "AccountingStorageHost=127.0.0.1",
        f"AccountingStoragePort={PORT}",
        f"AccountingStoragePass={folder}/munge/socket",
        "AccountingStorageTRES=gres/gpu",
    ]


def socket(folder):
    return folder / "mariadb/socket"


def install(folder):
    """The words that make an empty database."""
    words = ["--no-defaults", f"--user={USER}", f"--datadir={folder}/mariadb/data", "--skip-test-db"]
    return ["mariadb-install-db", *words, "--auth-root-authentication-method=normal"]


def serve(folder):
    """The words that start it."""
    files = [f"--datadir={folder}/mariadb/data", f"--socket={socket(folder)}", f"--pid-file={folder}/pid/mariadbd"]
    return ["mariadbd", "--no-defaults", f"--user={USER}", *files, *OPTIONS]


def ping(folder):
    return ["mariadb-admin", "--no-defaults", f"--socket={socket(folder)}", "ping"]


def slurmdbd(folder):
    """The lines of slurmdbd.conf. It finds the socket by MYSQL_UNIX_PORT."""
    return [
        f"AuthInfo=socket={folder}/munge/socket",
        "DbdHost=localhost",
        "DbdAddr=127.0.0.1",
        f"DbdPort={PORT}",
        f"SlurmUser={USER}",
        "CommunicationParameters=NoInAddrAny",
        f"LogFile={folder}/log/slurmdbd",
        f"PidFile={folder}/pid/slurmdbd",
        "StorageType=accounting_storage/mysql",
        "StorageHost=localhost",
        "StorageUser=root",
    ]
