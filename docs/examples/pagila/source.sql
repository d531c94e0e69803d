-- What `crossfade check` asks of the source for this mapping.
-- A film has one category: then its film_id alone is the key of film_category.
create unique index film_category_film_id on public.film_category (film_id);
alter table public.film_category replica identity using index film_category_film_id;
-- A name is made of two columns: an update must bring both.
alter table public.customer replica identity full;
