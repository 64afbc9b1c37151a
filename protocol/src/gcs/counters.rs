//! What passed through the group since this life of the member began, for people.

/// Counts that only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Write-sets that took a position in the group's history.
    pub write_sets: u64,
    /// Bytes of their fragments, headers included.
    pub write_set_bytes: u64,
    /// Times that a data node asked the others to stop sending.
    pub flow_stops: u64,
    /// Times that a data node let the others go on.
    pub flow_continues: u64,
    /// State transfer requests that members made, ours included.
    pub state_requests: u64,
    /// Primary configurations.
    pub configurations: u64,
}

impl Counters {
    pub(super) fn note_flow(&mut self, is_stop: bool) {
        self.flow_stops += u64::from(is_stop);
        self.flow_continues += u64::from(!is_stop);
    }
}
