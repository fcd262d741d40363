#!/usr/bin/env bash
# Install the torch that fits this machine into the active environment: the CPU build on Linux without an NVIDIA GPU
# (the package index's default build would bring gigabytes of CUDA), the index's own build everywhere else.
set -euo pipefail
install=$(dirname "$0")/pip_install.sh
torch=$(grep -E '^torch==' "$(dirname "$0")/constraints.txt")
if [[ $(uname -s) != Linux ]] || command -v nvidia-smi >/dev/null; then
  exec "$install" "$torch"
fi
"$install" "$torch+cpu" 2>/dev/null ||
  "$install" "$torch" --index-url https://download.pytorch.org/whl/cpu 2>/dev/null ||
  "$install" "$torch"
