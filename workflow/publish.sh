#!/usr/bin/env bash
# Put a study's artifacts into the small DVC remote in this repository (.artifacts), so that any clone can `dvc pull` them:
#     workflow/publish.sh [STUDY [--without-weights]]      the demo when absent
# To keep it small, activation caches stay out, which the workflow makes again, by reading and without training, when something
# needs them, and so do checkpoints on the way that nothing measures, and all of them with --without-weights. Afterwards: git add the
# pointer (data.dvc for the demo, else data/STUDY.dvc) and .artifacts; git commit.
set -euo pipefail
cd "$(dirname "$0")/.."
study=${1:-demo}
test -f "data/$study/outcomes.parquet" || { echo "data/$study/outcomes.parquet: is missing; run the study '$study' first" >&2; exit 1; }
pointer=data/$study.dvc
test "$study" != demo || pointer=data.dvc # beside the README, where people look for it
trap 'rm -rf .publish' EXIT
rm -rf .publish
unused=()
if [[ ${2:-} == --without-weights ]]; then
    unused=(! -path "data/$study/checkpoints/*")
else
    for steps in "data/$study"/checkpoints/*/*/*.steps; do
        measured=${steps/checkpoints/metrics}
        test -e "${measured%.steps}.parquet" || unused+=(! -path "$steps/*")
    done
fi
mkdir -p .publish/.dvc
cp .dvc/config .publish/.dvc/
cp .dvcignore .publish/
(
    cd .publish
    git init --quiet
    (cd .. && find "data/$study" -type f ! -path "data/$study/activations/*/seed*/*" \
        ! -path '*/.*.working/*' ! -name '.*.tmp' "${unused[@]}" -print0 |
        tar --create --null --files-from -) | tar --extract
    dvc add --quiet "data/$study"
    place=$study
    test "$study" != demo || place=data/$study
    # always of this remote, whatever a lab's own default is
    sed "s#path: $study#path: $place\n  remote: demo#" "data/$study.dvc" > pointer.dvc
    dvc push --quiet
)
mv .publish/pointer.dvc "$pointer"
others=()
for each in data.dvc data/?*.dvc; do
    test "$each" = "$pointer" || test ! -e "$each" || others+=("$each")
done
test ${#others[@]} = 0 || dvc fetch --quiet "${others[@]}" # what of other studies lies in the remote stays there
rm -rf .artifacts
mv .publish/.artifacts .artifacts
test ${#others[@]} = 0 || dvc push --quiet "${others[@]}"
du -sh --apparent-size .artifacts
