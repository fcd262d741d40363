#!/usr/bin/env bash
# Put the demo's artifacts into the small DVC remote in this repository (.artifacts), so that any clone can `dvc pull` them.
# To keep it small, caches, probe directions, checkpoints on the way to a result and the adapters of the arms that only
# complete the picture stay out; the workflow makes them again when something needs them. Afterwards: git add data.dvc
# .artifacts; git commit.
set -euo pipefail
cd "$(dirname "$0")/.."
test -f data/outcomes/demo.parquet || { echo "data/outcomes/demo.parquet: is missing; run the demo study first" >&2; exit 1; }
trap 'rm -rf .publish' EXIT
rm -rf .publish
mkdir -p .publish/.dvc
cp .dvc/config .publish/.dvc/
cp .dvcignore .publish/
(
    cd .publish
    git init --quiet
    (cd .. && find data \( -path '*/demo/*' -o -path '*/demo.*' -o -path 'data/provenance/*' \) -type f \
        ! -path 'data/activations/*/seed*/*' ! -path 'data/probes/*.safetensors' ! -path '*.steps/*' ! -path '*/.*.working/*' \
        ! -path 'data/checkpoints/*/math*/seed*/*' ! -path 'data/checkpoints/*/gsm8k/seed*/*' \
        ! -path 'data/checkpoints/*/literal/seed*/*' ! -path 'data/checkpoints/*/target_*/seed*/*' -print0 |
        tar --create --null --files-from -) | tar --extract
    dvc add --quiet data
    dvc push --quiet
)
rm -rf .artifacts
mv .publish/.artifacts .artifacts
mv .publish/data.dvc data.dvc
du -sh --apparent-size .artifacts
