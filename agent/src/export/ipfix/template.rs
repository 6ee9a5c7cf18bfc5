//! What the records look like: the templates that collectors are told (RFC 7011 section 3.4).

/// Sets of templates, of option templates, and of the data that follow each of ours.
const TEMPLATE_SET: u16 = 2;
const OPTIONS_SET: u16 = 3;
pub(super) const FLOWS4: u16 = 256;
pub(super) const FLOWS6: u16 = 257;
pub(super) const DROPS: u16 = 258;
pub(super) const RELIABILITY: u16 = 259;

const VARIABLE: u16 = 0xffff;
const ENTERPRISE_BIT: u16 = 0x8000;

/// Our own elements, under the enterprise number of the configuration: strings.
const SITE_NAME: u16 = ENTERPRISE_BIT | 1;
const LINK_NAMES: u16 = ENTERPRISE_BIT | 2;
const DROP_REASON: u16 = ENTERPRISE_BIT | 3;
const RULE_NAME: u16 = ENTERPRISE_BIT | 4;

/// Elements by their numbers at IANA, each with its length.
type Field = (u16, u16);

pub(super) struct Template {
    pub(super) set: u16,
    id: u16,
    /// How many of the fields are the scope of options.
    scope: u16,
    fields: &'static [&'static [Field]],
}

pub(super) const TEMPLATES: [Template; 4] = [
    Template {
        set: TEMPLATE_SET,
        id: FLOWS4,
        scope: 0,
        // sourceIPv4Address, destinationIPv4Address
        fields: &[&[(8, 4), (12, 4)], FLOW],
    },
    Template {
        set: TEMPLATE_SET,
        id: FLOWS6,
        scope: 0,
        // sourceIPv6Address, destinationIPv6Address
        fields: &[&[(27, 16), (28, 16)], FLOW],
    },
    Template {
        set: OPTIONS_SET,
        id: DROPS,
        scope: 1,
        // droppedPacketDeltaCount, droppedOctetDeltaCount
        fields: &[&[(DROP_REASON, VARIABLE), (133, 8), (132, 8)]],
    },
    Template {
        set: OPTIONS_SET,
        id: RELIABILITY,
        scope: 1,
        // exportingProcessId, notSentFlowTotalCount, notSentPacketTotalCount, notSentOctetTotalCount
        fields: &[&[(144, 4), (166, 8), (167, 8), (168, 8)]],
    },
];

const FLOW: &[Field] = &[
    (7, 2),   // sourceTransportPort
    (11, 2),  // destinationTransportPort
    (4, 1),   // protocolIdentifier
    (2, 8),   // packetDeltaCount
    (1, 8),   // octetDeltaCount
    (152, 8), // flowStartMilliseconds
    (153, 8), // flowEndMilliseconds
    (136, 1), // flowEndReason
    (61, 1),  // flowDirection
    (6, 2),   // tcpControlBits
    (148, 8), // flowId
    (233, 1), // firewallEvent
    (SITE_NAME, VARIABLE),
    (LINK_NAMES, VARIABLE),
    (RULE_NAME, VARIABLE),
];

impl Template {
    /// The template record.
    pub(super) fn bytes(&self, enterprise: u32) -> Vec<u8> {
        let fields = || self.fields.iter().copied().flatten();
        let mut bytes = Vec::new();
        bytes.extend(self.id.to_be_bytes());
        bytes.extend((fields().count() as u16).to_be_bytes());
        if self.scope > 0 {
            bytes.extend(self.scope.to_be_bytes());
        }
        for (element, length) in fields() {
            bytes.extend(element.to_be_bytes());
            bytes.extend(length.to_be_bytes());
            if element & ENTERPRISE_BIT != 0 {
                bytes.extend(enterprise.to_be_bytes());
            }
        }
        bytes
    }
}
