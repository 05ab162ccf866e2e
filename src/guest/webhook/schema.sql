-- Events that were accepted, and what each handler has to do with them.
create table webhook.event (
  id bigint generated always as identity primary key,
  source text not null,
  delivery text not null,
  type text not null,
  received timestamptz not null default now(),
  -- Goes when every handler is done; the rest stays to know the delivery when it is sent again.
  body bytea,
  unique (source, delivery)
);
create index event_received on webhook.event (received);
create index event_body on webhook.event (id) where body is not null;
create table webhook.delivery (
  id bigint generated always as identity primary key,
  event bigint not null references webhook.event on delete cascade,
  handler text not null,
  state text not null default 'waiting' check (state in ('waiting', 'running', 'done', 'dead')),
  attempts int not null default 0,
  next timestamptz not null default now(),
  changed timestamptz not null default now(),
  error text,
  unique (event, handler)
);
create index delivery_waiting on webhook.delivery (handler, next) where state = 'waiting';
create index delivery_open on webhook.delivery (state) where state <> 'done';
