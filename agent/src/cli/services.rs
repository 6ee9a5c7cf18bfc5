//! `crossway services`.

mod table;

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCandidates;

use super::failure::Failure;
use super::output::{print, print_json};
use super::{Options, Watch, complete, flows, policy, reading};
use crate::control::message::{
    MOST_TARGETS, ReviewState, RuleSet, ServiceOrder, ServicesOrder, ServicesReply, ServicesRequest,
};
use crate::control::{Request, Response, ServiceFilter, ServiceSort};
use crate::prefix::Prefix;
pub(super) use table::{clients, time};

/// Which services, or what is to be done with them.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "A SERVICE is ADDRESS:PORT/PROTOCOL, or the name of a group. Examples:\n  \
                  crossway services --state unreviewed --sort new --top 20\n  \
                  crossway services approve 10.2.0.10:443/tcp '[fd00::53]:53/udp'\n  \
                  crossway services group erp 10.2.0.10:443/tcp --note 'asked for by accounting'\n  \
                  crossway services export --format policy >allowed.toml"
)]
pub(super) struct Services {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show all that is known of services
    Show(Targets),
    /// Say that somebody looks into services
    Review(Targets),
    /// Say that services are meant to be there
    Approve(Targets),
    /// Say that services are not meant to be there; that alone blocks nothing
    Unapprove(Targets),
    /// Say that nobody has looked at services yet
    Reset(Targets),
    /// Write something about a service
    Note {
        /// The service
        #[arg(value_name = "SERVICE", add = ArgValueCandidates::new(complete::services))]
        service: String,
        /// What; an empty text takes the note away
        text: String,
    },
    /// Take services out of the catalogue, until they are seen again
    Forget(Targets),
    /// Show the groups
    Groups,
    /// Put services into a group, and make it if it is not there
    Group(Group),
    /// Print services for programs
    Export(Export),
}

/// Services.
#[derive(Args, Debug)]
struct Targets {
    /// Services as `crossway services` shows them, or names of groups
    #[arg(value_name = "SERVICE", required = true, num_args = 1..=MOST_TARGETS, add = ArgValueCandidates::new(complete::services))]
    services: Vec<String>,
}

#[derive(Args, Debug)]
struct Group {
    /// Its name
    #[arg(add = ArgValueCandidates::new(complete::service_groups))]
    name: String,
    /// Services as `crossway services` shows them
    #[arg(value_name = "SERVICE", num_args = 0..=MOST_TARGETS, add = ArgValueCandidates::new(complete::services))]
    services: Vec<String>,
    /// Write something about the group
    #[arg(long, value_name = "TEXT", conflicts_with = "remove")]
    note: Option<String>,
    /// Take the services out instead; without any, the group is gone
    #[arg(long)]
    remove: bool,
}

#[derive(Args, Debug)]
struct Export {
    /// As what
    #[arg(long, value_enum)]
    format: Format,
    #[command(flatten)]
    filter: Filter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// JSON with stable field names
    Json,
    /// Rules for the configuration file, as `crossway policy suggest` prints them; of approved services, unless --state
    /// names others
    Policy,
}

#[derive(Args, Debug)]
struct List {
    #[command(flatten)]
    filter: Filter,
    /// What comes first
    #[arg(long, value_enum, default_value = "address")]
    sort: Sort,
    /// Show that many at most [default: all]
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    #[command(flatten)]
    watch: Watch,
}

/// Which services.
#[derive(Args, Debug)]
pub(super) struct Filter {
    /// Only services in this state
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Only services in this site
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(complete::sites))]
    site: Option<String>,
    /// Only services on this gateway's own side
    #[arg(long, conflicts_with = "site")]
    here: bool,
    /// Only services with an address in this prefix
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<Prefix>,
    /// Only services of this group
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(complete::service_groups))]
    group: Option<String>,
    /// Only services at this port
    #[arg(long)]
    port: Option<u16>,
    /// Only services of this IP protocol: tcp, udp, sctp, gre, … or a number
    #[arg(long, value_parser = flows::parse_protocol)]
    protocol: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum State {
    Unreviewed,
    InReview,
    Approved,
    Unapproved,
}

impl From<State> for ReviewState {
    fn from(state: State) -> Self {
        match state {
            State::Unreviewed => Self::Unreviewed,
            State::InReview => Self::InReview,
            State::Approved => Self::Approved,
            State::Unapproved => Self::Unapproved,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Sort {
    /// By address and port
    Address,
    /// Most bytes in both directions
    Bytes,
    /// Most clients
    Clients,
    /// Most flows
    Flows,
    /// First seen last
    New,
    /// Last seen last
    Seen,
}

impl From<Sort> for ServiceSort {
    fn from(sort: Sort) -> Self {
        match sort {
            Sort::Address => Self::Address,
            Sort::Bytes => Self::Bytes,
            Sort::Clients => Self::Clients,
            Sort::Flows => Self::Flows,
            Sort::New => Self::New,
            Sort::Seen => Self::Seen,
        }
    }
}

impl Filter {
    pub(super) fn as_asked(&self) -> ServiceFilter {
        ServiceFilter {
            state: self.state.map(ReviewState::from),
            site: self.site.clone(),
            here: self.here,
            prefix: self.prefix,
            group: self.group.clone(),
            port: self.port,
            protocol: self.protocol,
        }
    }
}

/// Shows services, or carries out what is to be done with them.
pub(super) fn services(options: &Options, services: &Services) -> Result<(), Failure> {
    let decide = |targets: &Targets, state| {
        let order = ServiceOrder::Decide { state };
        order_services(options, &targets.services, order)
    };
    match &services.command {
        None => list(options, &services.list),
        Some(Command::Show(targets)) => show(options, targets),
        Some(Command::Review(targets)) => decide(targets, ReviewState::InReview),
        Some(Command::Approve(targets)) => decide(targets, ReviewState::Approved),
        Some(Command::Unapprove(targets)) => decide(targets, ReviewState::Unapproved),
        Some(Command::Reset(targets)) => decide(targets, ReviewState::Unreviewed),
        Some(Command::Note { service, text }) => {
            let order = ServiceOrder::Note { text: text.clone() };
            order_services(options, std::slice::from_ref(service), order)
        }
        Some(Command::Forget(targets)) => {
            order_services(options, &targets.services, ServiceOrder::Forget)
        }
        Some(Command::Groups) => groups(options),
        Some(Command::Group(group)) => {
            let name = group.name.clone();
            let order = if group.remove {
                ServiceOrder::Ungroup { name }
            } else {
                let note = group.note.clone();
                ServiceOrder::Group { name, note }
            };
            order_services(options, &group.services, order)
        }
        Some(Command::Export(wanted)) => export(options, wanted),
    }
}

fn list(options: &Options, list: &List) -> Result<(), Failure> {
    let request = Request::Services(ServicesRequest {
        filter: list.filter.as_asked(),
        sort: list.sort.into(),
        top: list.top,
        targets: Vec::new(),
    });
    reading::watch(options, list.watch, &request, pick, table::list)
}

fn show(options: &Options, targets: &Targets) -> Result<(), Failure> {
    let request = Request::Services(ServicesRequest {
        targets: targets.services.clone(),
        ..ServicesRequest::default()
    });
    reading::show(options, &request, pick, |reply, _| table::whole(reply))
}

fn groups(options: &Options) -> Result<(), Failure> {
    let request = Request::Services(ServicesRequest {
        top: Some(0),
        ..ServicesRequest::default()
    });
    reading::show(options, &request, pick, table::groups)
}

fn order_services(
    options: &Options,
    targets: &[String],
    order: ServiceOrder,
) -> Result<(), Failure> {
    let request = Request::OrderServices(ServicesOrder {
        targets: targets.to_vec(),
        order,
    });
    let pick = |response| match response {
        Response::ServicesOrdered(reply) => Some(reply),
        _ => None,
    };
    reading::show(options, &request, pick, table::ordered)
}

fn export(options: &Options, wanted: &Export) -> Result<(), Failure> {
    let mut filter = wanted.filter.as_asked();
    if wanted.format == Format::Policy {
        filter.state.get_or_insert(ReviewState::Approved);
    }
    let request = Request::Services(ServicesRequest {
        filter,
        ..ServicesRequest::default()
    });
    let reply = reading::ask(options, &request, pick)?;
    match wanted.format {
        Format::Policy if !options.json => {
            print(&policy::of_services(options, &reply, RuleSet::Active)?)
        }
        Format::Policy | Format::Json => print_json(&reply, true),
    }
}

/// Takes the services out of an answer.
pub(super) fn pick(response: Response) -> Option<ServicesReply> {
    match response {
        Response::Services(reply) => Some(reply),
        _ => None,
    }
}
