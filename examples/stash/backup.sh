#!/bin/bash
# In place of stash's percona-xtradb backup: the group comes from the AppBinding (a file with its JSON), the
# stream goes into a restic repository as one snapshot, and output.json tells Stash how it ended. restic
# sees an end of input only after a whole backup; otherwise it is ended and makes no snapshot.
#
#   STASH_APPBINDING   file with the AppBinding as JSON
#   STASH_HOSTNAME     host of the snapshot [host-0]
#   STASH_OUTPUT_DIR   directory for output.json [/stash-tmp/output]
#   RESTIC_REPOSITORY, RESTIC_PASSWORD, … as restic takes them
set -euo pipefail
host=${STASH_HOSTNAME:-host-0}
exec galera-sst backup --env stash \
  --to "exec:restic backup --stdin --quiet --json --stdin-filename xtrabackup.stream --host '$host' ${RESTIC_ARGUMENTS-}" \
  --stash-output "${STASH_OUTPUT_DIR:-/stash-tmp/output}" --stash-hostname "$host" "$@"
