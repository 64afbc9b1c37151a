#!/bin/sh
# Stands in for a backup tool in tests: tells a version, or runs the script beside the target directory,
# or beside the directory that this is in.
for argument in "$@"; do
    case "$argument" in
    --version) echo "tool version 10.11.20"; exit ;;
    --target-dir=*) HERE=$(dirname "${argument#--target-dir=}") ;;
    esac
done
[ -e "$HERE/script" ] || HERE=$(dirname "$HERE")
. "$HERE/script"
