//! Data whose every prefix can be told: what a snapshot holds shows which commits it contains.
//!
//! All writers append to one ledger, so its entries have the order in which the group committed
//! them. Each entry's hash covers the one before, and the same transaction moves money between two
//! accounts. A consistent snapshot therefore has the entries 1 to N without a gap, an unbroken
//! chain of hashes, a position row that says N, and as much money as there was at the beginning.

use super::server::Server;

/// Accounts, and the money each starts with.
const ACCOUNTS: u64 = 100;
const MONEY: u64 = 1000;

/// Creates the tables, and some that nobody changes later.
pub(crate) fn create(server: &impl Server) {
    server.query(&format!(
        "CREATE DATABASE shop CHARACTER SET utf8mb4; USE shop;
         CREATE TABLE shop.position (id INT PRIMARY KEY, entry BIGINT NOT NULL);
         CREATE TABLE shop.ledger (entry BIGINT PRIMARY KEY, writer INT NOT NULL,
           hash CHAR(64) NOT NULL, note VARCHAR(200) NOT NULL);
         CREATE TABLE shop.account (id INT PRIMARY KEY, money BIGINT NOT NULL);
         INSERT INTO shop.position VALUES (1, 0);
         INSERT INTO shop.ledger VALUES (0, 0, SHA2('', 256), '');
         INSERT INTO shop.account SELECT seq, {MONEY} FROM seq_1_to_{ACCOUNTS};
         CREATE TABLE shop.article (id INT PRIMARY KEY, name VARCHAR(200), price DECIMAL(9,2));
         INSERT INTO shop.article
           SELECT seq, REPEAT(MD5(seq), 5), seq / 7 FROM seq_1_to_20000;"
    ));
    server.query(APPEND);
}

/// One transaction, all or nothing; a row `committed` tells that it is done.
const APPEND: &str = "
DELIMITER //
CREATE PROCEDURE shop.append(by_writer INT, payload BIGINT, payer INT, payee INT)
BEGIN
  DECLARE next BIGINT;
  DECLARE EXIT HANDLER FOR SQLEXCEPTION ROLLBACK;
  START TRANSACTION;
  UPDATE shop.position SET entry = entry + 1 WHERE id = 1;
  SELECT entry INTO next FROM shop.position WHERE id = 1;
  INSERT INTO shop.ledger
    SELECT next, by_writer, SHA2(CONCAT(hash, payload), 256), payload
    FROM shop.ledger WHERE entry = next - 1;
  UPDATE shop.account SET money = money - 1 WHERE id = payer;
  UPDATE shop.account SET money = money + 1 WHERE id = payee;
  COMMIT;
  SELECT 'committed';
END //
";

/// The statement that appends one entry; it answers `committed`, or nothing.
pub(crate) fn append(writer: usize, payload: u64) -> String {
    let (payer, payee) = (payload % ACCOUNTS + 1, payload / 7 % ACCOUNTS + 1);
    format!("CALL shop.append({writer}, {payload}, {payer}, {payee})")
}

/// The last entry that a server has, after checking that it has all before it and nothing else.
pub(crate) fn verify(server: &impl Server) -> u64 {
    let number = |sql: &str| -> u64 {
        server.query(sql).parse().unwrap_or_else(|_| panic!("{sql} gave no number"))
    };
    let last = number("SELECT MAX(entry) FROM shop.ledger");
    assert_eq!(number("SELECT entry FROM shop.position"), last, "position and ledger differ");
    assert_eq!(number("SELECT COUNT(*) FROM shop.ledger"), last + 1, "the ledger has a gap");
    let broken = number(
        "SELECT COUNT(*) FROM shop.ledger a JOIN shop.ledger b ON b.entry = a.entry + 1
         WHERE b.hash <> SHA2(CONCAT(a.hash, b.note), 256)",
    );
    assert_eq!(broken, 0, "the chain of hashes is broken");
    assert_eq!(number("SELECT SUM(money) FROM shop.account"), ACCOUNTS * MONEY, "money was lost");
    last
}

/// What each account must hold once the entries up to `last` are booked, from those entries alone.
pub(crate) fn accounts_at(server: &impl Server, last: u64) -> String {
    let booked = |account: &str| {
        format!(
            "(SELECT COUNT(*) FROM shop.ledger WHERE entry BETWEEN 1 AND {last} AND {account} = id)"
        )
    };
    server.query(&format!(
        "SELECT id, {MONEY} - {} + {} FROM shop.account ORDER BY id",
        booked(&format!("note % {ACCOUNTS} + 1")),
        booked(&format!("note DIV 7 % {ACCOUNTS} + 1")),
    ))
}

/// What each account holds.
pub(crate) fn accounts(server: &impl Server) -> String {
    server.query("SELECT id, money FROM shop.account ORDER BY id")
}

/// A digest of the entries up to `last`, to compare a snapshot with a server that went on.
pub(crate) fn digest(server: &impl Server, last: u64) -> String {
    server.query(&format!(
        "SELECT COUNT(*), BIT_XOR(CAST(CONV(LEFT(SHA2(CONCAT_WS('|', entry, writer, hash, note),
           256), 15), 16, 10) AS UNSIGNED)) FROM shop.ledger WHERE entry <= {last}"
    ))
}
