//! The layouts of all messages. Each stands in prose beside its codec too; here it is data.

use super::layout::Kind::{BigEndian, Padded, Rest, Signed, Text, Unsigned, Uuid};
use super::layout::Meaning::{Bits, Flags, Named};
use super::layout::When::{Always, AtLeast, Has, Left};
use super::layout::{Item, Layout, bits, field, only, with};

/// Types of gmcast messages.
pub const GMCAST_TYPES: &[(u64, &str)] = &[
    (1, "HANDSHAKE"),
    (2, "HANDSHAKE_RESPONSE"),
    (3, "OK"),
    (4, "FAIL"),
    (5, "TOPOLOGY_CHANGE"),
    (6, "KEEPALIVE"),
    (8, "USER"),
];

/// Types of EVS messages.
pub const EVS_TYPES: &[(u64, &str)] = &[
    (1, "USER"),
    (2, "DELEGATE"),
    (3, "GAP"),
    (4, "JOIN"),
    (5, "INSTALL"),
    (6, "LEAVE"),
    (7, "DELAYED_LIST"),
];

/// Delivery guarantees.
pub const ORDERS: &[(u64, &str)] =
    &[(0, "DROP"), (1, "UNRELIABLE"), (2, "FIFO"), (3, "AGREED"), (4, "SAFE")];

/// Kinds of views.
pub const VIEW_KINDS: &[(u64, &str)] = &[(0, "REG"), (1, "TRANS"), (2, "NON_PRIM"), (3, "PRIM")];

/// Types of PC messages.
pub const PC_TYPES: &[(u64, &str)] = &[(1, "STATE"), (2, "INSTALL"), (3, "USER")];

/// Types of GCS messages: the EVS user type.
pub const GCS_TYPES: &[(u64, &str)] = &[
    (0, "ERROR"),
    (1, "ACTION"),
    (2, "LAST"),
    (3, "COMPONENT"),
    (4, "STATE_UUID"),
    (5, "STATE_MSG"),
    (6, "JOIN"),
    (7, "SYNC"),
    (8, "FLOW"),
    (9, "VOTE"),
    (10, "CAUSAL"),
    (255, "protocol"),
];

/// Statuses of nodes.
pub const STATUSES: &[(u64, &str)] =
    &[(0, "NON_PRIM"), (1, "PRIM"), (2, "JOINER"), (3, "DONOR"), (4, "JOINED"), (5, "SYNCED")];

/// Types of actions.
pub const ACTION_TYPES: &[(u64, &str)] = &[(0, "write-set"), (2, "STATE_REQ")];

const VIEW_WORD: super::layout::Meaning =
    Bits(&[bits(0, 30, "number", &[]), bits(30, 2, "kind", VIEW_KINDS)]);

/// In front of every frame's body.
pub const NET: Layout = Layout {
    name: "frame",
    items: &[
        with(
            "word",
            Unsigned(4),
            Bits(&[
                bits(0, 24, "length", &[]),
                bits(24, 2, "checksum kind", &[(0, "none"), (1, "CRC-32"), (2, "CRC-32C")]),
                bits(26, 2, "reserved", &[]),
                bits(28, 4, "framing version", &[]),
            ]),
        ),
        field("checksum", Unsigned(4)),
    ],
};

/// A gmcast message, up to the payload of USER.
pub const GMCAST: Layout = Layout {
    name: "gmcast",
    items: &[
        field("version", Unsigned(1)),
        with("type", Unsigned(1), Named(GMCAST_TYPES)),
        with(
            "flags",
            Unsigned(1),
            Flags(&[
                (0x01, "GROUP_NAME"),
                (0x04, "ADDRESS"),
                (0x08, "NODE_LIST"),
                (0x10, "HANDSHAKE_ID"),
                (0x20, "RELAY"),
                (0x40, "SEGMENT_RELAY"),
            ]),
        ),
        field("segment", Unsigned(1)),
        field("source", Uuid),
        only(Has("flags", 0x10), "handshake id", Uuid),
        only(Has("flags", 0x04), "address or reason", Padded(64)),
        only(Has("flags", 0x01), "group name", Padded(32)),
        only(Has("flags", 0x08), "number of links", Unsigned(4)),
        Item::Entries { count: "number of links", entry: &LINK, when: Has("flags", 0x08) },
    ],
};

const LINK: Layout = Layout {
    name: "link",
    items: &[
        field("link uuid", Uuid),
        field("link flags", Unsigned(4)),
        field("link address", Padded(64)),
        field("link multicast address", Padded(64)),
    ],
};

/// What every EVS message starts with.
pub const EVS: Layout = Layout {
    name: "EVS",
    items: &[
        with(
            "type and order",
            Unsigned(1),
            Bits(&[
                bits(0, 2, "zv", &[]),
                bits(2, 3, "type", EVS_TYPES),
                bits(5, 3, "order", ORDERS),
            ]),
        ),
        with(
            "flags",
            Unsigned(1),
            Flags(&[
                (0x01, "MORE"),
                (0x02, "RETRANSMISSION"),
                (0x04, "SOURCE"),
                (0x08, "AGGREGATE"),
                (0x10, "COMMIT"),
            ]),
        ),
        field("version", Unsigned(1)),
        field("reserved", Unsigned(1)),
        field("fifo seqno", Signed(8)),
        only(Has("flags", 0x04), "source", Uuid),
        field("source view node", Uuid),
        with("source view", Unsigned(4), VIEW_WORD),
    ],
};

/// EVS USER, up to its payload.
pub const EVS_USER: Layout = Layout {
    name: "USER",
    items: &[
        with("user type", Unsigned(1), Named(GCS_TYPES)),
        field("seq range", Unsigned(1)),
        field("pad", Unsigned(2)),
        field("seqno", Signed(8)),
        field("aru", Signed(8)),
    ],
};

/// In front of each message of an aggregate.
pub const AGGREGATE: Layout = Layout {
    name: "sub-message",
    items: &[
        field("sub-message flags", Unsigned(1)),
        with("sub-message user type", Unsigned(1), Named(GCS_TYPES)),
        field("sub-message length", Unsigned(2)),
    ],
};

/// EVS GAP.
pub const EVS_GAP: Layout = Layout {
    name: "GAP",
    items: &[
        field("seqno", Signed(8)),
        field("aru", Signed(8)),
        field("range node", Uuid),
        field("range low", Signed(8)),
        field("range high", Signed(8)),
    ],
};

/// EVS JOIN.
pub const EVS_JOIN: Layout = Layout {
    name: "JOIN",
    items: &[
        field("seqno", Signed(8)),
        field("aru", Signed(8)),
        field("number of nodes", Unsigned(4)),
        Item::Entries { count: "number of nodes", entry: &EVS_NODE, when: Always },
    ],
};

/// EVS INSTALL.
pub const EVS_INSTALL: Layout = Layout {
    name: "INSTALL",
    items: &[
        field("seqno", Signed(8)),
        field("aru", Signed(8)),
        field("install view node", Uuid),
        with("install view", Unsigned(4), VIEW_WORD),
        field("number of nodes", Unsigned(4)),
        Item::Entries { count: "number of nodes", entry: &EVS_NODE, when: Always },
    ],
};

const EVS_NODE: Layout = Layout {
    name: "node",
    items: &[
        field("node", Uuid),
        with(
            "node flags",
            Unsigned(1),
            Flags(&[(0x01, "OPERATIONAL"), (0x02, "SUSPECTED"), (0x04, "EVICTED")]),
        ),
        field("node segment", Unsigned(1)),
        field("leave seqno", Signed(8)),
        field("node view node", Uuid),
        with("node view", Unsigned(4), VIEW_WORD),
        field("safe seqno", Signed(8)),
        field("range low", Signed(8)),
        field("range high", Signed(8)),
    ],
};

/// EVS LEAVE.
pub const EVS_LEAVE: Layout =
    Layout { name: "LEAVE", items: &[field("seqno", Signed(8)), field("aru", Signed(8))] };

/// EVS DELAYED_LIST.
pub const EVS_DELAYED_LIST: Layout = Layout {
    name: "DELAYED_LIST",
    items: &[
        field("number of nodes", Unsigned(1)),
        Item::Entries { count: "number of nodes", entry: &DELAYED_NODE, when: Always },
    ],
};

const DELAYED_NODE: Layout =
    Layout { name: "node", items: &[field("node", Uuid), field("state changes", Unsigned(1))] };

/// What every PC message starts with.
pub const PC: Layout = Layout {
    name: "PC",
    items: &[
        with(
            "version and flags",
            Unsigned(1),
            Bits(&[
                bits(0, 4, "version", &[]),
                bits(4, 1, "CRC16", &[]),
                bits(5, 1, "BOOTSTRAP", &[]),
                bits(6, 1, "WEIGHT_CHANGE", &[]),
                bits(7, 1, "reserved", &[]),
            ]),
        ),
        with("type", Unsigned(1), Named(PC_TYPES)),
        field("crc16", Unsigned(2)),
        field("seq", Unsigned(4)),
    ],
};

/// PC STATE and INSTALL.
pub const PC_NODES: Layout = Layout {
    name: "nodes",
    items: &[
        field("number of nodes", Unsigned(4)),
        Item::Entries { count: "number of nodes", entry: &PC_NODE, when: Always },
    ],
};

const PC_NODE: Layout = Layout {
    name: "node",
    items: &[
        field("node", Uuid),
        with(
            "node flags",
            Unsigned(1),
            Flags(&[(0x01, "PRIMARY"), (0x02, "WEIGHT"), (0x04, "UNKNOWN"), (0x08, "EVICTED")]),
        ),
        field("node reserved", Unsigned(1)),
        field("segment", Unsigned(1)),
        field("weight", Unsigned(1)),
        field("last seq", Unsigned(4)),
        field("last primary node", Uuid),
        with("last primary", Unsigned(4), VIEW_WORD),
        field("to seq", Signed(8)),
    ],
};

/// GCS ACTION, up to its data.
pub const ACTION: Layout = Layout {
    name: "ACTION",
    items: &[
        field("protocol", Unsigned(1)),
        field("action id", BigEndian(7)),
        field("action size", Unsigned(4)),
        field("fragment", Unsigned(4)),
        with("action type", Unsigned(1), Named(ACTION_TYPES)),
        field("reserved", Unsigned(3)),
    ],
};

/// A part of a write-set. What is in it is the replicator's business.
pub const WRITE_SET: Layout = Layout { name: "write-set", items: &[field("data", Rest)] };

/// A part of a state transfer request that is not the first.
pub const REQUEST_PART: Layout = Layout { name: "STATE_REQ", items: &[field("data", Rest)] };

/// A state transfer request as arbitrators send it.
pub const REQUEST_OLD: Layout =
    Layout { name: "STATE_REQ", items: &[field("donors", Text), field("request", Rest)] };

/// A state transfer request as data nodes send it.
pub const REQUEST: Layout = Layout {
    name: "STATE_REQ",
    items: &[
        field("donors", Text),
        field("mark", Unsigned(1)),
        field("form", Unsigned(1)),
        field("group uuid", Uuid),
        field("seqno", Signed(8)),
        field("request", Rest),
    ],
};

/// GCS STATE_UUID.
pub const STATE_UUID: Layout =
    Layout { name: "STATE_UUID", items: &[field("exchange uuid", Uuid)] };

/// GCS STATE_MSG.
pub const STATE_MSG: Layout = Layout {
    name: "STATE_MSG",
    items: &[
        field("version", Unsigned(1)),
        with(
            "flags",
            Unsigned(1),
            Flags(&[
                (0x01, "REPRESENTATIVE"),
                (0x02, "COUNTS_LAST_APPLIED"),
                (0x04, "BOOTSTRAP"),
                (0x08, "STATELESS"),
            ]),
        ),
        field("gcs protocol", Unsigned(1)),
        field("repl protocol", Unsigned(1)),
        with("previous status", Unsigned(1), Named(STATUSES)),
        with("current status", Unsigned(1), Named(STATUSES)),
        field("previous joined", Signed(2)),
        field("exchange uuid", Uuid),
        field("group uuid", Uuid),
        field("previous exchange", Uuid),
        field("received", Signed(8)),
        field("previous configuration", Signed(8)),
        field("name", Text),
        field("incoming address", Text),
        only(AtLeast("version", 1), "appl protocol", Unsigned(1)),
        only(AtLeast("version", 3), "cached", Signed(8)),
        only(AtLeast("version", 4), "desync count", Signed(4)),
        only(AtLeast("version", 5), "last applied", Signed(8)),
        only(AtLeast("version", 5), "vote seqno", Signed(8)),
        only(AtLeast("version", 5), "vote result", Signed(8)),
        only(AtLeast("version", 5), "vote policy", Unsigned(1)),
        only(AtLeast("version", 6), "previous gcs protocol", Unsigned(1)),
        only(AtLeast("version", 6), "previous repl protocol", Unsigned(1)),
        only(AtLeast("version", 6), "previous appl protocol", Unsigned(1)),
        only(Left, "more", Rest),
    ],
};

/// GCS LAST, JOIN, SYNC and VOTE.
pub const CODE: Layout = Layout {
    name: "code",
    items: &[
        field("group uuid", Uuid),
        field("seqno", Signed(8)),
        field("code", Signed(8)),
        only(Left, "text", Rest),
    ],
};

/// The same in the first GCS protocol.
pub const CODE_SHORT: Layout =
    Layout { name: "code", items: &[field("seqno or error", Signed(8))] };

/// GCS FLOW.
pub const FLOW: Layout = Layout {
    name: "FLOW",
    items: &[
        field("configuration", Unsigned(4)),
        with("stop", Unsigned(4), Named(&[(0, "continue"), (1, "stop")])),
    ],
};

/// A GCS message of a type that has no layout.
pub const OTHER: Layout = Layout { name: "message", items: &[only(Left, "payload", Rest)] };

/// The name of a number.
pub fn name(names: &[(u64, &'static str)], number: u64) -> Option<&'static str> {
    names.iter().find(|(value, _)| *value == number).map(|(_, name)| *name)
}

/// Every layout by a short name, for generators.
pub const ALL: &[(&str, &Layout)] = &[
    ("frame", &NET),
    ("gmcast", &GMCAST),
    ("evs", &EVS),
    ("evs_user", &EVS_USER),
    ("aggregate", &AGGREGATE),
    ("evs_gap", &EVS_GAP),
    ("evs_join", &EVS_JOIN),
    ("evs_install", &EVS_INSTALL),
    ("evs_leave", &EVS_LEAVE),
    ("evs_delayed_list", &EVS_DELAYED_LIST),
    ("pc", &PC),
    ("pc_nodes", &PC_NODES),
    ("action", &ACTION),
    ("write_set", &WRITE_SET),
    ("request_part", &REQUEST_PART),
    ("request_old", &REQUEST_OLD),
    ("request", &REQUEST),
    ("state_uuid", &STATE_UUID),
    ("state_msg", &STATE_MSG),
    ("code", &CODE),
    ("code_short", &CODE_SHORT),
    ("flow", &FLOW),
    ("other", &OTHER),
];
