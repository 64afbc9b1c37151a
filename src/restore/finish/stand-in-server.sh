#!/bin/sh
# Stands in for a server in tests: tells the position that stands in the file beside the data directory.
for argument in "$@"; do
    case "$argument" in
    --datadir=*) HERE=$(dirname "${argument#--datadir=}") ;;
    esac
done
echo "2026-11-22 19:48:57 0 [Note] WSREP: Recovered position: $(cat "$HERE/recovered")" >&2
