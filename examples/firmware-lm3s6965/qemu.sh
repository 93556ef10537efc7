#!/bin/sh
# Runs a firmware in QEMU, with its port 80 at http://127.0.0.1:18080/ (or PORT).
elf=$1
shift
exec qemu-system-arm -M lm3s6965evb -display none -serial null -monitor none \
  -semihosting-config enable=on,target=native \
  -nic "user,id=net0,model=stellaris,restrict=on,hostfwd=tcp:127.0.0.1:${PORT:-18080}-:80" \
  -kernel "$elf" "$@"
