//! What a unit is, and what is to be done with it.

use std::collections::BTreeMap;

/// What somebody wants of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Restart,
    Start,
    Stop,
}

impl Wish {
    /// Returns the word that `systemctl` takes.
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Start => "start",
            Self::Stop => "stop",
        }
    }

    /// Returns the state in which the unit should be then.
    pub(super) fn wanted(self) -> &'static str {
        match self {
            Self::Restart | Self::Start => "active",
            Self::Stop => "inactive",
        }
    }
}

/// What `systemctl show` says of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Properties(BTreeMap<String, String>);

impl Properties {
    /// Reads lines such as `ActiveState=active`.
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Self(pairs.map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect())
    }

    fn get(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }

    /// Names the state: `active (running)`.
    pub(super) fn state(&self) -> String {
        format!("{} ({})", self.get("ActiveState"), self.get("SubState"))
    }

    /// Returns since when it is active, in microseconds of Unix time.
    pub(super) fn active_since_us(&self) -> Option<i64> {
        // `Sat 2026-11-21 12:00:00.123456 UTC`
        let mut words = self.get("ActiveEnterTimestamp").split_whitespace().skip(1);
        let (day, time) = (words.next()?, words.next()?);
        let at: jiff::Timestamp = format!("{day}T{time}Z").parse().ok()?;
        Some(at.as_microsecond())
    }

    fn is_active(&self) -> bool {
        matches!(self.get("ActiveState"), "active" | "reloading")
    }

    fn is_oneshot(&self) -> bool {
        self.get("Type") == "oneshot"
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    AlreadyThere,
    Do(String),
    Refused(String),
}

/// Decides what is to be done.
pub(super) fn judge(unit: &Properties, wish: Wish) -> Judgement {
    match unit.get("LoadState") {
        "loaded" => {}
        "not-found" => return Judgement::Refused("there is no such unit".to_owned()),
        "masked" => return Judgement::Refused("the unit is masked".to_owned()),
        other => return Judgement::Refused(format!("the unit is not loaded: {other}")),
    }
    let state = unit.state();
    let reload = match unit.get("NeedDaemonReload") {
        "yes" => "; its file has changed on disk, and `systemctl daemon-reload` has not been run",
        _ => "",
    };
    match wish {
        Wish::Start if unit.is_active() => Judgement::AlreadyThere,
        Wish::Stop if matches!(unit.get("ActiveState"), "inactive" | "failed") => Judgement::AlreadyThere,
        _ => Judgement::Do(format!("{} it; it is {state}{reload}", wish.verb())),
    }
}

/// What a reading shows after the change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    There(String),
    Moving(String),
    Wrong(String),
}

impl Seen {
    /// Calls `then` if it is there.
    pub(super) fn map_there(self, then: impl FnOnce()) -> Self {
        if matches!(self, Self::There(_)) {
            then();
        }
        self
    }
}

/// Judges a reading; `before` was read before the change, `first` is the first reading after it that was good.
///
/// A unit that dies and is restarted by systemd is active most of the time; its invocation and its count of restarts tell.
pub(super) fn seen(wish: Wish, before: &Properties, first: Option<&Properties>, now: &Properties) -> Seen {
    let state = now.state();
    let active = now.get("ActiveState");
    if wish == Wish::Stop {
        return match active {
            "inactive" | "failed" => Seen::There(format!("it is {state}")),
            _ => Seen::Moving(format!("it is {state}")),
        };
    }
    let is_new = now.get("InvocationID") != before.get("InvocationID");
    if now.is_oneshot() && active == "inactive" && is_new && now.get("Result") == "success" {
        return Seen::There("it ran to its end".to_owned());
    }
    if active == "failed" {
        return Seen::Wrong(format!("it is {state}: {}", now.get("Result")));
    }
    if !now.is_active() {
        return match first {
            Some(_) => Seen::Wrong(format!("it did not stay active: it is {state}")),
            None => Seen::Moving(format!("it is {state}")),
        };
    }
    if wish == Wish::Restart && !is_new {
        return Seen::Moving("it has not been restarted yet".to_owned());
    }
    let restarts = |unit: &Properties| unit.get("NRestarts").to_owned();
    let is_same = |first: &Properties| {
        first.get("InvocationID") == now.get("InvocationID") && restarts(first) == restarts(now)
    };
    if first.is_some_and(|first| !is_same(first)) {
        return Seen::Wrong(format!("it does not stay up: systemd restarted it; it is {state}"));
    }
    Seen::There(format!("it is {state}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(text: &str) -> Properties {
        let fields = text.split_whitespace().map(|word| format!("{word}\n")).collect::<String>();
        Properties::parse(&format!("LoadState=loaded\nSubState=x\nType=simple\nNRestarts=0\n{fields}"))
    }

    #[test]
    fn a_unit_is_told_only_what_it_is_not_already() {
        use Wish::*;
        let cases = [
            ("ActiveState=active", Restart, "do"),
            ("ActiveState=inactive", Restart, "do"),
            ("ActiveState=active", Start, "there"),
            ("ActiveState=failed", Start, "do"),
            ("ActiveState=activating", Start, "do"),
            ("ActiveState=active", Stop, "do"),
            ("ActiveState=failed", Stop, "there"),
            ("ActiveState=inactive LoadState=not-found", Start, "refused"),
            ("ActiveState=inactive LoadState=masked", Start, "refused"),
            ("LoadState=", Stop, "refused"),
        ];
        for (text, wish, expected) in cases {
            let found = match judge(&unit(text), wish) {
                Judgement::AlreadyThere => "there",
                Judgement::Do(_) => "do",
                Judgement::Refused(_) => "refused",
            };
            assert_eq!(found, expected, "{text} {wish:?}");
        }
    }

    #[test]
    fn a_unit_that_does_not_stay_active_is_not_restarted() {
        use Wish::*;
        let before = unit("ActiveState=active InvocationID=a");
        let first = unit("ActiveState=active InvocationID=b");
        let cases = [
            (Restart, None, "ActiveState=active InvocationID=a", "moving"),
            (Restart, None, "ActiveState=activating InvocationID=b", "moving"),
            (Restart, None, "ActiveState=active InvocationID=b", "there"),
            (Restart, Some(&first), "ActiveState=active InvocationID=b", "there"),
            (Restart, Some(&first), "ActiveState=active InvocationID=c", "wrong"),
            (Restart, Some(&first), "ActiveState=active InvocationID=b NRestarts=1", "wrong"),
            (Restart, Some(&first), "ActiveState=activating InvocationID=b", "wrong"),
            (Restart, None, "ActiveState=failed InvocationID=b Result=exit-code", "wrong"),
            (Start, None, "ActiveState=inactive InvocationID=b Type=oneshot Result=success", "there"),
            (Start, None, "ActiveState=inactive InvocationID=a Type=oneshot Result=success", "moving"),
            (Stop, None, "ActiveState=deactivating", "moving"),
            (Stop, None, "ActiveState=inactive", "there"),
        ];
        for (wish, first, text, expected) in cases {
            let found = match seen(wish, &before, first, &unit(text)) {
                Seen::There(_) => "there",
                Seen::Moving(_) => "moving",
                Seen::Wrong(_) => "wrong",
            };
            assert_eq!(found, expected, "{wish:?} {text}");
        }
    }

    #[test]
    fn the_time_of_activation_is_read() {
        let at = |text: &str| Properties::parse(&format!("ActiveEnterTimestamp={text}\n")).active_since_us();
        assert_eq!(at("Sat 2026-11-21 12:00:00.123456 UTC"), Some(1_795_262_400_123_456));
        assert_eq!(at("n/a"), None);
        assert_eq!(at(""), None);
    }
}
