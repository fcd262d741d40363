#!/usr/bin/env bash
# `pip install` that tells in one line how far it is, rewritten on a terminal; all that pip said is shown when it fails.
set -uo pipefail
said=$(mktemp)
trap 'rm -f "$said"' EXIT
tell() { if [[ -t 1 ]]; then printf '\r\033[K  %.75s' "$1"; elif [[ $1 == *"$2"* ]]; then printf '  %s\n' "$1"; fi; }
follow() {
  local count=0 verb what
  while read -r verb what _; do
    case $verb in
      Collecting) tell "package $((++count)): $what" 'package 1:' ;;
      Downloading) tell "package $count: downloading ${what##*/}" only-on-a-terminal ;;
      Installing) ((count == 0)) || tell "$count packages found, unpacking them" unpacking ;;
    esac
  done
  [[ ! -t 1 ]] || printf '\r\033[K'
}
if pip install --disable-pip-version-check --progress-bar off "$@" 2>&1 | tee "$said" | follow; then exit 0; fi
cat "$said" >&2
exit 1
