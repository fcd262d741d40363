#!/usr/bin/env bash
set -euo pipefail
pip install --quiet --editable . --constraint envs/constraints.txt
