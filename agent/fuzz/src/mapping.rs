//! Packets of the network that are mapped: nothing grows, a sum that was right stays right, and the way back restores what
//! the sender sent.

use std::sync::LazyLock;

use super::feed::{Feed, Script};
use super::gateways::ipv4;
use super::inner::sum_by_the_book;
use crossway::ids::SiteId;
use crossway::packet;
use crossway_types::mapping::{Mapping, Maps};

const SITE: SiteId = SiteId(2);

fn maps() -> &'static Maps {
    static MAPS: LazyLock<Maps> = LazyLock::new(|| {
        let map = |real: &str, shown: &str| {
            let prefix = |text: &str| text.parse().expect("it is a prefix");
            Mapping::new(prefix(real), prefix(shown)).expect("they are of one length")
        };
        let own = [
            map("10.1.0.0/16", "10.201.0.0/16"),
            map("2001:db8:1::/48", "fd00:201::/48"),
        ];
        let site = [
            map("10.1.0.0/24", "10.101.0.0/24"),
            map("10.2.0.0/23", "172.16.6.0/23"),
            map("2001:db8:1::/48", "fd00:101::/48"),
            map("2001:db8:2:3::/64", "fd00:102:1:2::/64"),
        ];
        Maps::new(&own, [(SITE, &site[..])]).expect("there are some")
    });
    &MAPS
}

pub(super) fn run(data: &[u8]) {
    let mut feed = Feed::new(data);
    let unfinished = feed.u16();
    let unfinished = (unfinished & 1 != 0).then(|| usize::from(unfinished >> 1));
    let bytes = feed.rest();
    for outbound in [true, false] {
        let mapper = if outbound {
            maps().outbound(SITE)
        } else {
            maps().inbound(SITE)
        };
        let mut mapped = bytes.to_vec();
        mapper.apply(&mut mapped, unfinished);
        check(bytes, &mapped);
    }
    // A site without mappings, and nothing of our own in it.
    let mut other = bytes.to_vec();
    maps().inbound(SiteId(9)).apply(&mut other, unfinished);
    check(bytes, &other);
}

fn check(before: &[u8], after: &[u8]) {
    assert_eq!(before.len(), after.len());
    let Some(first) = before.first() else { return };
    assert_eq!(*first, after[0]);
    if packet::addresses(before).is_none() {
        assert_eq!(before, after, "without addresses there is nothing to map");
        return;
    }
    if packet::addresses(before) != packet::addresses(after) && *first == 0x45 {
        let sum = |bytes: &[u8]| sum_by_the_book(&bytes[..20]);
        assert_eq!(sum(before) == 0xffff, sum(after) == 0xffff);
    }
    // What comes behind the first bytes of a quoted packet is nobody's address.
    let rest = 400.min(before.len());
    if before[0] >> 4 == 4 {
        assert_eq!(before[rest..], after[rest..]);
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let seed =
        |unfinished: u16, packet: &[u8]| Script::default().u16(unfinished).bytes(packet).end();
    let mut tcp = ipv4([10, 1, 0, 1], [10, 101, 0, 1], 60);
    tcp[9] = 6;
    let udp = ipv4([10, 1, 0, 1], [10, 101, 0, 1], 60);
    let mut error = ipv4([10, 1, 0, 1], [10, 101, 0, 7], 28);
    error[9] = 1;
    error[20..22].copy_from_slice(&[3, 4]);
    error.extend_from_slice(&udp);
    let address = |last: u8| -> Vec<u8> {
        let mut bytes = vec![0x20, 1, 0x0d, 0xb8, 0, 1];
        bytes.resize(15, 0);
        bytes.push(last);
        bytes
    };
    let v6 = |next: u8, payload: &[u8]| {
        let mut packet = vec![0x60, 0, 0, 0, 0, payload.len() as u8, next, 64];
        packet.extend(address(1));
        packet.extend(address(2));
        packet.extend_from_slice(payload);
        packet
    };
    let inner = v6(17, &[0x12, 0x34, 0, 53, 0, 12, 0xab, 0xcd, 1, 2, 3, 4]);
    let options = [&[17, 0, 1, 4, 0, 0, 0, 0][..], &inner[40..]].concat();
    let too_big = [&[2, 0, 0, 0, 0, 0, 5, 0][..], &inner].concat();
    vec![
        seed(0, &tcp),
        seed(36 << 1 | 1, &tcp),
        seed(0, &udp),
        seed(0, &error),
        seed(0, &error[..50]),
        seed(0, &inner),
        seed(0, &v6(60, &options)),
        seed(0, &v6(44, &options)),
        seed(0, &v6(58, &too_big)),
    ]
}
