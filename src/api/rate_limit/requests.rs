//! Which requests are counted, and as whose.

use std::net::IpAddr;

use depesche_rules::bounds::INVITES_PER_REQUEST;

use super::{Class, Who};
use crate::{App, caller::User, error::Error};

impl App {
    /// Counts a request of a class: as its user's where there is one, else as its address's.
    pub(crate) fn count(&self, class: Class, user: Option<&User>, address: Option<IpAddr>) -> Result<(), Error> {
        let now_ms = self.server.base.clock.now_ms();
        let Some(who) = self.counted(user, address) else { return Ok(()) };
        self.rate_limits.count(class, who, now_ms).map_err(Error::too_often)
    }

    /// Counts the invites of one request: the first few are in its own count.
    pub(crate) fn count_invites(&self, invites: usize, user: &User) -> Result<(), Error> {
        let requests = u64::try_from(invites / INVITES_PER_REQUEST).unwrap_or(u64::MAX);
        let now_ms = self.server.base.clock.now_ms();
        let Some(who) = self.counted(Some(user), None) else { return Ok(()) };
        self.rate_limits.count_more(Class::Joins, requests, who, now_ms).map_err(Error::too_often)
    }

    /// Who is counted, if anybody is.
    fn counted<'a>(&self, user: Option<&'a User>, address: Option<IpAddr>) -> Option<Who<'a>> {
        let is_exempt = user.is_some_and(|user| user.admin) && !self.rate_limits.counts_admins();
        who(user, address).filter(|_| !is_exempt)
    }

    /// Counts a request that was let through as so many more: it turned out to cost as much as they.
    pub(crate) fn charge(&self, class: Class, user: &User, more: usize) {
        if let Some(who) = self.counted(Some(user), None).filter(|_| more > 0) {
            self.rate_limits.charge(class, who, more, self.server.base.clock.now_ms());
        }
    }
}

/// Who is to be told from others: the user, or else where the request came from.
pub fn who(user: Option<&User>, address: Option<IpAddr>) -> Option<Who<'_>> {
    user.map(|user| Who::User(&user.user_id)).or(address.map(Who::Address))
}
