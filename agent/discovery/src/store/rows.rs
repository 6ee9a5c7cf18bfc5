//! Services as rows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crossway_api::message::ReviewState;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, Statement, params};

use super::StoreError;
use crate::catalogue::{Changes, Counts, Entry, Kept, Review, Running, ServiceKey};
use crate::clients::Clients;

/// The one virtual network of this version.
const VNET: &str = "default";
const VNET_NUMBER: u32 = datapath_abi::settings::DEFAULT_VNET;
/// Between names of sites, which have none.
const BETWEEN_SITES: char = '\n';

const SELECT: &str = "
SELECT id, vnet, address, port, protocol, site, state, in_group, note, changed_unix_milliseconds, changed_by, guessed,
    first_seen_unix_milliseconds, last_seen_unix_milliseconds, flows, to_service_bytes, from_service_bytes,
    living_flows, living_to_service_bytes, living_from_service_bytes, clients_here, client_sites, form
FROM services LEFT JOIN clients ON clients.service = services.id WHERE vnet = ?1";

const UPSERT: &str = "
INSERT INTO services (vnet, address, port, protocol, site, state, in_group, note, changed_unix_milliseconds, changed_by,
    guessed, first_seen_unix_milliseconds, last_seen_unix_milliseconds, flows, to_service_bytes, from_service_bytes,
    living_flows, living_to_service_bytes, living_from_service_bytes, clients, clients_here, client_sites)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)
ON CONFLICT (vnet, address, port, protocol) DO UPDATE SET site = excluded.site, state = excluded.state,
    in_group = excluded.in_group, note = excluded.note,
    changed_unix_milliseconds = excluded.changed_unix_milliseconds, changed_by = excluded.changed_by,
    guessed = excluded.guessed, first_seen_unix_milliseconds = excluded.first_seen_unix_milliseconds,
    last_seen_unix_milliseconds = excluded.last_seen_unix_milliseconds, flows = excluded.flows,
    to_service_bytes = excluded.to_service_bytes, from_service_bytes = excluded.from_service_bytes,
    living_flows = excluded.living_flows, living_to_service_bytes = excluded.living_to_service_bytes,
    living_from_service_bytes = excluded.living_from_service_bytes, clients = excluded.clients,
    clients_here = excluded.clients_here, client_sites = excluded.client_sites
RETURNING id";

const UPSERT_CLIENTS: &str = "
INSERT INTO clients (service, form) VALUES (?1, ?2) ON CONFLICT (service) DO UPDATE SET form = excluded.form";

const DELETE: &str =
    "DELETE FROM services WHERE vnet = ?1 AND address = ?2 AND port = ?3 AND protocol = ?4";

const SELECT_CATALOGUE: &str = "
SELECT flow_table, unanswered_flows, living_unanswered_flows, not_entered_flows, living_not_entered_flows FROM catalogue";

const REPLACE_CATALOGUE: &str = "
INSERT OR REPLACE INTO catalogue (id, flow_table, unanswered_flows, living_unanswered_flows, not_entered_flows,
    living_not_entered_flows) VALUES (1, ?1, ?2, ?3, ?4, ?5)";

/// All that was kept.
pub(super) fn load(connection: &Connection, flow_table: Option<&str>) -> Result<Kept, StoreError> {
    let only_flows = |ended: i64, living: i64, same| {
        let flows = |count: i64| Counts {
            flows: count as u64,
            ..Counts::default()
        };
        Running::kept(flows(ended), flows(living), same)
    };
    let catalogue = connection
        .query_row(SELECT_CATALOGUE, (), |row| {
            let table: String = row.get(0)?;
            let same = flow_table == Some(table.as_str());
            let unanswered = only_flows(row.get(1)?, row.get(2)?, same);
            Ok((same, unanswered, only_flows(row.get(3)?, row.get(4)?, same)))
        })
        .optional()?;
    let (same, unanswered, not_entered) = catalogue.unwrap_or_default();
    let mut groups = connection.prepare("SELECT name, note FROM groups")?;
    let groups = groups.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let groups = groups.collect::<rusqlite::Result<BTreeMap<String, String>>>()?;
    let mut services = connection.prepare(SELECT)?;
    let services = services.query_map([VNET], |row| read_service(row, same))?;
    Ok(Kept {
        services: services.collect::<rusqlite::Result<_>>()?,
        groups,
        unanswered,
        not_entered,
    })
}

fn read_service(row: &Row<'_>, same_table: bool) -> rusqlite::Result<(ServiceKey, Entry)> {
    let text: String = row.get("address")?;
    let address: IpAddr = text.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(2, Type::Text, Box::new(error))
    })?;
    let key = ServiceKey {
        vnet: VNET_NUMBER,
        address,
        port: row.get("port")?,
        protocol: row.get("protocol")?,
    };
    let number = |column: &str| row.get::<_, i64>(column).map(|number| number as u64);
    let counts = |flows, to, from| -> rusqlite::Result<Counts> {
        Ok(Counts {
            flows: number(flows)?,
            to_bytes: number(to)?,
            from_bytes: number(from)?,
        })
    };
    let ended = counts("flows", "to_service_bytes", "from_service_bytes")?;
    let living = counts(
        "living_flows",
        "living_to_service_bytes",
        "living_from_service_bytes",
    )?;
    let state: String = row.get("state")?;
    let by: String = row.get("changed_by")?;
    let at: Option<i64> = row.get("changed_unix_milliseconds")?;
    let sites: String = row.get("client_sites")?;
    let form: Option<Vec<u8>> = row.get("form")?;
    let mut entry = Entry::new(address);
    entry.site = row.get("site")?;
    entry.counts = Running::kept(ended, living, same_table);
    entry.clients_here = row.get("clients_here")?;
    entry.client_sites = sites
        .split(BETWEEN_SITES)
        .filter(|site| !site.is_empty())
        .map(str::to_owned)
        .collect::<BTreeSet<_>>();
    entry.first_seen = number("first_seen_unix_milliseconds")?;
    entry.last_seen = number("last_seen_unix_milliseconds")?;
    entry.guessed = row.get("guessed")?;
    entry.review = Review {
        // What a later version may have written is at least no decision that this one would act on.
        state: ReviewState::from_word(&state).unwrap_or_default(),
        group: row.get("in_group")?,
        note: row.get("note")?,
        changed: at.map(|at| (at as u64, by)),
    };
    if let Some(clients) = form.as_deref().and_then(Clients::from_bytes) {
        entry.clients = clients;
    } else {
        tracing::warn!(service = %key, "the clients of a service are counted anew: what was kept of them is damaged");
    }
    Ok((key, entry))
}

/// Writes changes in one transaction.
pub(super) fn save(
    connection: &mut Connection,
    changes: &Changes<'_>,
    flow_table: Option<&str>,
) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    {
        let mut delete = transaction.prepare(DELETE)?;
        for key in changes.forgotten {
            // One that has come again is another one, with other clients.
            delete.execute(params![
                VNET,
                key.address.to_string(),
                key.port,
                key.protocol
            ])?;
        }
        let mut service = transaction.prepare(UPSERT)?;
        let mut clients = transaction.prepare(UPSERT_CLIENTS)?;
        for (key, entry) in &changes.services {
            let id = write_service(&mut service, key, entry)?;
            if entry.to_write().1 {
                clients.execute(params![id, entry.clients.to_bytes()])?;
            }
        }
        if let Some(groups) = changes.groups {
            transaction.execute("DELETE FROM groups", ())?;
            let mut group =
                transaction.prepare("INSERT INTO groups (name, note) VALUES (?1, ?2)")?;
            for (name, note) in groups {
                group.execute([name, note])?;
            }
        }
        let (unanswered, not_entered) = (changes.unanswered, changes.not_entered);
        transaction.execute(
            REPLACE_CATALOGUE,
            params![
                flow_table.unwrap_or_default(),
                unanswered.ended.flows as i64,
                unanswered.living.flows as i64,
                not_entered.ended.flows as i64,
                not_entered.living.flows as i64,
            ],
        )?;
    }
    transaction.commit()?;
    Ok(())
}

fn write_service(
    statement: &mut Statement<'_>,
    key: &ServiceKey,
    entry: &Entry,
) -> rusqlite::Result<i64> {
    let (ended, living) = (entry.counts.ended, entry.counts.living);
    let (at, by) = match &entry.review.changed {
        Some((at, by)) => (Some(*at as i64), by.as_str()),
        None => (None, ""),
    };
    let sites: Vec<&str> = entry.client_sites.iter().map(String::as_str).collect();
    statement.query_row(
        params![
            VNET,
            key.address.to_string(),
            key.port,
            key.protocol,
            entry.site,
            entry.review.state.as_str(),
            entry.review.group,
            entry.review.note,
            at,
            by,
            entry.guessed,
            entry.first_seen as i64,
            entry.last_seen as i64,
            ended.flows as i64,
            ended.to_bytes as i64,
            ended.from_bytes as i64,
            living.flows as i64,
            living.to_bytes as i64,
            living.from_bytes as i64,
            entry.clients.count() as i64,
            entry.clients_here,
            sites.join(&BETWEEN_SITES.to_string()),
        ],
        |row| row.get(0),
    )
}
