//! What the dispatcher asks of PostgreSQL. Each is one statement and so happens as a whole or not at all, and whatever
//! of it was answered has reached the disk.

use std::time::Duration;

use serde::Serialize;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::database::{Error, Values, timely};
use super::event::Event;

/// The number of a delivery.
pub type Id = i64;

/// The longest reason that is kept, in characters.
const REASON: usize = 200;
/// Rows that one clean-up removes at most, so that it is done in time.
const BATCH: i64 = 1000;

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is new.
    New,
    /// It was there already.
    Known,
    /// Too many deliveries wait.
    Full,
}

/// Keeps an event, with one delivery for each handler, unless it is known or more than `queue` deliveries would wait.
pub async fn store(
    client: &Client,
    source: &str,
    event: &Event,
    body: &[u8],
    handlers: &[&str],
    queue: u32,
) -> Result<Stored, Error> {
    const STORE: &str = "
        with busy as (
          select count(*) as n from (
            select from webhook.delivery where state in ('waiting', 'running') and cardinality($5) > 0 limit $6
          ) as open
        ), new as (
          insert into webhook.event (source, delivery, type, body)
          select $1, $2, $3, case when cardinality($5) > 0 then $4 end
          where cardinality($5) = 0 or (select n from busy) + cardinality($5) <= $6
          on conflict (source, delivery) do nothing
          returning id
        ), told as (
          insert into webhook.delivery (event, handler) select new.id, name from new, unnest($5) as name
        )
        select exists (select from new),
               exists (select from webhook.event where source = $1 and delivery = $2)";
    let queue = i64::from(queue);
    let values: &Values<'_> = &[
        (&source, Type::TEXT),
        (&event.delivery, Type::TEXT),
        (&event.kind, Type::TEXT),
        (&body, Type::BYTEA),
        (&handlers, Type::TEXT_ARRAY),
        (&queue, Type::INT8),
    ];
    let row = timely(client.query_typed_one(STORE, values)).await?;
    Ok(match (row.try_get(0)?, row.try_get(1)?) {
        (true, _) => Stored::New,
        (false, true) => Stored::Known,
        (false, false) => Stored::Full,
    })
}

/// A delivery that a handler is to work on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// Its number.
    pub id: Id,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Who sent the event.
    pub source: String,
    /// What is known of it.
    pub event: Event,
    /// When it was accepted (RFC 3339).
    pub received: String,
    /// Its body.
    pub body: Vec<u8>,
}

/// Takes up to `room` deliveries of a handler that are due, those that have waited longest first. One whose time is
/// further away than any backoff is due, too: the clock has been set back.
pub async fn claim(client: &Client, handler: &str, room: usize, longest: Duration) -> Result<Vec<Claimed>, Error> {
    const CLAIM: &str = "
        update webhook.delivery as d set state = 'running', attempts = attempts + 1, changed = now()
        from webhook.event as e
        where e.id = d.event and d.id in (
          select id from webhook.delivery
          where handler = $1 and state = 'waiting' and (next <= now() or next > now() + $3 * interval '1 second')
          order by next, id limit $2 for update skip locked)
        returning d.id, d.attempts, e.source, e.delivery, e.type, coalesce(e.body, ''),
          to_char(e.received at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')";
    let (room, longest) = (i64::try_from(room).unwrap_or(i64::MAX), longest.as_secs_f64());
    let values: &Values<'_> = &[(&handler, Type::TEXT), (&room, Type::INT8), (&longest, Type::FLOAT8)];
    let rows = timely(client.query_typed(CLAIM, values)).await?;
    let read = |row: &tokio_postgres::Row| {
        let attempt: i32 = row.try_get(1)?;
        let event = Event { delivery: row.try_get(3)?, kind: row.try_get(4)? };
        let (source, body, received) = (row.try_get(2)?, row.try_get(5)?, row.try_get(6)?);
        let attempt = u32::try_from(attempt).unwrap_or(0);
        Ok(Claimed { id: row.try_get(0)?, attempt, source, event, received, body })
    };
    rows.iter().map(read).collect()
}

/// What becomes of a delivery after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The handler has done its work.
    Done,
    /// It is tried again after about that time: a random one between its half and all of it.
    Again(Duration, String),
    /// It is given up.
    Dead(String),
}

/// Notes what becomes of a delivery.
pub async fn settle(client: &Client, id: Id, outcome: &Outcome) -> Result<(), Error> {
    const SETTLE: &str = "
        update webhook.delivery set state = $2, error = $3, changed = now(),
          next = now() + $4 * (0.5 + random() / 2) * interval '1 second'
        where id = $1 and state = 'running'";
    let (state, error, wait) = match outcome {
        Outcome::Done => ("done", None, Duration::ZERO),
        Outcome::Again(wait, error) => ("waiting", Some(error), *wait),
        Outcome::Dead(error) => ("dead", Some(error), Duration::ZERO),
    };
    let error =
        error.map(|error| error.chars().take(REASON).map(|c| if c == '\0' { ' ' } else { c }).collect::<String>());
    let wait = wait.as_secs_f64();
    let values: &Values<'_> = &[(&id, Type::INT8), (&state, Type::TEXT), (&error, Type::TEXT), (&wait, Type::FLOAT8)];
    timely(client.execute_typed(SETTLE, values)).await.map(drop)
}

/// Lets deliveries wait again that nobody works on, though they are said to run; how many. Whoever has had all attempts
/// is given up: it may be what ended the dispatcher.
pub async fn recover(client: &Client, running: &[Id], attempts: u32) -> Result<u64, Error> {
    const RECOVER: &str = "
        update webhook.delivery set state = case when attempts >= $2 then 'dead' else 'waiting' end,
          error = 'interrupted', changed = now(), next = now()
        where state = 'running' and id <> all($1)";
    let attempts = i32::try_from(attempts).unwrap_or(i32::MAX);
    let values: &Values<'_> = &[(&running, Type::INT8_ARRAY), (&attempts, Type::INT4)];
    timely(client.execute_typed(RECOVER, values)).await
}

/// Gives up what waits for handlers that are not there any more; how many.
pub async fn bury_orphans(client: &Client, handlers: &[&str]) -> Result<u64, Error> {
    const BURY: &str = "
        update webhook.delivery set state = 'dead', error = 'there is no such handler', changed = now()
        where state = 'waiting' and handler <> all($1)";
    timely(client.execute_typed(BURY, &[(&handlers, Type::TEXT_ARRAY)])).await
}

/// Drops bodies of events that all handlers are done with, and events that are older than they are kept.
pub async fn clean(client: &Client, keep: Duration, keep_dead: Duration) -> Result<(), Error> {
    const STRIP: &str = "
        update webhook.event set body = null where id in (
          select id from webhook.event as e where body is not null
            and not exists (select from webhook.delivery where event = e.id and state <> 'done') limit $1)";
    const EXPIRE: &str = "
        delete from webhook.event where id in (
          select id from webhook.event as e where received < now() - $1 * interval '1 second'
            and not exists (
              select from webhook.delivery where event = e.id and (state in ('waiting', 'running')
                or state = 'dead' and changed > now() - $2 * interval '1 second'))
          order by received limit $3)";
    timely(client.execute_typed(STRIP, &[(&BATCH, Type::INT8)])).await?;
    let (keep, keep_dead) = (keep.as_secs_f64(), keep_dead.as_secs_f64());
    let values: &Values<'_> = &[(&keep, Type::FLOAT8), (&keep_dead, Type::FLOAT8), (&BATCH, Type::INT8)];
    timely(client.execute_typed(EXPIRE, values)).await.map(drop)
}

/// How many deliveries wait or run, and how many were given up.
pub async fn count(client: &Client) -> Result<(i64, i64), Error> {
    const COUNT: &str = "
        select count(*) filter (where state <> 'dead'), count(*) filter (where state = 'dead')
        from webhook.delivery where state <> 'done'";
    let row = timely(client.query_typed_one(COUNT, &[])).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// The time until the next delivery of one of these handlers is due; none if none waits.
pub async fn until_next(client: &Client, handlers: &[&str]) -> Result<Option<Duration>, Error> {
    const NEXT: &str = "
        select extract(epoch from min(next) - now())::float8 from webhook.delivery
        where state = 'waiting' and handler = any($1)";
    let row = timely(client.query_typed_one(NEXT, &[(&handlers, Type::TEXT_ARRAY)])).await?;
    let seconds: Option<f64> = row.try_get(0)?;
    Ok(seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()))
}

/// A delivery that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Letter {
    /// Its number.
    pub id: Id,
    /// Who sent the event.
    pub source: String,
    /// The sender's id of it.
    pub delivery: String,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: String,
    /// Who should have been told.
    pub handler: String,
    /// How often that was tried.
    pub attempts: i32,
    /// What became of the last attempt.
    pub error: String,
    /// When that was (RFC 3339).
    pub since: String,
}

/// The deliveries that were given up, the oldest first; at most a thousand.
pub async fn dead(client: &Client) -> Result<Vec<Letter>, Error> {
    const DEAD: &str = "
        select d.id, e.source, e.delivery, e.type, d.handler, d.attempts, coalesce(d.error, ''),
          to_char(d.changed at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')
        from webhook.delivery as d join webhook.event as e on e.id = d.event
        where d.state = 'dead' order by d.changed, d.id limit $1";
    let rows = timely(client.query_typed(DEAD, &[(&BATCH, Type::INT8)])).await?;
    let read = |row: &tokio_postgres::Row| {
        Ok(Letter {
            id: row.try_get(0)?,
            source: row.try_get(1)?,
            delivery: row.try_get(2)?,
            kind: row.try_get(3)?,
            handler: row.try_get(4)?,
            attempts: row.try_get(5)?,
            error: row.try_get(6)?,
            since: row.try_get(7)?,
        })
    };
    rows.iter().map(read).collect()
}

/// Lets dead letters wait again, with all their attempts, or forgets them; which were there. `None` stands for all.
pub async fn revive(client: &Client, ids: Option<&[Id]>, again: bool) -> Result<Vec<Id>, Error> {
    const REVIVE: &str = "
        update webhook.delivery set state = $2, attempts = 0, error = null, changed = now(), next = now()
        where state = 'dead' and ($1::int8[] is null or id = any($1)) returning id";
    let state = if again { "waiting" } else { "done" };
    let rows = timely(client.query_typed(REVIVE, &[(&ids, Type::INT8_ARRAY), (&state, Type::TEXT)])).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
