//! What the database looks like. A change of it gets a new [`VERSION`] and a step that leads there from the one before.

use rusqlite::Connection;

use super::StoreError;

/// `PRAGMA user_version`.
pub(super) const VERSION: i64 = 1;
/// `PRAGMA application_id`: "xway".
const APPLICATION: i64 = 0x7877_6179;

const TABLES: &str = "
-- One row: the flow table whose living flows the counts are of, and flows to no service.
CREATE TABLE catalogue (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    flow_table TEXT NOT NULL,
    unanswered_flows INTEGER NOT NULL,
    living_unanswered_flows INTEGER NOT NULL,
    not_entered_flows INTEGER NOT NULL,
    living_not_entered_flows INTEGER NOT NULL
) STRICT;
CREATE TABLE groups (
    name TEXT PRIMARY KEY,
    note TEXT NOT NULL
) STRICT;
-- Bytes and flows of living flows stand apart: after a restart the flow table says more of them.
CREATE TABLE services (
    id INTEGER PRIMARY KEY,
    vnet TEXT NOT NULL,
    address TEXT NOT NULL,
    port INTEGER NOT NULL,
    protocol INTEGER NOT NULL,
    site TEXT,
    state TEXT NOT NULL,
    in_group TEXT,
    note TEXT NOT NULL,
    changed_unix_milliseconds INTEGER,
    changed_by TEXT NOT NULL,
    guessed INTEGER NOT NULL,
    first_seen_unix_milliseconds INTEGER NOT NULL,
    last_seen_unix_milliseconds INTEGER NOT NULL,
    flows INTEGER NOT NULL,
    to_service_bytes INTEGER NOT NULL,
    from_service_bytes INTEGER NOT NULL,
    living_flows INTEGER NOT NULL,
    living_to_service_bytes INTEGER NOT NULL,
    living_from_service_bytes INTEGER NOT NULL,
    clients INTEGER NOT NULL,
    clients_here INTEGER NOT NULL,
    client_sites TEXT NOT NULL,
    UNIQUE (vnet, address, port, protocol)
) STRICT;
-- Addresses, or a HyperLogLog sketch of them.
CREATE TABLE clients (
    service INTEGER PRIMARY KEY REFERENCES services (id) ON DELETE CASCADE,
    form BLOB NOT NULL
) STRICT;
";

/// Makes the tables, or sees that they are ours and whole.
pub(super) fn prepare(connection: &Connection, is_new: bool) -> Result<(), StoreError> {
    // The journal is emptied behind each transaction and not removed: fewer changes of the folder.
    connection.execute_batch(
        "PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
         PRAGMA trusted_schema = OFF; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY;",
    )?;
    let number =
        |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let (version, application) = (number("user_version")?, number("application_id")?);
    let is_empty: bool = connection.query_row(
        "SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)",
        (),
        |row| row.get(0),
    )?;
    if is_new || (is_empty && version == 0) {
        return make(connection);
    }
    if application != APPLICATION {
        return Err(StoreError::Foreign);
    }
    if version > VERSION {
        return Err(StoreError::Newer(version));
    }
    check(connection)
}

fn make(connection: &Connection) -> Result<(), StoreError> {
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE;{TABLES}PRAGMA application_id = {APPLICATION};PRAGMA user_version = {VERSION};COMMIT;"
    ))?;
    Ok(())
}

/// Reads all of it once: a page that is not what it was shows now, and not when it is needed.
fn check(connection: &Connection) -> Result<(), StoreError> {
    let found: String = connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
    if found == "ok" {
        return Ok(());
    }
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Err(rusqlite::Error::SqliteFailure(code, Some(found)).into())
}
