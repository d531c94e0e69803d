-- What store 1 wants its data to look like.
create schema store;

create table store.genre (
  id integer primary key,
  name text not null unique);

-- Fed by two tables: until the migration is over, a row may be there by half, so what either brings may be null.
create table store.film (
  id integer primary key,
  title text,
  synopsis text,
  year integer,
  minutes smallint,
  age_from smallint,
  language text,
  genre_id integer references store.genre);

create table store.price (
  film_id integer primary key references store.film,
  days smallint not null,
  rate_cents integer not null,
  replacement_cents integer not null);

create table store.extra (
  film_id integer references store.film,
  position integer,
  name text not null,
  primary key (film_id, position));

create table store.place (
  kind text not null check (kind in ('country', 'city')),
  id integer not null,
  name text not null,
  part_of integer,                                -- a city's country
  last_update timestamptz not null,
  primary key (kind, id));

create table store.customer (
  id uuid primary key,
  legacy_id integer not null unique,              -- the key at the chain; may go when the migration is over
  name text not null,
  email text,
  address_id integer not null,
  active boolean not null,
  since date not null,
  deleted_at timestamptz);

-- A copy that is gone stays known, its film may not: no foreign key.
create table store.copy (
  id integer primary key,
  film_id integer not null,
  state text not null default 'here' check (state in ('here', 'gone')));

-- The chain's stores lend each other's copies, and take each other's money: no foreign key to what may not be here.
create table store.loan (
  id integer primary key,
  customer uuid not null references store.customer,
  copy_id integer not null,
  lent_at timestamptz not null,
  back_at timestamptz);
create index on store.loan (customer);

create table store.receipt (
  paid_at timestamptz not null,
  id integer not null,
  customer uuid not null references store.customer,
  loan_id integer not null,
  cents integer not null,
  primary key (paid_at, id));
create index on store.receipt (customer);
