//! FLOW messages and the count of members that hold replication back.

use bytes::{BufMut, Bytes};
use nom::Parser;
use nom::error::context;
use nom::number::complete::le_u32;

use super::number::ConfigurationId;
use crate::decode::{DecodeError, Parsed, whole};

/// A data node asks the others to stop or to go on sending write-sets:
///
/// | offset | size | field         | encoding                             |
/// |-------:|-----:|---------------|--------------------------------------|
/// |      0 |    4 | configuration | little-endian, low half of its number |
/// |      4 |    4 | stop          | little-endian, 1 stop, 0 continue    |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Low half of the sender's configuration number.
    pub configuration: u32,
    /// 0 to continue, anything else to stop.
    pub stop: u32,
}

impl Flow {
    /// Decodes the body of a FLOW message.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        whole("FLOW", payload, Self::parse)
    }

    fn parse(input: &[u8]) -> Parsed<'_, Self> {
        let (input, configuration) = context("configuration", le_u32).parse(input)?;
        let (input, stop) = context("stop", le_u32).parse(input)?;
        Ok((input, Self { configuration, stop }))
    }

    /// The body of the message.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(8);
        out.put_u32_le(self.configuration);
        out.put_u32_le(self.stop);
        out.into()
    }
}

/// How many stops are outstanding in a configuration. For display: a member without data has no
/// queue to fill and waits for nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FlowCount(i64);

impl FlowCount {
    /// Counts a message; one of another configuration has no effect.
    pub(super) fn handle(&mut self, flow: Flow, current: ConfigurationId) {
        if flow.configuration == current.low_half() {
            self.0 = self.0.saturating_add(if flow.stop == 0 { -1 } else { 1 });
        }
    }

    /// Is replication held back?
    pub(super) fn is_paused(self) -> bool {
        self.0 > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_of_an_older_configuration_has_no_effect() {
        let mut count = FlowCount::default();
        count.handle(Flow { configuration: 20, stop: 1 }, ConfigurationId(21));
        assert!(!count.is_paused());
        count.handle(Flow { configuration: 21, stop: 1 }, ConfigurationId(21));
        assert!(count.is_paused());
        count.handle(Flow { configuration: 21, stop: 0 }, ConfigurationId(21));
        assert!(!count.is_paused());
    }
}
