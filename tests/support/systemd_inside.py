"""Start a systemd of our own and run a command under it; see ``own_systemd``.

It is the first process of a new PID and mount namespace: when it ends, whatever systemd
has started is killed by the kernel.  Arguments: the folder of the units, and a command.
"""

import os
import socket
import subprocess
import sys

units, *command = sys.argv[1:]
for folder in os.environ.pop("CGROUPS").split(":"):
    with open(f"{folder}/cgroup.procs", "w") as file:
        file.write("0")

# A /run of our own: the machine's systemd, if it has one, is not asked.
subprocess.run(["mount", "-t", "tmpfs", "own", "/run"], check=True)
os.makedirs("/run/systemd/system")  # "booted with systemd", without which it ends
os.makedirs("/run/user")

ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
ready.bind("/run/ready")
os.environ["XDG_RUNTIME_DIR"] = "/run/user"
systemd = subprocess.Popen(
    ["/lib/systemd/systemd", "--user", "--unit=basic.target"],
    env={**os.environ, "NOTIFY_SOCKET": "/run/ready", "SYSTEMD_UNIT_PATH": units},
)
while b"READY=1" not in ready.recv(4096):
    pass
subprocess.run(["systemctl", "--user", "start", "pin.target"], check=True)
sys.exit(subprocess.run(command, check=False).returncode)
