//! How many different addresses a service has answered: exactly up to [`EXACT`], then by HyperLogLog.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use datasketches::hll::{HllSketch, HllType, HllUnion};

/// Clients that are known one by one, at most.
pub const EXACT: usize = 1000;
/// 4,096 registers: a standard error of 1.04 / √4096, which is 1.6 %, in 4 KB.
const LG_REGISTERS: u8 = 12;
const REGISTERS: HllType = HllType::Hll8;

/// First byte of the form that is kept.
const FORM_V4: u8 = 4;
const FORM_V6: u8 = 6;
const FORM_SKETCH: u8 = 12;

/// The clients of a service. They are of its family.
#[derive(Clone, Debug)]
pub struct Clients(Form);

#[derive(Clone, Debug)]
enum Form {
    /// In order.
    V4(Vec<u32>),
    /// In order.
    V6(Vec<u128>),
    Many(Box<Many>),
}

#[derive(Clone)]
struct Many(HllSketch);

impl std::fmt::Debug for Many {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "about {}", self.0.estimate())
    }
}

impl Clients {
    /// None yet, of a service at this address.
    pub fn none_of(service: IpAddr) -> Self {
        Self(if service.is_ipv4() {
            Form::V4(Vec::new())
        } else {
            Form::V6(Vec::new())
        })
    }

    /// Takes one in; says whether anything has changed by that.
    pub fn add(&mut self, client: IpAddr) -> bool {
        let (added, count) = match (&mut self.0, client) {
            (Form::V4(known), IpAddr::V4(client)) => (insert(known, client.into()), known.len()),
            (Form::V6(known), IpAddr::V6(client)) => (insert(known, client.into()), known.len()),
            (Form::Many(many), client) => return many.add(client),
            // A flow has ends of one family.
            (Form::V4(_) | Form::V6(_), _) => return false,
        };
        if count > EXACT {
            self.0 = Form::Many(Box::new(Many::of(self.addresses())));
        }
        added
    }

    /// How many they are.
    pub fn count(&self) -> u64 {
        match &self.0 {
            Form::V4(known) => known.len() as u64,
            Form::V6(known) => known.len() as u64,
            // More than could be counted were there.
            Form::Many(many) => (many.0.estimate().round() as u64).max(EXACT as u64 + 1),
        }
    }

    /// Whether [`Self::count`] is exact.
    pub fn is_exact(&self) -> bool {
        !matches!(self.0, Form::Many(_))
    }

    /// Takes in those of `other`.
    pub fn merge(&mut self, other: Self) {
        match (&mut self.0, other.0) {
            (Form::Many(own), Form::Many(other)) => own.merge(&other),
            (_, Form::Many(mut other)) => {
                for client in self.addresses() {
                    other.add(client);
                }
                self.0 = Form::Many(other);
            }
            (_, other) => {
                for client in Self(other).addresses() {
                    self.add(client);
                }
            }
        }
    }

    /// Those that are known one by one.
    fn addresses(&self) -> Vec<IpAddr> {
        match &self.0 {
            Form::V4(known) => known.iter().map(|it| Ipv4Addr::from(*it).into()).collect(),
            Form::V6(known) => known.iter().map(|it| Ipv6Addr::from(*it).into()).collect(),
            Form::Many(_) => Vec::new(),
        }
    }

    /// The form that is kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match &self.0 {
            Form::V4(known) => {
                bytes.push(FORM_V4);
                bytes.extend(known.iter().flat_map(|it| it.to_be_bytes()));
            }
            Form::V6(known) => {
                bytes.push(FORM_V6);
                bytes.extend(known.iter().flat_map(|it| it.to_be_bytes()));
            }
            Form::Many(many) => {
                bytes.push(FORM_SKETCH);
                bytes.extend(many.0.serialize());
            }
        }
        bytes
    }

    /// Reads the form that is kept; `None` where it is none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (form, rest) = bytes.split_first()?;
        match *form {
            FORM_V4 => {
                let (known, rest) = rest.as_chunks::<4>();
                let known: Vec<_> = known.iter().map(|it| u32::from_be_bytes(*it)).collect();
                in_order(&known, rest).then_some(Self(Form::V4(known)))
            }
            FORM_V6 => {
                let (known, rest) = rest.as_chunks::<16>();
                let known: Vec<_> = known.iter().map(|it| u128::from_be_bytes(*it)).collect();
                in_order(&known, rest).then_some(Self(Form::V6(known)))
            }
            FORM_SKETCH => {
                let sketch = HllSketch::deserialize(rest).ok()?;
                let ours = sketch.lg_config_k() == LG_REGISTERS;
                ours.then(|| Self(Form::Many(Box::new(Many(sketch)))))
            }
            _ => None,
        }
    }
}

impl Many {
    fn of(clients: Vec<IpAddr>) -> Self {
        let sketch = HllSketch::new(LG_REGISTERS, REGISTERS);
        let mut many = Self(sketch.expect("12 is from 4 to 21"));
        for client in clients {
            many.add(client);
        }
        many
    }

    fn add(&mut self, client: IpAddr) -> bool {
        let before = self.0.estimate();
        // As bytes, whose hash does not depend on the machine.
        match client {
            IpAddr::V4(client) => self.0.update(client.octets()),
            IpAddr::V6(client) => self.0.update(client.octets()),
        }
        (self.0.estimate() - before).abs() > f64::EPSILON
    }

    fn merge(&mut self, other: &Self) {
        let Ok(mut union) = HllUnion::new(LG_REGISTERS) else {
            return;
        };
        union.update(&self.0);
        union.update(&other.0);
        self.0 = union.to_sketch(REGISTERS);
    }
}

fn insert<T: Ord + Copy>(known: &mut Vec<T>, client: T) -> bool {
    match known.binary_search(&client) {
        Ok(_) => false,
        Err(place) => {
            known.insert(place, client);
            true
        }
    }
}

fn in_order<T: Ord>(known: &[T], rest: &[u8]) -> bool {
    rest.is_empty() && known.len() <= EXACT && known.is_sorted_by(|one, next| one < next)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

    fn client(number: u32) -> IpAddr {
        Ipv4Addr::from(0x0a00_0000 + number.wrapping_mul(0x9e37_79b1) % (1 << 24)).into()
    }

    fn client6(number: u32) -> IpAddr {
        Ipv6Addr::from((0xfd << 120) + u128::from(number)).into()
    }

    fn after_trip(clients: &Clients) -> Clients {
        Clients::from_bytes(&clients.to_bytes()).unwrap()
    }

    /// Standard error 1.6 %: beyond three times that is one of four hundred.
    fn is_near(estimate: u64, count: u32) -> bool {
        (estimate as f64 / f64::from(count) - 1.0).abs() < 3.0 * 0.0163
    }

    #[test]
    fn a_thousand_clients_are_counted_exactly_and_more_with_the_stated_error() {
        for client in [client, client6] {
            let mut clients = Clients::none_of(client(0));
            for number in 0..EXACT as u32 {
                assert!(clients.add(client(number)));
                assert!(!clients.add(client(number)), "it is known");
                assert_eq!(clients.count(), u64::from(number) + 1);
            }
            assert!(clients.is_exact() && after_trip(&clients).is_exact());
            clients.add(client(1000));
            assert!(!clients.is_exact());
            assert!(is_near(clients.count(), 1001), "{}", clients.count());
            for number in 1001..200_000 {
                clients.add(client(number));
                if [2000, 5000, 20_000, 100_000, 199_999].contains(&number) {
                    let count = clients.count();
                    assert!(is_near(count, number + 1), "{count} of {number}");
                    assert_eq!(after_trip(&clients).count(), count);
                    clients = after_trip(&clients);
                }
            }
            let before = clients.count();
            for number in 0..5000 {
                assert!(!clients.add(client(number)), "it is known");
            }
            assert_eq!(clients.count(), before);
        }
    }

    #[test]
    fn two_counts_are_one_of_all_that_are_in_either() {
        let of = |numbers: std::ops::Range<u32>| {
            let mut clients = Clients::none_of(SERVICE);
            for number in numbers {
                clients.add(client(number));
            }
            clients
        };
        let merged = |one: std::ops::Range<u32>, other: std::ops::Range<u32>| {
            let mut one = of(one);
            one.merge(of(other));
            one
        };
        assert_eq!(merged(0..10, 5..20).count(), 20);
        let at_the_edge = merged(0..600, 400..1000);
        assert!(at_the_edge.is_exact() && at_the_edge.count() == 1000);
        for (one, other) in [(0..600, 500..1200), (0..10, 5..5000), (0..5000, 5..10)] {
            let all = one.end.max(other.end);
            let count = merged(one, other).count();
            assert!(is_near(count, all), "{count} of {all}");
        }
        let count = merged(0..5000, 2000..9000).count();
        assert!(is_near(count, 9000), "{count}");
    }

    #[test]
    fn what_is_not_the_form_that_is_kept_is_refused() {
        for bytes in [
            &[][..],
            &[9],
            &[FORM_V4, 1, 2, 3],
            &[FORM_V4, 0, 0, 0, 2, 0, 0, 0, 1],
            &[FORM_V6, 1],
            &[FORM_SKETCH],
            &[FORM_SKETCH, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        ] {
            assert!(Clients::from_bytes(bytes).is_none(), "{bytes:?}");
        }
        let mut many = Clients::none_of(SERVICE);
        for number in 0..1200 {
            many.add(client(number));
        }
        let whole = many.to_bytes();
        for length in 0..whole.len() {
            // No panic, and no count of what was cut.
            assert!(Clients::from_bytes(&whole[..length]).is_none(), "{length}");
        }
    }
}
