#!/usr/bin/env bash
# Install the torch that fits this machine into the active environment: the CPU build on Linux without an NVIDIA GPU
# (the package index's default build would bring gigabytes of CUDA), the index's own build everywhere else.
set -euo pipefail
torch=$(grep -E '^torch==' "$(dirname "$0")/constraints.txt")
if [[ $(uname -s) != Linux ]] || command -v nvidia-smi >/dev/null; then
  exec pip install --quiet "$torch"
fi
pip install --quiet "$torch+cpu" 2>/dev/null ||
  pip install --quiet "$torch" --index-url https://download.pytorch.org/whl/cpu 2>/dev/null ||
  pip install --quiet "$torch"
