//! Which revision is the good one, and what is to be done to get there: the judgement of `undo`.
//!
//! A Deployment's revisions are its ReplicaSets. An undo does not go back: the controller gives the old ReplicaSet a new,
//! highest number, so "the previous revision" of a second undo is the bad one. Therefore nothing here goes to "the
//! previous one". The good revision is pinned, by its number, its version or its image, and where it runs already there is
//! nothing to do. Numbers that a ReplicaSet had before are kept in an annotation, so a pinned number stays true.

use super::objects::{Deployment, Metadata, ReplicaSet, Template};

/// The annotation with a ReplicaSet's or Deployment's revision.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// The annotation with the numbers that a ReplicaSet had before, such as `1,3`.
const EARLIER: &str = "deployment.kubernetes.io/revision-history";

/// What tells the good revision from the bad one. All that is given must hold.
#[derive(Clone, Debug, Default, clap::Args)]
pub(in crate::cli::adapter) struct PinArguments {
    /// The good revision's number
    #[arg(long, value_name = "N")]
    pub(in crate::cli::adapter) to_revision: Option<u64>,
    /// The good version: the tag of the container's image, or the value of --version-label
    #[arg(long, value_name = "VERSION", allow_hyphen_values = true)]
    pub(in crate::cli::adapter) good_version: Option<String>,
    /// The good image, whole
    #[arg(long, value_name = "IMAGE")]
    pub(in crate::cli::adapter) to_image: Option<String>,
    /// The bad version: never gone to; alone it means "the newest revision that is not this"
    #[arg(long, value_name = "VERSION", allow_hyphen_values = true)]
    pub(in crate::cli::adapter) bad_version: Option<String>,
    /// The pods' label that says the version, such as app.kubernetes.io/version; by default the image's tag says it
    #[arg(long, value_name = "LABEL")]
    pub(in crate::cli::adapter) version_label: Option<String>,
    /// The container whose image counts; by default the pod's default container
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli::adapter) container: Option<String>,
}

impl PinArguments {
    /// Returns the version of a template, where it can be told.
    pub(in crate::cli::adapter) fn version<'a>(&self, template: &'a Template) -> Option<&'a str> {
        match &self.version_label {
            Some(label) => template.label(label),
            None => tag(template.image(self.container.as_deref())?),
        }
    }

    /// Returns why it says nothing, or nothing that could be meant. What a plan does not know it gives as empty.
    pub(in crate::cli::adapter) fn objection(&self) -> Option<String> {
        let known = |value: &Option<String>| value.as_deref().is_some_and(|value| !value.is_empty());
        if self.good_version.is_some() && self.good_version == self.bad_version && known(&self.good_version) {
            let version = self.good_version.as_deref().unwrap_or_default();
            return Some(format!("the good and the bad version are both {version}"));
        }
        let pinned = self.to_revision.is_some()
            || [&self.good_version, &self.to_image, &self.bad_version].into_iter().any(known);
        (!pinned).then(|| {
            let ways = "--to-revision, --good-version, --to-image or --bad-version";
            format!("what the good revision is, is not known: one of {ways} must say it")
        })
    }

    /// Returns whether the revision with these numbers and this template is the good one. What is not known is not good.
    pub(in crate::cli::adapter) fn accepts(&self, numbers: &[u64], template: &Template) -> bool {
        let version = self.version(template);
        let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        self.to_revision.is_none_or(|number| numbers.contains(&number))
            && given(&self.good_version).is_none_or(|good| version == Some(good.as_str()))
            && given(&self.bad_version).is_none_or(|bad| version.is_some_and(|version| version != bad))
            && given(&self.to_image)
                .is_none_or(|image| template.image(self.container.as_deref()) == Some(image.as_str()))
    }

    /// Says what is looked for.
    pub(in crate::cli::adapter) fn describe(&self) -> String {
        let parts = [
            self.to_revision.map(|number| format!("revision {number}")),
            self.good_version.as_ref().filter(|text| !text.is_empty()).map(|text| format!("version {text}")),
            self.to_image.as_ref().filter(|text| !text.is_empty()).map(|text| format!("image {text}")),
            self.bad_version
                .as_ref()
                .filter(|text| !text.is_empty())
                .map(|text| format!("not version {text}")),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// Names a revision to people: `revision 7 (v42)`.
    pub(in crate::cli::adapter) fn named(&self, number: Option<u64>, template: &Template) -> String {
        let version = self.version(template).or_else(|| template.image(self.container.as_deref()));
        let version = version.unwrap_or("version not known");
        match number {
            Some(number) => format!("revision {number} ({version})"),
            None => format!("a template that was not rolled out yet ({version})"),
        }
    }
}

/// Returns an image's tag: `v42` of `registry:5000/shop/web:v42@sha256:...`.
fn tag(image: &str) -> Option<&str> {
    let name = image.split('@').next()?.rsplit('/').next()?;
    name.split_once(':').map(|(_, tag)| tag)
}

/// A revision that the cluster still has.
#[derive(Clone, Debug)]
pub(in crate::cli::adapter) struct Revision<'a> {
    pub(in crate::cli::adapter) number: u64,
    /// Its number and those that it had before.
    pub(in crate::cli::adapter) numbers: Vec<u64>,
    pub(in crate::cli::adapter) set: &'a ReplicaSet,
}

/// Returns the revisions of what has this uid, the newest first.
pub(in crate::cli::adapter) fn revisions<'a>(
    uid: &str,
    sets: &'a [ReplicaSet],
    revision: &str,
    earlier: &str,
) -> Vec<Revision<'a>> {
    let number_of =
        |metadata: &Metadata| metadata.annotations.get(revision).and_then(|text| text.parse().ok());
    let mut revisions: Vec<Revision> = sets
        .iter()
        .filter(|set| set.metadata.is_owned_by(uid))
        .filter_map(|set| {
            let number = number_of(&set.metadata)?;
            let before = set.metadata.annotations.get(earlier).map_or("", String::as_str);
            let before = before.split(',').filter_map(|text| text.trim().parse().ok());
            Some(Revision { number, numbers: std::iter::once(number).chain(before).collect(), set })
        })
        .collect();
    revisions.sort_by_key(|revision| std::cmp::Reverse(revision.number));
    revisions
}

/// What is to be done with a Deployment.
#[derive(Clone, Debug)]
pub(super) enum Judgement {
    /// Runs the good revision.
    AlreadyThere { at: String },
    /// Has the good revision, but is paused.
    Resume { at: String, template: Template },
    /// Is to be taken back.
    Undo { resume: bool, from: String, to: String, revision: u64, template: Template },
    /// Must be left alone; all reasons at once.
    Refused { from: String, why: String },
}

/// Decides what is to be done.
pub(super) fn judge(
    deployment: &Deployment,
    sets: &[ReplicaSet],
    pin: &PinArguments,
    may_resume: bool,
) -> Judgement {
    let revisions = revisions(&deployment.metadata.uid, sets, REVISION, EARLIER);
    let template = &deployment.spec.template;
    let current = revisions.iter().find(|revision| revision.set.spec.template.is_same_as(template));
    let from = pin.named(current.map(|current| current.number), template);
    let mut reasons: Vec<String> = pin.objection().into_iter().collect();
    let is_paused = deployment.spec.paused;
    if is_paused && !may_resume {
        let name = &deployment.metadata.name;
        reasons.push(format!(
            "the Deployment is paused, and kubectl refuses to undo it; resume it first with 'kubectl rollout resume \
             deployment/{name}' or give --resume-paused; do not pause it in the plan"
        ));
    }
    let numbers = current.map(|current| current.numbers.clone()).unwrap_or_default();
    if reasons.is_empty() && pin.accepts(&numbers, template) {
        return if is_paused {
            Judgement::Resume { at: from, template: template.clone() }
        } else {
            Judgement::AlreadyThere { at: from }
        };
    }
    let others = || revisions.iter().filter(|one| current.is_none_or(|current| current.number != one.number));
    let good = others().find(|one| pin.accepts(&one.numbers, &one.set.spec.template));
    if good.is_none() && pin.objection().is_none() {
        reasons.extend(nothing_to_undo_to(pin, &from, others(), &numbers, template));
    }
    match (good, reasons.is_empty()) {
        (Some(good), true) => Judgement::Undo {
            resume: is_paused,
            from,
            to: pin.named(Some(good.number), &good.set.spec.template),
            revision: good.number,
            template: good.set.spec.template.clone(),
        },
        _ => Judgement::Refused { from, why: reasons.join("; ") },
    }
}

/// Says why no revision is the good one; nothing where the one that runs is.
fn nothing_to_undo_to<'a>(
    pin: &PinArguments,
    from: &str,
    others: impl Iterator<Item = &'a Revision<'a>>,
    numbers: &[u64],
    template: &Template,
) -> Option<String> {
    if pin.accepts(numbers, template) {
        return None;
    }
    let listed: Vec<String> = others.map(|one| pin.named(Some(one.number), &one.set.spec.template)).collect();
    Some(if listed.is_empty() {
        format!("nothing to undo to: {from} is all that the cluster knows of it")
    } else {
        let wanted = pin.describe();
        format!("nothing to undo to: {from} runs, and none of {} is {wanted}", listed.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{deployment, replica_set};
    use super::*;

    fn pin(text: &str) -> PinArguments {
        let mut pin = PinArguments::default();
        for part in text.split_whitespace() {
            let (key, value) = part.split_once('=').unwrap();
            let value = Some(value.to_owned());
            match key {
                "revision" => pin.to_revision = value.map(|value| value.parse().unwrap()),
                "good" => pin.good_version = value,
                "bad" => pin.bad_version = value,
                "image" => pin.to_image = value,
                other => panic!("{other}"),
            }
        }
        pin
    }

    /// Says a judgement in a line.
    fn judged(deployment: &Deployment, sets: &[ReplicaSet], text: &str, may_resume: bool) -> String {
        match judge(deployment, sets, &pin(text), may_resume) {
            Judgement::AlreadyThere { at } => format!("already at {at}"),
            Judgement::Resume { at, .. } => format!("resume at {at}"),
            Judgement::Undo { resume, from, to, revision, .. } => {
                format!("{}undo {from} -> {to} by {revision}", if resume { "resume, " } else { "" })
            }
            Judgement::Refused { why, .. } => format!("refused: {why}"),
        }
    }

    #[test]
    fn s1_08_the_good_revision_is_pinned_and_an_undo_never_goes_forward() {
        // v1 was revision 1, then v2 came, then an undo made v1 revision 3.
        let undone = [replica_set("3", "1", "v1"), replica_set("2", "", "v2")];
        let fresh = [replica_set("1", "", "v1"), replica_set("2", "", "v2")];
        let many = [replica_set("4", "", "v2"), replica_set("5", "1,3", "v1"), replica_set("6", "", "v3")];
        let cases: [(&str, &[ReplicaSet], &str, &str); 19] = [
            ("v2", &fresh, "good=v1", "undo revision 2 (v2) -> revision 1 (v1) by 1"),
            ("v2", &fresh, "bad=v2", "undo revision 2 (v2) -> revision 1 (v1) by 1"),
            ("v2", &fresh, "good=v1 bad=v2", "undo revision 2 (v2) -> revision 1 (v1) by 1"),
            ("v2", &fresh, "revision=1", "undo revision 2 (v2) -> revision 1 (v1) by 1"),
            ("v2", &fresh, "image=shop/web:v1", "undo revision 2 (v2) -> revision 1 (v1) by 1"),
            // A second call: a plain undo would go forward to v2.
            ("v1", &undone, "good=v1", "already at revision 3 (v1)"),
            ("v1", &undone, "bad=v2", "already at revision 3 (v1)"),
            ("v1", &undone, "revision=1", "already at revision 3 (v1)"),
            // The number that was recorded is found by what it has become.
            ("v3", &many, "revision=1", "undo revision 6 (v3) -> revision 5 (v1) by 5"),
            ("v3", &many, "good=v2", "undo revision 6 (v3) -> revision 4 (v2) by 4"),
            ("v3", &many, "bad=v3", "undo revision 6 (v3) -> revision 5 (v1) by 5"),
            // A template that was set while nothing was rolled out.
            (
                "v9",
                &fresh,
                "good=v1",
                "undo a template that was not rolled out yet (v9) -> revision 1 (v1) by 1",
            ),
            (
                "v2",
                &fresh[1..],
                "good=v1",
                "refused: nothing to undo to: revision 2 (v2) is all that the cluster knows of it",
            ),
            (
                "v2",
                &fresh,
                "good=v0",
                "refused: nothing to undo to: revision 2 (v2) runs, and none of revision 1 (v1) is version v0",
            ),
            (
                "v2",
                &fresh,
                "revision=7",
                "refused: nothing to undo to: revision 2 (v2) runs, and none of revision 1 (v1) is revision 7",
            ),
            (
                "v1",
                &undone,
                "revision=2 bad=v2",
                "refused: nothing to undo to: revision 3 (v1) runs, and none of revision 2 (v2) is revision 2, not version v2",
            ),
            ("v2", &fresh, "good=v2 bad=v2", "refused: the good and the bad version are both v2"),
            (
                "v2",
                &fresh,
                "good=",
                "refused: what the good revision is, is not known: one of --to-revision, --good-version, --to-image or --bad-version must say it",
            ),
            ("v2", &fresh, "good= bad=v2", "undo revision 2 (v2) -> revision 1 (v1) by 1"),
        ];
        for (runs, sets, text, expected) in cases {
            assert_eq!(judged(&deployment("web", runs), sets, text, false), expected, "{runs} {text}");
        }
    }

    #[test]
    fn s1_08_a_paused_deployment_is_refused_or_resumed_where_that_is_asked_for() {
        let sets = [replica_set("1", "", "v1"), replica_set("2", "", "v2")];
        let mut paused = deployment("web", "v2");
        paused.spec.paused = true;
        let refused = judged(&paused, &sets, "good=v1", false);
        assert!(refused.starts_with("refused: the Deployment is paused"), "{refused}");
        assert!(refused.contains("'kubectl rollout resume deployment/web'"), "{refused}");
        // Everything that is wrong with it, at once.
        let both = judged(&paused, &sets[1..], "good=v1", false);
        assert!(both.contains("is paused") && both.contains("nothing to undo to"), "{both}");
        let resumed = judged(&paused, &sets, "good=v1", true);
        assert_eq!(resumed, "resume, undo revision 2 (v2) -> revision 1 (v1) by 1");
        let mut set_back = deployment("web", "v1");
        set_back.spec.paused = true;
        assert_eq!(judged(&set_back, &sets, "good=v1", true), "resume at revision 1 (v1)");
        assert!(judged(&set_back, &sets, "good=v1", false).starts_with("refused: "));
    }

    #[test]
    fn a_version_that_cannot_be_told_is_neither_good_nor_taken_for_not_bad() {
        let sets = [replica_set("1", "", "v1"), replica_set("2", "", "@sha256:00")];
        let runs = deployment("web", "@sha256:00");
        assert_eq!(
            judged(&runs, &sets, "bad=v2", false),
            "undo revision 2 (shop/web@sha256:00) -> revision 1 (v1) by 1"
        );
        let unknown = judged(&runs, &sets[1..], "bad=v2", false);
        assert!(unknown.starts_with("refused: nothing to undo to"), "{unknown}");
    }

    #[test]
    fn a_stranger_s_replica_sets_are_no_revisions() {
        let mut stranger = replica_set("1", "", "v1");
        stranger.metadata.owner_references.clear();
        let refused = judged(&deployment("web", "v2"), &[stranger], "good=v1", false);
        assert!(refused.contains("nothing to undo to"), "{refused}");
    }

    #[test]
    fn the_tag_of_an_image_is_its_version() {
        let cases = [
            ("web:v1", Some("v1")),
            ("registry:5000/shop/web:v42", Some("v42")),
            ("registry:5000/shop/web", None),
            ("web:v1@sha256:0123", Some("v1")),
            ("web@sha256:0123", None),
            ("", None),
        ];
        for (image, expected) in cases {
            assert_eq!(tag(image), expected, "{image}");
        }
    }
}
