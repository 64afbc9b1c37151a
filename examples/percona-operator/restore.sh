#!/bin/bash
# In place of recovery-cloud.sh and recovery-pvc-joiner.sh, in one Job per volume: makes the data directory
# of one pod from the backup that the operator's variables name. With the ordinal in the Job's name
# (…-0, …-1, …) all pods are restored: the first starts the cluster, the others join it by IST.
set -euo pipefail
ordinal=${ORDINAL:-${HOSTNAME##*-}}
exec galera-sst restore --env percona-operator --to "${DATADIR:-/datadir}" --force \
  --prepare --ordinal "$ordinal" "$@"
