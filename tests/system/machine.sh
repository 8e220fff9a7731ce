#!/bin/sh
# Boots systemd as the first process of namespaces of its own, on a copy of this machine that forgets what it is told.
# unshare --mount --pid --uts --ipc --cgroup --fork --kill-child sh machine.sh SCRATCH STAGE PYTHON
# SCRATCH is an empty folder, STAGE/opt/notifyd and STAGE/srv are bound where they say, and PYTHON at /opt/python.
set -eu
scratch=$1 stage=$2 python=$3
mount --make-rprivate /
mount -t tmpfs tmpfs "$scratch"
mkdir "$scratch/upper" "$scratch/work" "$scratch/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" "$scratch/root"
mkdir -p "$scratch/root/opt/python" "$scratch/root/opt/notifyd"
mount --bind "$python" "$scratch/root/opt/python"
mount --bind "$stage/opt/notifyd" "$scratch/root/opt/notifyd"
mount --bind "$stage/srv" "$scratch/root/srv"
cd "$scratch/root"
echo /opt/python/lib >etc/ld.so.conf.d/00-opt-python.conf  # where it was built may be hidden from a service
ldconfig -r .
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
: >etc/machine-id
rm -f etc/systemd/system/*.wants/*
pivot_root . mnt  # in a mere chroot nobody may make user namespaces, as PrivateUsers= does
umount -l mnt
mount --make-rshared /  # as systemd expects it of whoever made its machine: credentials arrive that way
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --log-target=journal --show-status=0 systemd.unit=basic.target
