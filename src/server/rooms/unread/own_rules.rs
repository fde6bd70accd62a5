//! Counting for members whose own push rules change the answer, or who ignore somebody of the room: event by event,
//! newest first, back to what is read.
//!
//! Most rules bear on one room, or on none: where they leave all as the default rules have it, or silence the room,
//! nothing is looked at. What was counted is kept by user and room, and goes on from there; so each event is looked at
//! once for each such member who asks. Only the redaction of an event that may have been counted begins it anew.
//!
//! Before the newest events that are looked at ([`MAX_COUNTED_BY_RULES`]) it is the tallies again, as far as the user's
//! rules leave what those say ([`Older`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use depesche_rules::{
    bounds::MAX_COUNTED_BY_RULES,
    push::{self, EventFields, RoomContext},
};
use depesche_store::Position;
use quick_cache::sync::Cache;
use ruma::{
    OwnedUserId, RoomId, UserId,
    events::room::member::MembershipState,
    push::{AnyPushRuleRef, PushCondition, Ruleset},
};

use super::{
    Count, Counter, Marks, Reader, Unread, marks_in,
    moved::{self, Seen},
    tallies::{Look, Tallied},
};
use crate::{
    account_data::{self, GLOBAL, IGNORED_USER_LIST, PUSH_RULES},
    keyspace::{ACCOUNT_DATA, EventNo, MEMBER, META, RoomNo},
    records::events::Status,
    rooms::{
        push::Context,
        receipts,
        view::{Event, RoomView},
    },
    tx::{Fault, View},
};

/// The most counts that are kept; beyond, those that are asked for least are forgotten.
const MAX_KEPT: usize = 20_000;
/// The most users whose rules are kept.
const MAX_RULES: usize = 5_000;
/// Events looked at in one step.
const STEP: usize = 100;
/// Events judged before others have a turn: rules may be many, and events long.
const AT_ONCE: usize = 8;
/// The marks of no more threads than this are all read.
const FEW_THREADS: usize = 8;
/// How many changes of a member's profile are followed back to their join: what comes before those is read.
const PROFILES: usize = 100;

/// The default rules by which mentions notify.
const MENTIONS: [&str; 2] = [".m.rule.is_user_mention", ".m.rule.is_room_mention"];

/// A user's push rules, beside the default ones, and of whom they notify of nothing.
pub struct Rules {
    /// Where they were last changed, and where the list of those who are ignored.
    changed: Changed,
    own: Ruleset,
    default: Ruleset,
    ignored: BTreeSet<OwnedUserId>,
}

type Changed = (Option<Position>, Option<Position>);

/// What is kept.
pub struct Kept {
    rules: Cache<OwnedUserId, Arc<Rules>>,
    /// With what was looked at when it was last asked for.
    counts: Cache<(OwnedUserId, RoomNo), (Seen, Arc<Counted>)>,
    /// Up to how many threads are all asked for their marks.
    few_threads: usize,
}

impl Default for Kept {
    fn default() -> Self {
        Self { rules: Cache::new(MAX_RULES), counts: Cache::new(MAX_KEPT), few_threads: FEW_THREADS }
    }
}

#[cfg(test)]
impl Kept {
    /// No threads are few.
    pub fn of_many() -> Self {
        Self { few_threads: 0, ..Self::default() }
    }
}

/// What was counted for a member by rules of their own.
struct Counted {
    rules: Changed,
    marks: Marks,
    /// By thread: how far it was read, and what came since.
    threads: BTreeMap<String, (EventNo, Count)>,
    /// The newest event that was looked at.
    newest: EventNo,
    came: Came,
}

/// Since when somebody is a member.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Came {
    /// Their membership event.
    membership: EventNo,
    /// The one by which they joined; those since then changed their profile.
    join: EventNo,
}

/// What the rules of a user do in a room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bearing {
    /// What the default rules do.
    Default,
    /// They let nothing through.
    Silence,
    /// Something else.
    Own,
}

/// What is counted of the events that are too many to be looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Older {
    /// What notifies by the default rules: the user's own only add to that.
    Notifying,
    /// What highlights by the default rules, and so the mentions: the user's own keep other things back.
    Highlighting,
    /// Nothing: the user wants no mentions.
    Nothing,
}

impl Counter {
    /// A user's rules; `None` if they have the default ones and ignore nobody.
    pub(super) async fn rules_of(&self, view: &View, user: &UserId) -> Result<Option<Arc<Rules>>, Fault> {
        let keys = [PUSH_RULES, IGNORED_USER_LIST].map(|kind| (user.to_owned(), GLOBAL, kind.to_owned()));
        let mut stored = view.get_many(&ACCOUNT_DATA, &keys).await?.into_iter();
        let (stored, list) = (stored.next().flatten(), stored.next().flatten());
        let changed = (stored.as_ref().map(|data| data.position), list.as_ref().map(|data| data.position));
        if changed == (None, None) {
            return Ok(None);
        }
        if let Some(rules) = self.kept.rules.get(user).filter(|rules| rules.changed == changed) {
            return Ok(Some(rules));
        }
        let own = push::effective(stored.as_ref().map(|data| data.content.as_str()), user);
        let (default, ignored) = (Ruleset::server_default(user), account_data::users_of(list, user));
        let rules = Arc::new(Rules { changed, own, default, ignored });
        self.kept.rules.insert(user.to_owned(), Arc::clone(&rules));
        Ok(Some(rules))
    }

    pub(super) async fn by_rules(
        &self,
        room: &RoomView,
        reader: &Reader,
        rules: &Arc<Rules>,
        marks: &Marks,
    ) -> Result<Unread, Fault> {
        match rules.bearing(room.room_id()) {
            Bearing::Silence => Ok(Unread::default()),
            Bearing::Default if !rules.ignores_somebody_of(room).await? => {
                self.by_default(room, &reader.user, marks).await
            }
            Bearing::Default | Bearing::Own => {
                let counted = self.counted(room, &reader.user, rules, marks).await?;
                Ok(Unread::of(counted.threads.iter().map(|(thread, (_, count))| (thread.as_str(), *count))))
            }
        }
    }

    async fn counted(
        &self,
        room: &RoomView,
        user: &UserId,
        rules: &Rules,
        marks: &Marks,
    ) -> Result<Arc<Counted>, Fault> {
        let (key, seen) = ((user.to_owned(), room.no), Seen::all(room));
        let newest = room.head.next_event.saturating_sub(1);
        let kept = self.kept.counts.get(&key);
        let came = Came::of(room, user, marks, kept.as_ref().map(|(_, kept)| kept.came)).await?;
        let few = self.kept.few_threads;
        let kept = match kept {
            Some((then, kept))
                if kept.came.join == came.join && kept.holds(room, user, rules, marks, (then, few)).await? =>
            {
                Some(kept)
            }
            _ => None,
        };
        if let Some(kept) = kept.as_ref().filter(|kept| kept.newest == newest) {
            self.kept.counts.insert(key, (seen, Arc::clone(kept)));
            return Ok(Arc::clone(kept));
        }
        let (threads, after) = kept.map_or_else(Default::default, |kept| (kept.threads.clone(), kept.newest));
        let mut counted = Counted { rules: rules.changed, marks: *marks, threads, newest, came };
        let mut end = counted.go_on(room, user, rules, after).await?;
        let begun_anew = after > 0 && end != End::Reached;
        if begun_anew {
            counted.threads.clear();
            end = counted.go_on(room, user, rules, 0).await?;
        }
        if let End::Before(oldest) = end {
            counted.add_older(room, user, rules, oldest).await?;
        }
        let counted = Arc::new(counted);
        self.kept.counts.insert(key, (seen, Arc::clone(&counted)));
        Ok(counted)
    }
}

/// How far the events were looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// To the end: the sum is right.
    Reached,
    /// There are more before this one.
    Before(EventNo),
    /// To the redaction of one that is in the sum already.
    Undone,
}

impl Came {
    /// Follows the member's events back to the join, or to where it is known from, or to what is read.
    async fn of(room: &RoomView, user: &UserId, marks: &Marks, known: Option<Self>) -> Result<Self, Fault> {
        let membership = room.membership(user).await?.map_or(0, |member| member.event);
        let mut join = membership;
        for _ in 0..PROFILES {
            if let Some(known) = known.filter(|known| known.membership == join) {
                join = known.join;
                break;
            }
            if join <= marks.all.event {
                break;
            }
            let before = room.state_event(room.root_before(join).await?, "m.room.member", user.as_str()).await?;
            match before.filter(|before| before.pdu.membership() == Some(MembershipState::Join)) {
                Some(before) => join = before.no,
                None => break,
            }
        }
        Ok(Self { membership, join })
    }
}

impl Counted {
    /// Whether nothing was read since, and no rule changed. `then` says what was looked at when this was so; of more
    /// than a `few` threads only those are looked at again where something moved since.
    async fn holds(
        &self,
        room: &RoomView,
        user: &UserId,
        rules: &Rules,
        marks: &Marks,
        (then, few): (Seen, usize),
    ) -> Result<bool, Fault> {
        let is_later = self.newest >= room.head.next_event;
        if self.rules != rules.changed || self.marks != *marks || is_later {
            return Ok(false);
        }
        let mut threads: Vec<String> = self.threads.keys().filter(|thread| !thread.is_empty()).cloned().collect();
        if threads.len() > few
            && then.at <= room.view.position()
            && let Some(moved) = moved::since(room, user, then).await?
        {
            threads.retain(|thread| moved.contains(thread));
        }
        if threads.is_empty() {
            return Ok(true);
        }
        let now = marks_in(room, user, &threads).await?;
        Ok(threads.iter().zip(now).all(|(thread, mark)| self.threads[thread].0 == mark.event.max(marks.all.event)))
    }

    /// Adds the events behind one, those that are read left out.
    async fn go_on(&mut self, room: &RoomView, user: &UserId, rules: &Rules, after: EventNo) -> Result<End, Fault> {
        let read = self.marks.all.event.max(self.came.join);
        let stop = after.max(read);
        let context = Context::of(room).await?.for_user(user, &rules.own).await?;
        let mut before = RoomView::place_after(room.view.position());
        let (mut looked_at, mut oldest) = (0, EventNo::MAX);
        while looked_at < MAX_COUNTED_BY_RULES {
            let rows = room.timeline_before(before, STEP).await?;
            let Some((place, _)) = rows.last() else { return Ok(End::Reached) };
            before = *place;
            looked_at += rows.len();
            let numbers: Vec<_> =
                rows.iter().filter(|(place, no)| place.back == 0 && *no > stop).map(|(_, no)| *no).collect();
            let done = numbers.len() < rows.len();
            oldest = numbers.iter().copied().min().unwrap_or(oldest);
            for (at, event) in (1..).zip(room.events(&numbers).await?) {
                if at % AT_ONCE == 0 {
                    tokio::task::yield_now().await;
                }
                let redacted = match event.pdu.redacts() {
                    Some(target) => room.event_no(target).await?,
                    None => None,
                };
                if redacted.is_some_and(|no| no > read && no <= after) {
                    return Ok(End::Undone);
                }
                self.add(room, user, rules, &context, event).await?;
            }
            if done {
                return Ok(End::Reached);
            }
        }
        Ok(End::Before(oldest))
    }

    /// Adds what the tallies say of the events before one, those that are read left out.
    async fn add_older(&mut self, room: &RoomView, user: &UserId, rules: &Rules, oldest: EventNo) -> Result<(), Fault> {
        let older = rules.older(room.room_id());
        let before = room.view.get(&META, &(room.no, oldest.saturating_sub(1))).await?;
        let Some(until) = before.map(|meta| meta.facts.ordinal).filter(|_| older != Older::Nothing) else {
            return Ok(());
        };
        let marks = self.marks;
        let found = Tallied::anew(Look { room, user, marks: &marks, until }).await?;
        for (thread, mut found) in found.counts() {
            if older == Older::Highlighting {
                found.notifications = found.highlights;
            }
            if found == Count::default() {
                continue;
            }
            let thread = thread.to_owned();
            let read = self.read_in(room, user, &thread).await?;
            let (_, count) = self.threads.entry(thread).or_insert((read, Count::default()));
            *count += found;
        }
        Ok(())
    }

    /// Up to which event the user has read a thread.
    async fn read_in(&self, room: &RoomView, user: &UserId, thread: &String) -> Result<EventNo, Fault> {
        match (self.threads.get(thread), thread.is_empty()) {
            (Some((read, _)), _) => Ok(*read),
            (None, true) => Ok(self.marks.main.event),
            (None, false) => {
                let marks = marks_in(room, user, std::slice::from_ref(thread)).await?;
                Ok(marks.first().map_or(0, |mark| mark.event).max(self.marks.all.event))
            }
        }
    }

    async fn add(
        &mut self,
        room: &RoomView,
        user: &UserId,
        rules: &Rules,
        context: &RoomContext,
        event: Event,
    ) -> Result<(), Fault> {
        let (facts, sender) = (&event.meta.facts, event.pdu.sender());
        let is_passed_over = sender == user || rules.ignored.contains(sender);
        if facts.status != Status::Accepted || facts.redacted_by.is_some() || is_passed_over {
            return Ok(());
        }
        let fields = EventFields::new(&event.pdu);
        let outcome = push::outcome(&rules.own, &fields, context);
        if !outcome.notify {
            return Ok(());
        }
        let highlights = outcome.highlight.into();
        let thread = thread_of(room, &event).await?;
        let read = self.read_in(room, user, &thread).await?;
        let (_, count) = self.threads.entry(thread).or_insert((read, Count::default()));
        if event.no > read {
            *count += Count { notifications: 1, highlights };
        }
        Ok(())
    }
}

/// The root of the thread that an event is in; empty for the main timeline.
async fn thread_of(room: &RoomView, event: &Event) -> Result<String, Fault> {
    Ok(receipts::thread_of(room, &event.pdu).await?.map(|root| root.to_string()).unwrap_or_default())
}

impl Rules {
    /// What these rules do in a room.
    pub fn bearing(&self, room: &RoomId) -> Bearing {
        let mut known = 0;
        for rule in &self.own {
            if rule.is_server_default() {
                known += 1;
                if self.is_default(rule) {
                    continue;
                }
                let silences = rule.rule_id() == ".m.rule.master" && rule.enabled() && !rule.triggers_notification();
                return if silences { Bearing::Silence } else { Bearing::Own };
            }
            match bears_on(rule, room) {
                None => {}
                Some(always) => {
                    let silences = always && !rule.triggers_notification();
                    return if silences { Bearing::Silence } else { Bearing::Own };
                }
            }
        }
        // A rule of today's that is not among them would have to be looked for: the count says so.
        if known == self.default.iter().count() { Bearing::Default } else { Bearing::Own }
    }

    /// What to count in a room of the events that are too many to be looked at.
    fn older(&self, room: &RoomId) -> Older {
        // Who ignores somebody is not to be told of what those say.
        let mut older = if self.ignored.is_empty() { Older::Notifying } else { Older::Highlighting };
        for rule in &self.own {
            if !rule.is_server_default() {
                if bears_on(rule, room).is_some() && !rule.triggers_notification() {
                    older = Older::Highlighting;
                }
            } else if !self.is_default(rule) {
                if MENTIONS.contains(&rule.rule_id()) {
                    return Older::Nothing;
                }
                older = Older::Highlighting;
            }
        }
        older
    }

    /// Whether the user ignores somebody who is or was a member of the room.
    async fn ignores_somebody_of(&self, room: &RoomView) -> Result<bool, Fault> {
        let keys: Vec<_> = self.ignored.iter().map(|user| (user.clone(), room.no)).collect();
        Ok(room.view.get_many(&MEMBER, &keys).await?.iter().any(Option::is_some))
    }

    /// Whether a predefined rule does what it does by default. Clients change what it does and whether it is enabled.
    fn is_default(&self, rule: AnyPushRuleRef<'_>) -> bool {
        let same = |other: AnyPushRuleRef<'_>| {
            other.rule_id() == rule.rule_id()
                && other.enabled() == rule.enabled()
                && other.triggers_notification() == rule.triggers_notification()
                && other.triggers_highlight() == rule.triggers_highlight()
        };
        self.default.iter().any(same)
    }
}

/// Whether a rule of the user's own may apply in a room; then, whether it applies to every event there, before all
/// others.
fn bears_on(rule: AnyPushRuleRef<'_>, room: &RoomId) -> Option<bool> {
    if !rule.enabled() {
        return None;
    }
    let here = |condition: &PushCondition| match condition {
        PushCondition::EventMatch(data) if data.key == "room_id" => {
            let literal = !data.pattern.contains(['*', '?']);
            literal.then(|| data.pattern.eq_ignore_ascii_case(room.as_str()))
        }
        _ => None,
    };
    match rule {
        AnyPushRuleRef::Override(rule) | AnyPushRuleRef::Underride(rule)
            if rule.conditions.iter().any(|condition| here(condition) == Some(false)) =>
        {
            None
        }
        AnyPushRuleRef::Override(rule) => Some(rule.conditions.iter().all(|condition| here(condition) == Some(true))),
        AnyPushRuleRef::Room(rule) if rule.rule_id != room => None,
        _ => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::user;

    #[test]
    fn one_count_too_many_takes_the_place_of_one() {
        let kept = Kept::default();
        let counted = Arc::new(Counted {
            rules: (None, None),
            marks: Marks::default(),
            threads: BTreeMap::new(),
            newest: 0,
            came: Came::default(),
        });
        let rooms = MAX_KEPT as u64 * 11 / 10;
        for room in 0..rooms {
            let seen = Seen { at: Position(1), next_event: 1 };
            kept.counts.insert((user("alice"), room), (seen, Arc::clone(&counted)));
        }
        let left = (0..rooms).filter(|room| kept.counts.get(&(user("alice"), *room)).is_some()).count();
        assert!(left > MAX_KEPT * 9 / 10 && left <= MAX_KEPT * 11 / 10, "{left}");
    }
}
