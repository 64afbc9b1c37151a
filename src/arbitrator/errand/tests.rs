use galera_protocol::StateId;
use galera_protocol::gcs::{
    Acceptance, Configuration, ConfigurationId, Name, Outcome as TransferOutcome, Protocols,
    Request, RequestError, Seqno, Transfer as Accepted,
};

use super::*;

const DONOR: NodeId = NodeId::from_bytes([1; 16]);
const OTHER: NodeId = NodeId::from_bytes([2; 16]);

/// A virtual clock and an errand with a receiver script.
struct Scene {
    now: Instant,
    progress: Progress,
}

impl Scene {
    fn new(receiver: Option<bool>) -> Self {
        let request = Request {
            donors: String::new(),
            method: "mariabackup".into(),
            address: "h:4444/xtrabackup_sst//1".into(),
            conditions: galera_protocol::gcs::Conditions::default(),
        };
        let receiver = receiver.map(|waits_for_exit| Receiver {
            command: "true".into(),
            afterwards: None,
            waits_for_exit,
        });
        let progress = Progress::new(&Transfer { request, receiver });
        Self { now: Instant::now(), progress }
    }

    /// With the script running.
    fn receiving(waits_for_exit: bool) -> Self {
        let mut scene = Self::new(Some(waits_for_exit));
        assert!(matches!(scene.event(configuration()), Some(Step::Request)));
        assert!(matches!(scene.event(accepted()), Some(Step::StartScript)));
        scene
    }

    fn event(&mut self, event: gcs::Event) -> Option<Step> {
        self.progress.handle(self.now, Input::Event(&Event::Gcs(event)))
    }

    fn input(&mut self, input: Input<'_>) -> Option<Step> {
        self.progress.handle(self.now, input)
    }

    fn pass(&mut self, time: Duration) -> Option<Step> {
        self.now += time;
        self.progress.handle(self.now, Input::Timeout)
    }
}

fn configuration() -> gcs::Event {
    gcs::Event::ConfigurationChanged(Box::new(Configuration {
        id: ConfigurationId(1),
        state: StateId::NIL,
        seqno: Seqno(1),
        protocols: Protocols::default(),
        members: Vec::new(),
        my_index: 0,
    }))
}

fn accepted() -> gcs::Event {
    let transfer = Accepted {
        donor: DONOR,
        donor_name: Name::new("n1").expect("a name"),
        configuration: ConfigurationId(1),
        state: StateId::NIL,
        seqno: Seqno(1),
        outcome: TransferOutcome::Running,
    };
    gcs::Event::RequestAccepted(Acceptance { transfer, is_certain: true })
}

fn ended(donor: NodeId, code: i64) -> gcs::Event {
    gcs::Event::TransferEnded { donor, code, seqno: Seqno(1) }
}

fn finished(step: Option<Step>) -> u8 {
    match step {
        Some(Step::Finish(outcome)) => outcome.garbd_code(true),
        other => panic!("not finished: {other:?}"),
    }
}

#[test]
fn without_a_receiver_it_is_done_when_the_group_accepts() {
    let mut scene = Scene::new(None);
    assert!(matches!(scene.event(configuration()), Some(Step::Request)));
    assert!(scene.event(configuration()).is_none(), "asked once");
    assert_eq!(finished(scene.event(accepted())), 0);
}

#[test]
fn a_refused_request_is_the_end() {
    let mut scene = Scene::new(Some(false));
    scene.event(configuration());
    let refused = gcs::Event::RequestRefused(RequestError::AlreadyRequested);
    assert_eq!(finished(scene.event(refused)), 100);
}

#[test]
fn a_request_that_was_lost_with_the_primary_component_is_made_again() {
    let mut scene = Scene::new(Some(false));
    scene.event(configuration());
    assert!(scene.input(Input::Event(&Event::Restarted { me: OTHER })).is_none());
    assert!(matches!(scene.event(configuration()), Some(Step::Request)));
}

#[test]
fn the_scripts_status_is_the_result_once_the_donor_has_succeeded() {
    let mut scene = Scene::receiving(false);
    assert!(scene.event(ended(DONOR, 0)).is_none());
    assert_eq!(finished(scene.input(Input::ScriptEnded(ScriptEnd::Exited(0)))), 0);
    let mut scene = Scene::receiving(false);
    assert_eq!(finished(scene.input(Input::ScriptEnded(ScriptEnd::Exited(7)))), 7);
}

#[test]
fn a_script_that_ends_well_before_the_donor_has_spoken_is_not_believed_yet() {
    let mut scene = Scene::receiving(false);
    assert!(scene.input(Input::ScriptEnded(ScriptEnd::Exited(0))).is_none());
    assert_eq!(finished(scene.event(ended(DONOR, -22))), 102);

    let mut scene = Scene::receiving(false);
    scene.input(Input::ScriptEnded(ScriptEnd::Exited(0)));
    assert_eq!(finished(scene.event(ended(DONOR, 0))), 0);

    let mut scene = Scene::receiving(false);
    scene.input(Input::ScriptEnded(ScriptEnd::Exited(0)));
    assert_eq!(finished(scene.event(gcs::Event::DonorLost { donor: DONOR })), 101);

    let mut scene = Scene::receiving(false);
    scene.input(Input::ScriptEnded(ScriptEnd::Exited(0)));
    assert!(scene.pass(WORD_LIMIT / 2).is_none());
    assert_eq!(finished(scene.pass(WORD_LIMIT)), 0);
}

#[test]
fn a_failed_transfer_and_a_lost_donor_end_the_script_first() {
    let mut scene = Scene::receiving(false);
    assert!(matches!(scene.event(ended(DONOR, -32)), Some(Step::EndScript)));
    assert_eq!(finished(scene.input(Input::ScriptEnded(ScriptEnd::Exited(0)))), 102);

    let mut scene = Scene::receiving(false);
    let lost = gcs::Event::DonorLost { donor: DONOR };
    assert!(matches!(scene.event(lost), Some(Step::EndScript)));
    assert_eq!(finished(scene.input(Input::ScriptEnded(ScriptEnd::Signalled(15)))), 101);
}

#[test]
fn a_script_that_lingers_is_ended_unless_it_is_waited_for() {
    let mut scene = Scene::receiving(false);
    scene.event(ended(DONOR, 0));
    assert!(scene.pass(SCRIPT_GRACE - Duration::from_secs(1)).is_none());
    assert!(matches!(scene.pass(Duration::from_secs(1)), Some(Step::EndScript)));
    assert_eq!(finished(scene.input(Input::ScriptEnded(ScriptEnd::Signalled(15)))), 103);

    let mut scene = Scene::receiving(true);
    scene.event(ended(DONOR, 0));
    assert_eq!(scene.progress.deadline(), None);
    assert!(scene.pass(SCRIPT_GRACE * 100).is_none());
    assert_eq!(finished(scene.input(Input::ScriptEnded(ScriptEnd::Exited(0)))), 0);
}

#[test]
fn somebody_elses_transfer_concerns_nobody_here() {
    let mut scene = Scene::receiving(false);
    assert!(scene.event(ended(OTHER, -22)).is_none());
    assert!(scene.event(gcs::Event::DonorLost { donor: OTHER }).is_none());
    assert_eq!(scene.progress.deadline(), None);
}

#[test]
fn a_stop_ends_the_script_and_counts_as_a_failure_only_then() {
    let mut scene = Scene::new(Some(false));
    assert_eq!(finished(scene.input(Input::Stop)), 0);
    let mut scene = Scene::receiving(false);
    assert!(matches!(scene.input(Input::Stop), Some(Step::EndScript)));
    assert_eq!(finished(scene.input(Input::ScriptEnded(ScriptEnd::Signalled(15)))), 102);
}

#[test]
fn a_membership_that_ends_costs_a_running_script_and_nothing_before() {
    let lost = Event::Ended(EndReason::Abandoned);
    let mut scene = Scene::new(Some(false));
    scene.event(configuration());
    assert!(scene.input(Input::Event(&lost)).is_none());
    assert!(matches!(scene.event(configuration()), Some(Step::Request)));

    let mut scene = Scene::receiving(false);
    assert!(matches!(scene.input(Input::Event(&lost)), Some(Step::EndScript)));
    assert_eq!(finished(scene.input(Input::ScriptEnded(ScriptEnd::Signalled(15)))), 100);
}
