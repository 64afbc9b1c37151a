//! All tables of a server, to compare two servers, and bulk data.

use std::collections::BTreeMap;

use super::server::Server;

const SYSTEM: &str = "'mysql','sys','information_schema','performance_schema'";

/// The checksum of every table that is not the server's own.
pub(crate) fn checksums(server: &impl Server) -> BTreeMap<String, String> {
    let tables = server.query(&format!(
        "SELECT CONCAT('`', table_schema, '`.`', table_name, '`') FROM information_schema.tables
         WHERE table_schema NOT IN ({SYSTEM}) AND table_type = 'BASE TABLE'"
    ));
    let list = tables.lines().collect::<Vec<_>>().join(", ");
    assert!(!list.is_empty(), "{} has no tables", server.name());
    let rows = server.query(&format!("CHECKSUM TABLE {list}"));
    rows.lines()
        .map(|row| row.split_once('\t').expect("a table and its checksum"))
        .map(|(table, checksum)| (table.to_owned(), checksum.to_owned()))
        .collect()
}

/// Fills tables of about 64 MiB each until `mebibytes` are there, on this server alone: it must be
/// the only one of its group, and those that join later must take a full state transfer.
pub(crate) fn generate(server: &impl Server, mebibytes: u64) {
    server.query("SET wsrep_on = OFF; CREATE DATABASE bulk");
    for table in 0..mebibytes.div_ceil(64) {
        server.query(&format!(
            "SET wsrep_on = OFF; USE bulk;
             CREATE TABLE bulk.t{table} (id INT PRIMARY KEY, filler VARCHAR(8000) NOT NULL);
             INSERT INTO bulk.t{table}
               SELECT seq, REPEAT(SHA2(CONCAT({table}, '-', seq), 512), 60) FROM seq_1_to_8300"
        ));
    }
}
