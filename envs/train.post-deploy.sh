#!/usr/bin/env bash
set -euo pipefail
envs/install_torch.sh
pip install --quiet --editable '.[train]' --constraint envs/constraints.txt
