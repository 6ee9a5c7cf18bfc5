use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use crossway_api::message::{ServicesRequest, WallClock};

use super::*;
use crate::catalogue::{Batch, Catalogue, Counts};
use crate::scope::Scope;
use crate::test_folder::Folder;
use datapath_abi::flow::{FlowCounters, FlowKey, FlowKey4, OpenedBy};

/// So many services, each with so many clients.
fn catalogue(services: u16, clients: u32) -> Catalogue {
    let flow = |service: u16, client: u32| {
        let key = FlowKey4 {
            local: (0x0a01_0000 + client).to_be_bytes(),
            remote: [10, 2, 0, 10],
            local_port: 40_000_u16.to_be_bytes(),
            remote_port: service.to_be_bytes(),
            protocol: 17,
            ..FlowKey4::default()
        };
        let counters = FlowCounters {
            to_site_packets: 1,
            to_site_bytes: 10,
            from_site_packets: 1,
            from_site_bytes: 20,
            first_seen_ns: 1,
            last_seen_ns: 2,
            opened_by: OpenedBy::Local as u8,
            ..FlowCounters::default()
        };
        (FlowKey::from(key), counters)
    };
    let mut catalogue = Catalogue::new(Scope::default(), 1000);
    let pairs =
        (1..=services).flat_map(|service| (0..clients).map(move |client| (service, client)));
    catalogue.take(&Batch {
        living: pairs
            .map(|(service, client)| flow(service, client))
            .collect(),
        ended: Vec::new(),
        pass_began: true,
        pass_ended: true,
        clock: WallClock {
            now_ns: 3,
            unix_milliseconds: 1_800_000_000_000,
        },
        sites: std::iter::once((0, "paris".to_owned())).collect(),
    });
    catalogue
}

fn again(kept: Kept) -> Catalogue {
    let mut catalogue = Catalogue::new(Scope::default(), 1000);
    catalogue.go_on_from(kept);
    catalogue
}

fn told(catalogue: &Catalogue) -> Vec<crossway_api::message::Service> {
    catalogue
        .answer(&ServicesRequest::default())
        .unwrap()
        .services
}

#[test]
fn what_is_kept_is_what_was_there_and_the_file_is_its_owners_alone() {
    let folder = Folder::new();
    let mut store = Store::open(&folder.file(), 0).unwrap();
    let mut catalogue = catalogue(3, 2000);
    let order = |text: &str| serde_order(text);
    for text in [
        "approve 10.2.0.10:1/udp",
        "group 10.2.0.10:2/udp",
        "note 10.2.0.10:3/udp",
        "forget 10.2.0.10:3/udp",
    ] {
        catalogue.order(&order(text), ("uid 7", 9)).unwrap();
    }
    store.save(&catalogue.changes(), Some("a")).unwrap();
    let before = told(&catalogue);
    assert_eq!(before.len(), 2);
    assert!(!before[0].clients_exact);
    drop(store);

    for file in fs::read_dir(&folder.0).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", file.path());
    }
    let store = Store::open(&folder.file(), 0).unwrap();
    let kept = store.load(Some("a")).unwrap();
    let living = Counts {
        flows: 2000,
        to_bytes: 20_000,
        from_bytes: 40_000,
    };
    assert!(
        kept.services
            .iter()
            .all(|(_, entry)| entry.counts.living == living)
    );
    assert_eq!(told(&again(kept)), before);
    // With another flow table, all those flows are over.
    let kept = store.load(Some("b")).unwrap();
    assert!(
        kept.services
            .iter()
            .all(|(_, entry)| entry.counts.ended == living)
    );
    assert_eq!(told(&again(kept)), before);
}

/// `approve`, `group`, `note` or `forget` a service.
fn serde_order(text: &str) -> crossway_api::message::ServicesOrder {
    use crossway_api::message::{ReviewState, ServiceOrder, ServicesOrder};
    let (word, target) = text.split_once(' ').unwrap();
    let order = match word {
        "approve" => ServiceOrder::Decide {
            state: ReviewState::Approved,
        },
        "group" => ServiceOrder::Group {
            name: "erp".to_owned(),
            note: Some("it's \"SAP\"; DROP TABLE services".to_owned()),
        },
        "note" => ServiceOrder::Note {
            text: "?".to_owned(),
        },
        _ => ServiceOrder::Forget,
    };
    ServicesOrder {
        targets: vec![target.to_owned()],
        order,
    }
}

#[test]
fn only_what_has_changed_is_written_and_what_was_forgotten_goes() {
    let folder = Folder::new();
    let mut store = Store::open(&folder.file(), 0).unwrap();
    let mut catalogue = catalogue(3, 1);
    store.save(&catalogue.changes(), None).unwrap();
    catalogue.on_written();
    assert!(catalogue.changes().services.is_empty());
    catalogue
        .order(&serde_order("approve 10.2.0.10:1/udp"), ("", 0))
        .unwrap();
    catalogue
        .order(&serde_order("forget 10.2.0.10:2/udp"), ("", 0))
        .unwrap();
    assert_eq!(catalogue.changes().services.len(), 1);
    store.save(&catalogue.changes(), None).unwrap();
    let kept = again(store.load(None).unwrap());
    assert_eq!(told(&kept), told(&catalogue));
    let clients: i64 = store
        .connection
        .query_row("SELECT count(*) FROM clients", (), |row| row.get(0))
        .unwrap();
    assert_eq!(clients, 2);
}

#[test]
fn one_at_a_time_has_it_and_others_may_look_inside() {
    let folder = Folder::new();
    let mut store = Store::open(&folder.file(), 0).unwrap();
    let second = Store::open(&folder.file(), 0).unwrap_err();
    assert!(
        second.is_busy() && matches!(second, StoreError::InUse),
        "{second}"
    );
    let catalogue = catalogue(1, 1);
    store.save(&catalogue.changes(), None).unwrap();
    let reader =
        Connection::open_with_flags(folder.file(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let address: String = reader
        .query_row("SELECT address FROM services", (), |row| row.get(0))
        .unwrap();
    assert_eq!(address, "10.2.0.10");
    store.save(&catalogue.changes(), None).unwrap();
    drop(store);
    Store::open(&folder.file(), 0).unwrap();
}

#[test]
fn a_damaged_file_is_put_aside_whole_and_another_is_begun() {
    for (name, damage) in [
        (
            "no database",
            b"this is no database, but it is somebody's file".to_vec(),
        ),
        ("cut", Vec::new()),
    ] {
        let folder = Folder::new();
        let mut store = Store::open(&folder.file(), 0).unwrap();
        store.save(&catalogue(200, 20).changes(), None).unwrap();
        drop(store);
        let damage = if damage.is_empty() {
            let whole = fs::read(folder.file()).unwrap();
            // Its head is right, and a page in the middle is not.
            let mut cut = whole.clone();
            let middle = (cut.len() / 2) & !4095;
            cut[middle..middle + 4096].fill(0xa5);
            cut
        } else {
            damage
        };
        fs::write(folder.file(), &damage).unwrap();
        let store = Store::open(&folder.file(), 17).unwrap();
        let (mut store, kept) = store.load_or_begin_anew(None, 17).unwrap();
        assert!(kept.services.is_empty(), "{name}");
        let aside = folder.0.join("services.db.damaged-17");
        assert_eq!(store.set_aside(), Some(aside.as_path()), "{name}");
        assert_eq!(fs::read(&aside).unwrap(), damage, "{name}");
        store.save(&catalogue(1, 1).changes(), None).unwrap();
    }
}

#[test]
fn what_is_newer_or_of_somebody_else_is_left_as_it_is() {
    let folder = Folder::new();
    drop(Store::open(&folder.file(), 0).unwrap());
    let change = |sql: &str| {
        let other = Connection::open(folder.file()).unwrap();
        other.execute_batch(sql).unwrap();
        drop(other);
        fs::read(folder.file()).unwrap()
    };
    let newer = change("PRAGMA user_version = 2");
    let refused = Store::open(&folder.file(), 0).unwrap_err();
    assert!(matches!(refused, StoreError::Newer(2)), "{refused}");
    assert!(
        refused.to_string().contains("this version knows 1"),
        "{refused}"
    );
    assert_eq!(fs::read(folder.file()).unwrap(), newer);
    let foreign = change("PRAGMA application_id = 7");
    let refused = Store::open(&folder.file(), 0).unwrap_err();
    assert!(matches!(refused, StoreError::Foreign), "{refused}");
    assert_eq!(fs::read(folder.file()).unwrap(), foreign);
}

#[test]
fn a_folder_is_made_if_only_it_is_missing_and_refused_where_others_write() {
    let folder = Folder::new();
    let inner = folder.0.join("crossway/services.db");
    drop(Store::open(&inner, 0).unwrap());
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(inner.parent().unwrap()), 0o700);
    let deep = folder.0.join("no/such/services.db");
    let refused = Store::open(&deep, 0).unwrap_err().to_string();
    assert!(refused.contains("no/such"), "{refused}");
    fs::set_permissions(inner.parent().unwrap(), Permissions::from_mode(0o777)).unwrap();
    let refused = Store::open(&inner, 0).unwrap_err().to_string();
    assert!(refused.contains("chmod go-w"), "{refused}");
}
