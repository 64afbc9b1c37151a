//! One arbitrator's life: membership after membership, and the errand in it.

use galera_protocol::member::{Command, EndReason, Event};
use galera_protocol::pc::SavedView;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::errand::{Errand, Input, Progress, Receiver, Step};
use super::outcome::Outcome;
use super::policy::{self, Identity, Next};
use super::script::{Script, ScriptEnd};
use super::voice::Voice;
use super::{Config, Transfer};
use crate::member::{self, Handle, NotJoined, Troubles};
use crate::ops::Monitor;

/// Runs until it has been told to stop, its errand is done, or nothing helps.
///
/// Whatever the outcome, the group has been left gracefully if it could be.
pub async fn run(config: &Config, monitor: &Monitor, stop: &CancellationToken) -> Outcome {
    let mut life = Life::new(config, monitor, stop);
    let outcome = loop {
        match life.membership().await {
            Ok(Again { pause, identity }) => {
                if identity == Identity::Fresh {
                    life.saved = None;
                }
                tokio::select! {
                    () = stop.cancelled() => break Outcome::Stopped,
                    () = sleep(pause) => {}
                }
            }
            Err(outcome) => break outcome,
        }
    };
    life.afterwards(outcome).await
}

/// Another membership is due.
struct Again {
    pause: Duration,
    identity: Identity,
}

/// How following a membership came to its end.
enum Followed {
    /// The member is still there and has to leave.
    Finish(Outcome),
    /// The member is gone.
    Ended(EndReason),
}

struct Life<'a> {
    config: &'a Config,
    monitor: &'a Monitor,
    stop: &'a CancellationToken,
    voice: Voice,
    errand: Option<(&'a Transfer, Progress)>,
    script: Option<Script>,
    was_script_told: bool,
    saved: Option<SavedView>,
    /// Until when the primary component must be reached for the first time.
    first_contact: Option<Instant>,
    has_joined: bool,
    is_stopping: bool,
    /// What went wrong with links of this membership.
    troubles: Troubles,
}

impl<'a> Life<'a> {
    fn new(config: &'a Config, monitor: &'a Monitor, stop: &'a CancellationToken) -> Self {
        let errand = match &config.errand {
            Errand::Vote => None,
            Errand::Transfer(transfer) => Some((transfer, Progress::new(transfer))),
        };
        let limit = config.member.core.connect_limit;
        Self {
            config,
            monitor,
            stop,
            voice: Voice::new(config),
            errand,
            script: None,
            was_script_told: false,
            saved: config.member.saved.clone(),
            first_contact: limit.map(|limit| Instant::now() + limit),
            has_joined: false,
            is_stopping: false,
            troubles: Troubles::default(),
        }
    }

    /// One membership, and what follows it.
    async fn membership(&mut self) -> Result<Again, Outcome> {
        let mut handle = match member::start(self.member_config()) {
            Ok(handle) => handle,
            Err(problem) if self.has_joined => {
                warn!(error = %problem, "cannot come back yet");
                return self.after(EndReason::Abandoned);
            }
            Err(problem) => return Err(problem.into()),
        };
        self.voice.begin();
        self.monitor.follow(handle.pictures());
        match self.follow(&mut handle).await {
            Followed::Finish(outcome) => {
                let voice = &mut self.voice;
                voice.leave();
                handle.leave(|event| voice.tell(&event)).await;
                Err(outcome)
            }
            Followed::Ended(reason) => {
                self.saved = handle.saved();
                self.after_membership(reason).await
            }
        }
    }

    /// Says why the group was not reached, if that is how it ends.
    async fn after_membership(&mut self, reason: EndReason) -> Result<Again, Outcome> {
        match self.after(reason) {
            Err(Outcome::NotJoined(NotJoined { reason, .. })) => {
                let why = NotJoined::new(reason, self.troubles.take()).await;
                Err(Outcome::NotJoined(why))
            }
            next => next,
        }
    }

    /// The limit for reaching the primary component holds until it was reached once: from then on
    /// the group counts on our vote.
    fn member_config(&self) -> member::Config {
        let mut config = self.config.member.clone();
        let remaining = |until: Instant| until.saturating_duration_since(Instant::now());
        config.core.connect_limit = self.first_contact.map(remaining).filter(|_| !self.has_joined);
        config.saved = self.saved.clone();
        config
    }

    async fn follow(&mut self, handle: &mut Handle) -> Followed {
        let mut ended = None;
        loop {
            let deadline = self.errand.as_ref().and_then(|(_, progress)| progress.deadline());
            let step = tokio::select! {
                biased;
                () = self.stop.cancelled(), if !self.is_stopping => self.on_stop(),
                () = script_end(&mut self.script) => self.on_script_end().await,
                event = handle.next_event(), if ended.is_none() => {
                    let event = event.unwrap_or(Event::Ended(EndReason::Abandoned));
                    if let Event::Ended(reason) = &event {
                        ended = Some(reason.clone());
                    }
                    self.on_event(&event)
                }
                () = wait_until(deadline) => self.input(Input::Timeout),
            };
            if let Some(outcome) = self.carry_out(step, handle).await {
                return Followed::Finish(outcome);
            }
            if let Some(reason) = ended.take_if(|_| self.script.is_none()) {
                return Followed::Ended(reason);
            }
        }
    }

    fn on_event(&mut self, event: &Event) -> Option<Step> {
        if let Event::Gcs(galera_protocol::gcs::Event::ConfigurationChanged(_)) = event {
            self.has_joined = true;
            self.monitor.set_ready();
        }
        if let Event::Link(event) = event {
            self.troubles.hear(event);
        }
        self.voice.tell(event);
        self.input(Input::Event(event))
    }

    fn on_stop(&mut self) -> Option<Step> {
        self.is_stopping = true;
        match &self.errand {
            None => Some(Step::Finish(Outcome::Stopped)),
            Some(_) => self.input(Input::Stop),
        }
    }

    async fn on_script_end(&mut self) -> Option<Step> {
        let script = self.script.take()?;
        let end = script.wait(self.was_script_told).await;
        info!("The receiver script ended with {end}");
        self.input(Input::ScriptEnded(end))
    }

    fn input(&mut self, input: Input<'_>) -> Option<Step> {
        let (_, progress) = self.errand.as_mut()?;
        progress.handle(Instant::now(), input)
    }

    /// Gives the result if that was the last step.
    async fn carry_out(&mut self, step: Option<Step>, handle: &Handle) -> Option<Outcome> {
        match step? {
            Step::Request => {
                if let Some((transfer, _)) = &self.errand {
                    let request = transfer.request.clone();
                    handle.command(Command::RequestStateTransfer(request)).await;
                }
                None
            }
            Step::StartScript => match self.receiver().map(|r| Script::start(&r.command)) {
                Some(Ok(script)) => {
                    self.script = Some(script);
                    None
                }
                Some(Err(problem)) => Some(problem.into()),
                None => None,
            },
            Step::EndScript => {
                self.was_script_told = true;
                if let Some(script) = &self.script {
                    script.terminate();
                }
                None
            }
            Step::Finish(outcome) => Some(outcome),
        }
    }

    fn receiver(&self) -> Option<&'a Receiver> {
        self.errand.as_ref().and_then(|(transfer, _)| transfer.receiver.as_ref())
    }

    fn after(&self, reason: EndReason) -> Result<Again, Outcome> {
        match policy::after(&reason, self.is_stopping) {
            Next::Finished => Err(Outcome::Stopped),
            Next::GiveUp => Err(Outcome::GaveUp(reason)),
            Next::Again { pause, .. } if self.is_too_late(pause) => {
                Err(Outcome::NotJoined(reason.into()))
            }
            Next::Again { pause, identity } => {
                warn!(%reason, pause_s = pause.as_secs(), "membership ended: coming back");
                Ok(Again { pause, identity })
            }
        }
    }

    fn is_too_late(&self, pause: Duration) -> bool {
        let is_after = |until| Instant::now() + pause >= until;
        !self.has_joined && self.first_contact.is_some_and(is_after)
    }

    /// The caller's second command, when we are out of the group.
    async fn afterwards(mut self, outcome: Outcome) -> Outcome {
        self.voice.end(&outcome);
        let command = self.receiver().and_then(|receiver| receiver.afterwards.as_deref());
        match (&outcome, command) {
            (Outcome::ScriptEnded(end), Some(command)) if end.is_success() => {
                run_to_end(command).await.map_or_else(Outcome::from, Outcome::ScriptEnded)
            }
            _ => outcome,
        }
    }
}

async fn run_to_end(command: &str) -> Result<ScriptEnd, super::ScriptError> {
    let mut script = Script::start(command).inspect_err(|problem| error!(error = %problem))?;
    script.ended().await;
    Ok(script.wait(false).await)
}

/// Waits for the script, or for ever if there is none.
async fn script_end(script: &mut Option<Script>) {
    match script {
        Some(script) => script.ended().await,
        None => std::future::pending().await,
    }
}

async fn wait_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
