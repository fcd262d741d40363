#!/usr/bin/env bash
set -euo pipefail
pip install --quiet --editable '.[vllm]' --constraint envs/constraints-vllm.txt
