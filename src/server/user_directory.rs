//! The user directory: finding users of this server by the words of their names.
//!
//! Found are accounts in use whose words begin with each word that is looked for, and whom the searcher may know of:
//! they share a room, or are in a room that everyone may join or read. The operator may let everyone find everyone.
//!
//! First come those whose user id or display name is what was typed, then those who share a room with the searcher, then
//! those with more of the words in full, then those who have set a name or a picture. One search looks at so many users
//! at most, so a single letter on a large server finds some of them.
//!
//! Spec: [user directory](https://spec.matrix.org/v1.19/client-server-api/#user-directory).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use depesche_rules::bounds::{MAX_SEARCH_TERM_BYTES, MAX_USERS_FOUND};
use depesche_store::MAX_SCAN;
use ruma::{
    OwnedUserId, ServerName, UserId, api::client::user_directory::search_users::v3::User,
    events::room::member::MembershipState,
};

use crate::{
    base::Base,
    keyspace::{ACCOUNT, MEMBER, OPEN_ROOM, RoomNo},
    profiles::{Profiles, terms},
    records::accounts::{Account, Standing},
    tx::{Fault, Pages, View},
};

/// Words of users that are looked at in one step.
const PAGE: usize = 500;
/// Steps of one search.
const PAGES: usize = 10;
/// Rooms that are looked at of each of them.
const ROOMS: usize = MAX_SCAN;
/// Who searches is in no more rooms than this: each user is asked for in these, however many rooms that one is in.
const FEW_ROOMS: usize = 50;
/// Rooms of a user that are looked at in one step for one that is open.
const STEP: usize = 100;

/// Finds users.
pub struct UserDirectory {
    base: Arc<Base>,
    profiles: Profiles,
}

/// Some users, and whether there are more.
#[derive(Debug)]
pub struct Found {
    /// The best first.
    pub users: Vec<User>,
    /// Whether the limit left others out.
    pub limited: bool,
}

/// The order of what is found: the smallest first.
type Rank = (Reverse<bool>, Reverse<bool>, Reverse<usize>, Reverse<bool>, OwnedUserId);

/// What is looked for.
struct Sought {
    /// As typed, in lower case, without what makes it a user id of this server.
    whole: String,
    words: BTreeSet<String>,
}

impl UserDirectory {
    /// Over this base.
    pub fn new(base: Arc<Base>) -> Self {
        Self { profiles: Profiles::new(Arc::clone(&base)), base }
    }

    /// The users whom a user may find under a term, the best `limit` of them.
    pub async fn search(&self, searcher: &UserId, term: &str, limit: usize) -> Result<Found, Fault> {
        let limit = limit.min(MAX_USERS_FOUND);
        let view = self.base.view();
        let Some(sought) = Sought::new(term, &self.base.name) else {
            return Ok(Found { users: vec![], limited: false });
        };
        let own: BTreeSet<RoomNo> = joined(&view, searcher).await?.into_iter().collect();
        // The longest word is nearly always that of the fewest users.
        let longest = sought.words.iter().max_by_key(|word| word.len());
        let mut range = longest.map(|longest| terms::beginning(longest));
        let (mut ranked, mut seen) = (BTreeMap::<Rank, User>::new(), HashSet::new());
        let mut sharing = 0;
        for _ in 0..PAGES {
            // Whoever comes behind so many who share a room will not be shown; that there is more is said.
            if sharing >= limit {
                break;
            }
            let Some(from) = range.take() else { break };
            let (users, behind) = terms::page(&view, from, PAGE).await?;
            range = behind;
            // Who has two words of this beginning comes twice.
            let users = users.into_iter().filter(|user| user != searcher && seen.insert(user.clone())).collect();
            // Each may be in thousands of rooms: others want a turn.
            tokio::task::yield_now().await;
            for (candidate, words) in candidates(&view, users, &sought).await? {
                let Some((rank, user)) = self.rank(&view, candidate, &words, &own, &sought).await? else { continue };
                sharing += usize::from(rank.1.0);
                ranked.insert(rank, user);
                // Those who are worse than so many others will not be shown.
                if ranked.len() > limit + 1 {
                    ranked.pop_last();
                }
            }
        }
        let limited = range.is_some() || ranked.len() > limit;
        Ok(Found { users: ranked.into_values().take(limit).collect(), limited })
    }

    /// A user as the searcher finds them, and before whom; `None` if they are not visible.
    async fn rank(
        &self,
        view: &View,
        candidate: OwnedUserId,
        words: &BTreeSet<String>,
        own: &BTreeSet<RoomNo>,
        sought: &Sought,
    ) -> Result<Option<(Rank, User)>, Fault> {
        let shares = shares(view, &candidate, own).await?;
        if !shares && !self.base.config.accounts.search_all_users && !is_public(view, &candidate).await? {
            return Ok(None);
        }
        let profile = self.profiles.find(view, &candidate).await?;
        let name = profile.displayname().map(str::to_owned);
        let is_it = candidate.localpart() == sought.whole
            || name.as_ref().is_some_and(|name| name.to_lowercase() == sought.whole);
        let mut user = User::new(candidate.clone());
        user.avatar_url = profile.avatar_url().map(ToOwned::to_owned);
        let has_profile = name.is_some() || user.avatar_url.is_some();
        user.display_name = name;
        let in_full = sought.words.intersection(words).count();
        let rank = (Reverse(is_it), Reverse(shares), Reverse(in_full), Reverse(has_profile), candidate);
        Ok(Some((rank, user)))
    }
}

/// Of these users those whose accounts are in use and who have all the words, with theirs.
async fn candidates(
    view: &View,
    users: Vec<OwnedUserId>,
    sought: &Sought,
) -> Result<Vec<(OwnedUserId, BTreeSet<String>)>, Fault> {
    let users: Vec<_> = users.into_iter().map(|user| (user,)).collect();
    let words = terms::of(view, &users).await?;
    let accounts = view.get_many(&ACCOUNT, &users).await?;
    let rows = users.into_iter().zip(words).zip(accounts);
    let fitting = rows.filter(|((_, words), account)| {
        let has = |sought: &String| words.iter().any(|word| word.starts_with(sought.as_str()));
        account.as_ref().is_some_and(is_in_use) && sought.words.iter().all(has)
    });
    Ok(fitting.map(|(((user,), words), _)| (user, words)).collect())
}

impl Sought {
    /// `None` if nobody can be meant.
    fn new(term: &str, server: &ServerName) -> Option<Self> {
        let term = term.trim();
        if term.len() > MAX_SEARCH_TERM_BYTES {
            return None;
        }
        let mut whole = term.to_lowercase();
        let is_id = whole.starts_with('@');
        let (localpart, of) = whole.split_once(':').unwrap_or((&whole, ""));
        if server.as_str().starts_with(of) {
            whole = localpart.trim_start_matches('@').to_owned();
        } else if is_id {
            return None;
        }
        let words = terms::words(&whole);
        Some(Self { whole, words })
    }
}

fn is_in_use(account: &Account) -> bool {
    account.standing == Standing::Active && !account.locked
}

/// The rooms that a user is joined to, as far as they are looked at.
async fn joined(view: &View, user: &UserId) -> Result<Vec<RoomNo>, Fault> {
    let rows = view.scan(&MEMBER, MEMBER.under(&(user.to_owned(),)), ROOMS).await?;
    let joined = rows.into_iter().filter(|(_, member)| member.state == MembershipState::Join);
    Ok(joined.map(|((_, room), _)| room).collect())
}

/// Whether a user is joined to one of these rooms.
async fn shares(view: &View, user: &UserId, rooms: &BTreeSet<RoomNo>) -> Result<bool, Fault> {
    if rooms.len() > FEW_ROOMS {
        return Ok(joined(view, user).await?.iter().any(|room| rooms.contains(room)));
    }
    let keys: Vec<_> = rooms.iter().map(|room| (user.to_owned(), *room)).collect();
    let members = view.get_many(&MEMBER, &keys).await?;
    Ok(members.into_iter().flatten().any(|member| member.state == MembershipState::Join))
}

/// Whether a user is in a room that everyone may join or read: up to the first one.
async fn is_public(view: &View, user: &UserId) -> Result<bool, Fault> {
    let (mut rooms, mut left) = (Pages::new(&MEMBER, MEMBER.under(&(user.to_owned(),)), STEP), ROOMS);
    while left > 0
        && let Some(rows) = rooms.next(view).await?
    {
        let joined = rows.iter().filter(|(_, member)| member.state == MembershipState::Join);
        let joined: Vec<_> = joined.map(|((_, room), _)| (*room,)).collect();
        if view.get_many(&OPEN_ROOM, &joined).await?.iter().any(Option::is_some) {
            return Ok(true);
        }
        left = left.saturating_sub(rows.len());
    }
    Ok(false)
}
