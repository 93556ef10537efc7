#!/bin/sh
# Runs a firmware in QEMU, with its port 80 at http://127.0.0.1:18080/ (or PORT); and its port 81 at
# PORT81, if that is set.
elf=$1
shift
exec qemu-system-arm -M lm3s6965evb -display none -serial null -monitor none \
  -semihosting-config enable=on,target=native \
  -nic "user,id=net0,model=stellaris,restrict=on,hostfwd=tcp:127.0.0.1:${PORT:-18080}-:80${PORT81:+,hostfwd=tcp:127.0.0.1:$PORT81-:81}" \
  -kernel "$elf" "$@"
