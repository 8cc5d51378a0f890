//! Which entries `cloison audit show`, `export` and `summary` look at.

use std::path::PathBuf;

use jiff::Timestamp;

use super::{each_entry, head, shards};
use crate::audit::search::{EntryFilter, LogNames, NameKind, NamedTime, UnknownName};
use crate::cli::inputs::read_register;
use crate::register::Register;
use crate::terminal::CommandError;
use crate::tlog::source::LogSource;

/// Which entries.
#[derive(clap::Args)]
pub struct FilterArgs {
    /// Not before this month (2026-11), day (2026-11-22) or instant (RFC 3339); days begin in UTC
    #[arg(long, visible_alias = "from", value_name = "TIME", value_parser = time)]
    since: Option<NamedTime>,
    /// Until the end of this month or day, or before this instant
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<NamedTime>,
    /// Of this client, operator, officer, approver, authority or organisation
    #[arg(long, value_name = "ID")]
    actor: Option<String>,
    /// In this sector
    #[arg(long)]
    sector: Option<String>,
    /// Under this order
    #[arg(long, value_name = "ID")]
    order: Option<String>,
    /// Of this kind, such as `release`
    #[arg(long)]
    event: Option<String>,
    /// In this shard, such as 2026 [default: all shards]
    #[arg(long)]
    shard: Option<String>,
    /// The register: a name that it has is known, also where the log has no entry of it
    #[arg(long, value_name = "FILE")]
    register: Option<PathBuf>,
}

/// Reads a time for clap.
pub(super) fn time(text: &str) -> Result<NamedTime, String> {
    NamedTime::parse(text).ok_or_else(|| {
        "write a month such as 2026-11, a day such as 2026-11-22, or an instant such as 2026-11-22T10:00:00Z".to_owned()
    })
}

/// Reads the beginning of a time for clap.
pub(super) fn beginning(text: &str) -> Result<Timestamp, String> {
    time(text).map(|time| time.begin)
}

/// An entry that matches a filter, and where it stands.
pub(super) struct MatchingEntry<'e> {
    /// The shard, as its source calls it.
    pub(super) shard: &'e str,
    pub(super) index: u64,
    pub(super) entry: &'e [u8],
}

impl FilterArgs {
    /// Goes through the entries that match; how many texts of the log are no entries. Nothing is
    /// verified: `audit verify` does that.
    ///
    /// # Errors
    /// When the log cannot be read, `each` fails, or a name is known neither to the log nor to the
    /// register.
    pub(super) fn each(
        &self,
        source: &dyn LogSource,
        mut each: impl FnMut(MatchingEntry<'_>) -> Result<(), CommandError>,
    ) -> Result<u64, CommandError> {
        let filter = EntryFilter {
            from: self.since.map(|time| time.begin),
            to: self.until.map(|time| time.end),
            actor: self.actor.clone(),
            sector: self.sector.clone(),
            order: self.order.clone(),
            event: self.event.clone(),
        };
        check_order(filter.from, filter.to)?;
        let register = self.register.as_deref().map(read_register).transpose()?;
        let mut names = LogNames::default();
        for shard in shards(source, self.shard.as_deref())? {
            let size = head(source, &shard)?.size;
            each_entry(source, &shard, size, |index, entry| {
                if filter.matches_noting(entry, &mut names) {
                    let shard = &shard;
                    each(MatchingEntry {
                        shard,
                        index,
                        entry,
                    })?;
                }
                Ok(())
            })?;
        }
        let has = |kind, name: &str| register.as_ref().is_some_and(|r| names_in(r, kind, name));
        match names.unknown(&filter, &has) {
            Some(unknown) => Err(refused(&unknown, register.is_some())),
            None => Ok(names.foreign),
        }
    }
}

fn check_order(since: Option<Timestamp>, until: Option<Timestamp>) -> Result<(), CommandError> {
    match since.zip(until) {
        Some((since, until)) if since >= until => Err(CommandError::usage(
            format_args!("no time is since {since} and until {until}"),
            "--since comes before --until",
        )),
        _ => Ok(()),
    }
}

fn names_in(register: &Register, kind: NameKind, name: &str) -> bool {
    match kind {
        NameKind::Actor => register.names(name),
        NameKind::Sector => register.sector(name).is_some(),
        NameKind::Event | NameKind::Order => false,
    }
}

/// Refuses a name, with those that are known.
fn refused(unknown: &UnknownName<'_>, with_register: bool) -> CommandError {
    const SHOWN: usize = 30;
    let what = match unknown.kind {
        NameKind::Actor => "no entry names an actor",
        NameKind::Sector => "no entry names a sector",
        NameKind::Event => "there is no event",
        NameKind::Order => "no entry names an order",
    };
    let also = match unknown.kind {
        NameKind::Actor | NameKind::Sector if with_register => ", and neither does the register",
        _ => "",
    };
    let shown = unknown.known.len().min(SHOWN);
    let mut known = unknown.known[..shown].join(", ");
    if unknown.known.len() > SHOWN {
        known += &format!(", and {} more", unknown.known.len() - SHOWN);
    }
    let hint = match (unknown.kind, known.as_str()) {
        (NameKind::Order, _) => "`cloison audit show --event release` shows the orders".to_owned(),
        (_, "") => "the log names none yet".to_owned(),
        (NameKind::Event, known) => format!("one of: {known}"),
        (_, known) if with_register => format!("one of: {known}"),
        (_, known) => {
            format!("one of: {known}; --register FILE knows also those without an entry")
        }
    };
    CommandError::usage(format_args!("{what} {:?}{also}", unknown.name), hint)
}
