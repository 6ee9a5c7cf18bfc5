//! A catalogue of services, every field filled.

use crossway::control::Response;
use crossway::control::message::{
    ReviewState, Service, ServiceGroup, ServiceOrder, ServicesOrder, ServicesOrdered,
    ServicesReply, ServicesRequest,
};

/// The answer to `services`.
pub(crate) fn reply(request: &ServicesRequest) -> ServicesReply {
    let wanted = |service: &Service| {
        let name = service.name().to_string();
        request.filter.matches(service)
            && (request.targets.is_empty() || request.targets.contains(&name))
    };
    let mut services: Vec<Service> = all().into_iter().filter(wanted).collect();
    let matched = services.len() as u64;
    request.sort.keep_top(&mut services, request.top);
    ServicesReply {
        services,
        matched,
        present: 3,
        capacity: 16_384,
        unanswered_flows: 1_000,
        not_entered_flows: 2,
        groups: vec![group()],
        database: "/var/lib/crossway/berlin-1.services.db".to_owned(),
        kept: true,
        filter: request.filter.clone(),
    }
}

/// The answer to an order.
pub(crate) fn ordered(order: &ServicesOrder) -> Response {
    let request = ServicesRequest {
        targets: order.targets.clone(),
        ..ServicesRequest::default()
    };
    let mut ordered = ServicesOrdered::default();
    if let ServiceOrder::Group { .. } = order.order {
        ordered.group = Some(group());
    }
    if !order.targets.is_empty() {
        ordered.services = reply(&request).services;
        if ordered.services.is_empty() {
            let target = &order.targets[0];
            return Response::error(format!("{target} is no service of the catalogue"));
        }
    }
    Response::ServicesOrdered(ordered)
}

fn group() -> ServiceGroup {
    ServiceGroup {
        name: "erp".to_owned(),
        note: "for accounting".to_owned(),
        services: 1,
    }
}

fn all() -> Vec<Service> {
    let https = Service {
        real: None,
        vnet: "default".to_owned(),
        address: "10.2.0.10".parse().unwrap(),
        port: 443,
        protocol: "tcp".to_owned(),
        protocol_number: 6,
        site: Some("paris".to_owned()),
        state: ReviewState::Approved,
        group: Some("erp".to_owned()),
        note: "the web shop".to_owned(),
        changed_unix_milliseconds: Some(1_800_000_000_000),
        changed_by: "uid 0, pid 7".to_owned(),
        clients: 12_345,
        clients_exact: false,
        clients_here: true,
        client_sites: vec!["rome".to_owned()],
        client_sites_complete: true,
        flows: 54_321,
        to_service_bytes: 1 << 20,
        from_service_bytes: 3 << 30,
        first_seen_unix_milliseconds: 1_790_000_000_000,
        last_seen_unix_milliseconds: 1_800_000_000_000,
        guessed: false,
    };
    let sip = Service {
        address: "fd00:1::5060".parse().unwrap(),
        port: 5060,
        protocol: "udp".to_owned(),
        protocol_number: 17,
        site: None,
        state: ReviewState::Unreviewed,
        group: None,
        note: String::new(),
        changed_unix_milliseconds: None,
        changed_by: String::new(),
        clients: 3,
        clients_exact: true,
        clients_here: false,
        client_sites: vec!["paris".to_owned()],
        guessed: true,
        ..https.clone()
    };
    let gre = Service {
        address: "10.2.0.1".parse().unwrap(),
        port: 0,
        protocol: "gre".to_owned(),
        protocol_number: 47,
        clients: 1,
        clients_exact: true,
        group: None,
        note: String::new(),
        ..https.clone()
    };
    vec![gre, https, sip]
}
