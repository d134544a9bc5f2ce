//! What goes wrong in a world, and when.

use super::app::{Health, Mood as SourceMood};
use super::channels::Mood as ReceiverMood;
use super::files::{probe_of, target_name};
use super::random::Random;
use super::world::Due;
use crate::engine::decision::{DeliveryReport, DeploymentNews, Ending, Happening, Setup};
use crate::engine::model::{ReceiverName, SourceName};
use crate::engine::series::FailureKind;
use crate::engine::time::{Span, Timestamp};
use crate::journal::Checkpoint;
use crate::replay::{CommitFate, Doom, Queue};

/// Draws everything that will go wrong between `begin` and `end`.
pub(super) fn draw(
    queue: &mut Queue<Due>,
    setup: &Setup,
    begin: Timestamp,
    end: Timestamp,
    random: &mut Random,
) {
    let length = end.since(begin).as_millis();
    let when = |random: &mut Random| begin + random.millis(5_000, length);
    for target in 0..setup.targets.len() {
        for _ in 0..random.pick(&[1, 2, 2, 3]) {
            let health = random.pick(&[Health::Failing, Health::Failing, Health::Silent]);
            let at = when(random);
            let what =
                if random.chance(75) { Due::Deploy { target, health } } else { Due::Turn { target, health } };
            queue.add(at, what);
            if random.chance(40) {
                let lasts = random.secs(20, 240);
                queue.add(at + lasts, Due::Turn { target, health: Health::Good });
            }
        }
    }
    let sources: Vec<SourceName> = setup.sources.keys().cloned().collect();
    for _ in 0..random.below(3) {
        let kind = random.pick(&[FailureKind::Unreachable, FailureKind::TimedOut, FailureKind::Malformed]);
        let mood = random.pick(&[SourceMood::Fails(kind), SourceMood::Fails(kind), SourceMood::Hangs]);
        let (at, lasts) = (when(random), random.secs(20, 240));
        queue.add(at, Due::SourceTrouble { source: random.pick(&sources), mood, lasts });
    }
    let receivers: Vec<ReceiverName> = setup.receivers.iter().cloned().collect();
    for _ in 0..random.below(4) {
        let mood = random.pick(&[ReceiverMood::Fails, ReceiverMood::Fails, ReceiverMood::Refuses]);
        let (at, lasts) = (when(random), random.secs(30, 500));
        let hit = if random.chance(25) { receivers.clone() } else { vec![random.pick(&receivers)] };
        for receiver in hit {
            queue.add(at, Due::ReceiverTrouble { receiver, mood, lasts });
        }
    }
    draw_host(queue, &when, random);
    draw_deployments(queue, setup.targets.len(), &when, random);
    draw_deaths(queue, setup, &when, random);
}

/// Applications that are gone, as their probes tell; and nobody but us who is, where references tell that.
fn draw_deaths(
    queue: &mut Queue<Due>,
    setup: &Setup,
    when: &impl Fn(&mut Random) -> Timestamp,
    random: &mut Random,
) {
    let probed = |nth: &usize| setup.probes.contains(&probe_of(*nth));
    for target in (0..setup.targets.len()).filter(probed) {
        for _ in 0..random.pick(&[0, 1, 1, 2]) {
            let (at, lasts) = (when(random), random.secs(10, 240));
            queue.add(at, Due::Turn { target, health: Health::Dead });
            queue.add(at + lasts, Due::Turn { target, health: Health::Good });
        }
    }
    let targets =
        (0..setup.targets.len()).filter(probed).filter_map(|nth| setup.targets.get(&target_name(nth)));
    let can_tell: Vec<bool> = targets.map(|target| !target.reference.is_empty()).collect();
    if !can_tell.is_empty() && can_tell.iter().all(|tells| *tells) {
        for _ in 0..random.pick(&[0, 1, 2]) {
            queue.add(when(random), Due::Isolation { lasts: random.secs(5, 120) });
        }
    }
}

/// Pipelines that tell of what they do, in order or not: the new version shows whenever it does.
fn draw_deployments(
    queue: &mut Queue<Due>,
    targets: usize,
    when: &impl Fn(&mut Random) -> Timestamp,
    random: &mut Random,
) {
    for target in 0..targets {
        for nth in 0..random.below(3) {
            let at = when(random);
            let version = format!("announced-{nth}");
            let mut tell = |at, news| queue.add(at, Due::Tell { target, news });
            tell(at, DeploymentNews::Start { version, previous: None });
            for share in [0.1, 0.5] {
                let (after, settle) = (random.secs(1, 60), random.secs(0, 30));
                tell(at + after, DeploymentNews::Stage { share, name: None, settle });
                tell(at + random.secs(1, 60), DeploymentNews::Progress { share });
            }
            let ending =
                random.pick(&[Ending::RolledOut, Ending::RolledOut, Ending::Failed, Ending::Abandoned]);
            if random.chance(80) {
                tell(at + random.secs(30, 200), DeploymentNews::Finish { ending });
            }
            if random.chance(15) {
                tell(at + random.secs(30, 300), DeploymentNews::PointOfNoReturn {});
            }
        }
    }
}

fn draw_host(queue: &mut Queue<Due>, when: &impl Fn(&mut Random) -> Timestamp, random: &mut Random) {
    for _ in 0..random.below(3) {
        queue.add(when(random), Due::Crash);
    }
    for _ in 0..random.below(3) {
        let point = random.pick(&[Checkpoint::BeforeCommit, Checkpoint::AfterCommit]);
        queue.add(when(random), Due::Doomed(Doom { point, on: random.pick(&DOOMS) }));
    }
    if random.chance(30) {
        queue.add(when(random), Due::JournalTrouble { lasts: random.secs(1, 120) });
    }
    if random.chance(25) {
        let fates = random
            .pick(&[vec![CommitFate::LandsAndFails], vec![CommitFate::LandsAndFails, CommitFate::Fails]]);
        queue.add(when(random), Due::CommitTrouble(fates));
    }
    for _ in 0..random.below(2) {
        let by =
            random.pick(&[Span::from_secs(3600), -Span::from_secs(3600), -Span::from_secs(86_400 * 400)]);
        queue.add(when(random), Due::WallJump(by));
    }
    for _ in 0..random.below(3) {
        queue.add(when(random), Due::ClockSlip(random.secs(1, 30)));
    }
    for _ in 0..random.pick(&[0, 0, 1, 2]) {
        queue.add(when(random), if random.chance(80) { Due::Reload } else { Due::BadFiles });
    }
    if random.chance(20) {
        queue.add(when(random), Due::Stop);
    }
}

/// The kinds of events at whose commit a process may die.
const DOOMS: [fn(&Happening) -> bool; 9] = [
    |what| matches!(what, Happening::TriggerFiring { .. }),
    |what| matches!(what, Happening::StepIntended { .. }),
    |what| matches!(what, Happening::StepStarted { .. }),
    |what| matches!(what, Happening::StepStarted { .. }),
    |what| matches!(what, Happening::StepEnded { .. }),
    |what| matches!(what, Happening::VerificationStarted { .. }),
    |what| matches!(what, Happening::RollbackEnded { .. }),
    |what| matches!(what, Happening::DeliveryReported { report: DeliveryReport::Accepted(_), .. }),
    |what| matches!(what, Happening::IncidentResolved { .. } | Happening::SetupLoaded { .. }),
];

/// How long the daemon is down: mostly as long as systemd takes to start it again, at times longer than windows live.
pub(super) fn downtime(random: &mut Random) -> Span {
    match random.below(100) {
        0..70 => random.secs(1, 10),
        70..90 => random.secs(10, 300),
        _ => random.secs(300, 7200),
    }
}
