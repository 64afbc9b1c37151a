#!/bin/bash
# In place of /opt/percona/backup/backup.sh in the backup Job of Percona's operator: joins the group that
# PXC_SERVICE names, takes a backup into S3, Azure or the volume by the operator's own variables, and exits
# with 0 only for a verified backup (the Job asks for no more). Further arguments go to galera-sst.
#
#   command: ["bash", "/opt/percona/backup/backup.sh"]
set -euo pipefail
exec galera-sst backup --env percona-operator --attempts 3 --max-donor-time 86400 "$@"
