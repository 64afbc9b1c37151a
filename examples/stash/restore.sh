#!/bin/bash
# In place of stash's percona-xtradb restore, in one Job per volume: a snapshot's stream into one pod's data
# directory. Ordinal 0 starts the cluster, the others join it by IST. A stream that restic does not
# deliver to its end is no whole backup, and nothing is restored.
#
#   STASH_SNAPSHOT     the snapshot [latest]
#   STASH_HOSTNAME     host of the snapshot [host-0]
#   ORDINAL            which pod this is [from HOSTNAME]
set -euo pipefail
ordinal=${ORDINAL:-${HOSTNAME##*-}}
restic dump --quiet --host "${STASH_HOSTNAME:-host-0}" "${STASH_SNAPSHOT:-latest}" xtrabackup.stream |
  galera-sst restore --from xbstream:- --to "${DATADIR:-/var/lib/mysql}" --force \
    --prepare --ordinal "$ordinal" "$@"
