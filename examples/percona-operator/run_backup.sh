#!/bin/bash
# In place of run_backup.sh, which garbd starts once a donor was chosen (--recv-script): receives what the
# donor sends and stores it by the operator's own variables. Garbd's SIGTERM means that the donor has
# failed; with --wait-for-recv-script-exit it never comes while all is well.
#
# garbd starts this after the request, so donors that dial once only (8.0.28 and later, MariaDB) may come
# too early. backup.sh has no such gap.
set -euo pipefail
exec galera-sst receive --env percona-operator --settle "${SETTLE_SECONDS:-10}" "$@"
