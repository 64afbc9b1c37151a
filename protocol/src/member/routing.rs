//! Which layer's output becomes which layer's input.

use super::{Action, EndReason, Event, Layers, Member, Phase};
use crate::message::{Order, SendError};
use crate::time::Instant;
use crate::{evs, gcs, gmcast, pc};

impl Member {
    /// Answers what came in since the last answer.
    pub(super) fn end_batch(&mut self) {
        if self.phase == Phase::Ended {
            return;
        }
        let now = self.now;
        while let Some(output) = self.layers.evs.poll_output() {
            self.perform_evs(now, output);
            self.settle(now);
        }
        self.leave_if_calm(now);
    }

    /// Moves outputs until every layer is quiet, the uppermost layer first.
    pub(super) fn settle(&mut self, now: Instant) {
        while self.phase != Phase::Ended {
            if let Some(output) = self.layers.gcs.poll_output() {
                self.perform_gcs(now, output);
            } else if let Some(output) = self.layers.pc.poll_output() {
                self.perform_pc(now, output);
            } else if let Some(output) = self.layers.evs.poll_within_batch() {
                self.perform_evs(now, output);
            } else if let Some(output) = self.layers.gmcast.poll_output() {
                self.perform_gmcast(now, output);
            } else {
                return;
            }
        }
    }

    fn perform_gcs(&mut self, now: Instant, output: gcs::Output) {
        #[cfg(any(test, feature = "testing"))]
        self.tap.note(|| super::Passed::Gcs(output.clone()));
        match output {
            gcs::Output::Send { message_type, payload } => {
                let layers = &mut self.layers;
                let accept = |framed| layers.evs.send(now, Order::Safe, message_type, framed);
                if let Err(error) = layers.pc.send_user(payload, accept) {
                    let refused = gcs::Input::SendRefused { message_type, error };
                    layers.gcs.handle_input(now, refused);
                }
            }
            gcs::Output::Event(gcs::Event::LeaveAdvised(reason)) => {
                self.event(Event::Gcs(gcs::Event::LeaveAdvised(reason)));
                self.leave(now, EndReason::Advised(reason));
            }
            gcs::Output::Event(event) => self.event(Event::Gcs(event)),
        }
    }

    fn perform_pc(&mut self, now: Instant, output: pc::Output) {
        #[cfg(any(test, feature = "testing"))]
        self.tap.note(|| super::Passed::Pc(output.clone()));
        match output {
            pc::Output::Send { user_type, payload } => self.send_control(now, user_type, payload),
            pc::Output::Component(component) => {
                if component.is_primary() {
                    self.connect_deadline = None;
                } else {
                    self.layers.gmcast.handle_input(now, gmcast::Input::PrimaryLost);
                }
                self.layers.gcs.handle_input(now, gcs::Input::Component(component));
            }
            pc::Output::Deliver(delivery) => {
                self.layers.gcs.handle_input(now, gcs::Input::Message(delivery));
            }
            pc::Output::PrimaryView { members } => {
                self.layers.gmcast.handle_input(now, gmcast::Input::PrimaryView { members });
            }
            pc::Output::Persist(saved) => self.actions.push_back(Action::Persist(saved)),
            pc::Output::Forget => self.forget_if_released(),
            pc::Output::Advice(advice) => self.follow(now, advice),
            pc::Output::Event(event) => self.event(Event::Pc(event)),
            pc::Output::Fatal(fatal) => self.end(now, EndReason::Pc(fatal)),
        }
    }

    /// Those that do not know of our leave wait for this identity if they lose the primary component.
    fn forget_if_released(&mut self) {
        let Layers { evs, pc, .. } = &self.layers;
        if pc.is_released(evs.release()) {
            self.actions.push_back(Action::Forget);
        }
    }

    fn send_control(&mut self, now: Instant, user_type: u8, payload: bytes::Bytes) {
        let sent = self.layers.evs.send(now, Order::Safe, user_type, payload);
        if let Err(error) = sent {
            self.on_control_refused(now, error);
        }
    }

    fn on_control_refused(&mut self, now: Instant, error: SendError) {
        self.layers.pc.handle_input(now, pc::Input::SendRefused(error));
    }

    fn follow(&mut self, now: Instant, advice: pc::Advice) {
        match advice {
            pc::Advice::Leave(reason) => self.leave(now, EndReason::NotPrimary(reason)),
            pc::Advice::PrimaryLost(lost) => {
                let is_complete = self.layers.gcs.is_exchange_complete();
                // Another life would not have the state that this one has.
                let is_guest = self.config.gcs.own_state.is_none();
                let is_running = self.phase == Phase::Running && is_guest;
                match lost.remedy(is_complete) {
                    pc::Remedy::RestartFromSavedView if is_running => {
                        self.restart(now, &lost.saved);
                    }
                    pc::Remedy::RestartFromSavedView | pc::Remedy::Stay => {}
                }
            }
        }
    }

    fn perform_evs(&mut self, now: Instant, output: evs::Output) {
        #[cfg(any(test, feature = "testing"))]
        self.tap.note(|| super::Passed::Evs(output.clone()));
        match output {
            evs::Output::Send { target, payload } => {
                self.layers.gmcast.handle_input(now, gmcast::Input::Send { target, payload });
            }
            evs::Output::Welcome(node) => {
                self.layers.gmcast.handle_input(now, gmcast::Input::Welcome(node));
            }
            evs::Output::Evict(node) => {
                self.layers.gmcast.handle_input(now, gmcast::Input::Evict(node));
                self.layers.pc.handle_input(now, pc::Input::Evicted(node));
            }
            evs::Output::RegularView { members, left } => {
                let input = gmcast::Input::RegularView { members, left };
                self.layers.gmcast.handle_input(now, input);
            }
            evs::Output::View(view) => {
                self.layers.pc.handle_input(now, pc::Input::View(view));
            }
            evs::Output::Deliver(delivery) => {
                self.layers.pc.handle_input(now, pc::Input::Message(delivery));
            }
            evs::Output::Closed => self.on_evs_closed(now),
            evs::Output::Failed(failure) => self.end(now, EndReason::Evs(failure)),
        }
    }

    pub(super) fn on_evs_closed(&mut self, now: Instant) {
        let reason = match &self.phase {
            Phase::Leaving(reason) => reason.clone(),
            Phase::Running | Phase::Ended => EndReason::Abandoned,
        };
        self.end(now, reason);
    }

    pub(super) fn perform_gmcast(&mut self, now: Instant, output: gmcast::Output) {
        match output {
            gmcast::Output::Resolve { host, port } => {
                self.actions.push_back(Action::Resolve { host, port });
            }
            gmcast::Output::Dial { link, remote, bind, tls } => {
                self.links.insert(link);
                self.actions.push_back(Action::Dial { link, remote, bind, tls });
            }
            gmcast::Output::SendFrame { link, body, is_user } => {
                self.actions.push_back(Action::SendFrame { link, body, is_user });
            }
            gmcast::Output::CloseLink { link } => {
                self.links.remove(&link);
                self.actions.push_back(Action::CloseLink { link });
            }
            gmcast::Output::Deliver { source, payload } => {
                let input = evs::Input::Message { source, payload };
                self.layers.evs.handle_input(now, input);
            }
            gmcast::Output::Event(event) => self.on_link_event(now, event),
        }
    }

    fn on_link_event(&mut self, now: Instant, event: gmcast::Event) {
        let running = self.phase == Phase::Running;
        self.event(Event::Link(event.clone()));
        if let gmcast::Event::IdentityRefused { problem, .. } = event {
            if running {
                self.end(now, EndReason::Refused(problem));
            }
        } else if let gmcast::Event::LinkEstablished { .. } = event {
            self.on_first_link(now);
        }
    }
}
