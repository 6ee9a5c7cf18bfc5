//! Reads `[metrics]`: where this gateway's numbers can be read.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::diagnostic::{Report, shown};
use super::endpoint::Problem;
use super::read::Files;
use super::section::{At, Section};

const LISTEN: &str = "\"127.0.0.1:19586\"";
const SOCKET: &str = "\"/run/crossway/metrics.socket\"";
/// What `sun_path` holds (unix(7)), less the zero behind it.
const LONGEST_SOCKET: usize = 107;

/// `[metrics]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Where they are read.
    pub door: MetricsDoor,
}

/// Where metrics are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricsDoor {
    /// By HTTP over TCP.
    Address {
        /// Address and port.
        listen: SocketAddr,
        /// What it shows by TLS; without it, what is read can be seen on the way.
        tls: Option<MetricsTls>,
    },
    /// By HTTP over a Unix socket, which root alone can use, and the group.
    Socket {
        /// Its path.
        path: PathBuf,
        /// Group whose members may read, too.
        group: Option<String>,
    },
}

/// The files of TLS, in PEM form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsTls {
    /// Certificate, and those that lead to the root behind it.
    pub certificate_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
    /// Certificates of which one must have signed the reader's; without it, anybody may read.
    pub client_ca_file: Option<PathBuf>,
}

/// Reads the section, if it is there; relative paths are taken from `base`. `Err` where something is wrong with it.
pub(super) fn read(
    root: &Section<'_>,
    base: &Path,
    files: Option<&dyn Files>,
) -> Result<Option<Metrics>, ()> {
    let Some(section) = root.table("metrics", &format!("{{ listen = {LISTEN} }}")) else {
        return if root.has("metrics") {
            Err(())
        } else {
            Ok(None)
        };
    };
    let path = |key, example| {
        let found = section.string(key, example);
        found.map(|found| found.map(|path| base.join(path)))
    };
    let listen = section.string("listen", LISTEN);
    let certificate = path("certificate_file", "\"metrics.crt\"");
    let key = path("key_file", "\"metrics.key\"");
    let client_ca = path("client_ca_file", "\"readers-ca.crt\"");
    let socket = path("socket", SOCKET);
    let group = section.string("group", "\"prometheus\"");
    for at in [&certificate, &key, &client_ca].into_iter().flatten() {
        check_file(&section, at, files);
    }
    if let (Some(key), Some(files)) = (&key, files) {
        warn_of_open_key(section.report, key, files);
    }
    let door = match (listen, socket) {
        (Some(text), None) => {
            refuse(&section, "group", group.is_some(), "socket");
            let tls = read_tls(&section, certificate, key, client_ca)?;
            let listen = read_listen(&section, text)?;
            warn_of_readers(section.report, text.offset, listen, tls.as_ref());
            MetricsDoor::Address { listen, tls }
        }
        (None, Some(path)) => {
            let tls = [
                ("certificate_file", certificate.is_some()),
                ("key_file", key.is_some()),
                ("client_ca_file", client_ca.is_some()),
            ];
            for (key, given) in tls {
                refuse(&section, key, given, "listen");
            }
            let path = check_socket(&section, path)?;
            let group = group.map(|group| group.value.to_owned());
            MetricsDoor::Socket { path, group }
        }
        (Some(_), Some(path)) => {
            let problem = "there are listen and socket";
            section.error("socket", path.offset, problem, "keep one of them");
            return Err(());
        }
        (None, None) => {
            if !section.has("listen") && !section.has("socket") {
                let mend = format!("write listen = {LISTEN}, or socket = {SOCKET}");
                section.missing("listen", mend);
            }
            return Err(());
        }
    };
    Ok(Some(Metrics { door }))
}

fn read_listen(section: &Section<'_>, text: At<&str>) -> Result<SocketAddr, ()> {
    parse_listen(text.value).map_err(|(problem, mend)| {
        section.error("listen", text.offset, problem, mend);
    })
}

fn parse_listen(text: &str) -> Result<SocketAddr, Problem> {
    let mend = || format!("write an address of this gateway and a port, such as {LISTEN}");
    let address: SocketAddr = text.parse().map_err(|_| {
        (
            format!("{} is not an IP address and port", shown(text)),
            mend(),
        )
    })?;
    if address.port() == 0 || address.ip().is_multicast() {
        return Err((format!("nobody can connect to {}", shown(text)), mend()));
    }
    Ok(address)
}

fn read_tls(
    section: &Section<'_>,
    certificate: Option<At<PathBuf>>,
    key: Option<At<PathBuf>>,
    client_ca: Option<At<PathBuf>>,
) -> Result<Option<MetricsTls>, ()> {
    let lacks = |lacking, given: &At<PathBuf>| {
        let place = section.place.clone();
        let problem = format!("{lacking} is missing");
        let mend = "TLS needs certificate_file and key_file";
        section.report.error(given.offset, place, problem, mend);
        Err(())
    };
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(MetricsTls {
            certificate_file: certificate.value,
            key_file: key.value,
            client_ca_file: client_ca.map(|at| at.value),
        })),
        (None, Some(given)) => lacks("certificate_file", &given),
        (Some(given), None) => lacks("key_file", &given),
        (None, None) => match client_ca {
            Some(given) => lacks("certificate_file", &given),
            None => Ok(None),
        },
    }
}

fn check_socket(section: &Section<'_>, path: At<PathBuf>) -> Result<PathBuf, ()> {
    let length = path.value.as_os_str().len();
    if length > LONGEST_SOCKET {
        let problem = format!("the path has {length} characters");
        let mend = format!("the kernel takes {LONGEST_SOCKET}: choose a shorter one");
        section.error("socket", path.offset, problem, mend);
        return Err(());
    }
    Ok(path.value)
}

/// A key that means nothing beside the door that was chosen.
fn refuse(section: &Section<'_>, key: &'static str, given: bool, belongs_to: &str) {
    if given && let Some(found) = section.item(key) {
        let problem = format!("it has no meaning without {belongs_to}");
        section.error(key, found.offset, problem, "leave it out");
    }
}

fn check_file(section: &Section<'_>, at: &At<PathBuf>, files: Option<&dyn Files>) {
    let Some(Err(error)) = files.map(|files| files.text(&at.value)) else {
        return;
    };
    // The configuration may be checked on another machine than the one it is for.
    let problem = format!("{} cannot be read here: {error}", at.value.display());
    let place = section.place.clone();
    section.report.warning(at.offset, place, problem, "");
}

fn warn_of_open_key(report: &Report<'_>, key: &At<PathBuf>, files: &dyn Files) {
    let shown = key.value.display();
    if let Some(mode) = files.mode(&key.value).filter(|mode| mode & 0o007 != 0) {
        let problem = format!("{shown} has mode {mode:04o}, so every user can read the key");
        let mend = format!("chmod 600 {shown}");
        report.warning(key.offset, "metrics, key_file", problem, mend);
    }
}

fn warn_of_readers(
    report: &Report<'_>,
    offset: usize,
    listen: SocketAddr,
    tls: Option<&MetricsTls>,
) {
    if listen.ip().is_loopback() || tls.is_some_and(|tls| tls.client_ca_file.is_some()) {
        return;
    }
    let problem = format!(
        "whoever reaches {listen} can read names of sites and gateways, their addresses' states and how much passes"
    );
    let mend = "write a loopback address, or certificate_file, key_file and client_ca_file, or keep others away by \
                a firewall";
    report.warning(offset, "metrics, listen", problem, mend);
}
