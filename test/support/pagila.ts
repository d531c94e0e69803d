/**
 * Pagila as far as docs/examples/pagila moves it: its tables, written down here, with rows of our own making. Guarantee: columns, types and
 * keys are Pagila's, so that what runs here runs there too; the same size gives the same rows.
 */

export const PAGILA_SQL = `
  CREATE TYPE mpaa_rating AS ENUM ('G', 'PG', 'PG-13', 'R', 'NC-17');
  CREATE DOMAIN year AS integer CHECK (VALUE BETWEEN 1901 AND 2155);
  CREATE TABLE country (country_id serial PRIMARY KEY, country text NOT NULL, last_update timestamptz NOT NULL DEFAULT now());
  CREATE TABLE city (city_id serial PRIMARY KEY, city text NOT NULL, country_id int NOT NULL REFERENCES country, last_update timestamptz NOT NULL DEFAULT now());
  CREATE TABLE category (category_id serial PRIMARY KEY, name text NOT NULL, last_update timestamptz NOT NULL DEFAULT now());
  CREATE TABLE film (film_id serial PRIMARY KEY, title text NOT NULL, description text, release_year year, language_id int NOT NULL,
    original_language_id int, rental_duration smallint NOT NULL DEFAULT 3, rental_rate numeric(4,2) NOT NULL DEFAULT 4.99, length smallint,
    replacement_cost numeric(5,2) NOT NULL DEFAULT 19.99, rating mpaa_rating DEFAULT 'G', last_update timestamptz NOT NULL DEFAULT now(),
    special_features text[], fulltext tsvector NOT NULL);
  CREATE TRIGGER film_fulltext_trigger BEFORE INSERT OR UPDATE ON film FOR EACH ROW
    EXECUTE FUNCTION tsvector_update_trigger('fulltext', 'pg_catalog.english', 'title', 'description');
  CREATE TABLE film_category (film_id int NOT NULL REFERENCES film ON UPDATE CASCADE, category_id int NOT NULL REFERENCES category,
    last_update timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (film_id, category_id));
  CREATE TABLE inventory (inventory_id serial PRIMARY KEY, film_id int NOT NULL REFERENCES film ON UPDATE CASCADE, store_id int NOT NULL,
    last_update timestamptz NOT NULL DEFAULT now());
  CREATE TABLE customer (customer_id serial PRIMARY KEY, store_id int NOT NULL, first_name text NOT NULL, last_name text NOT NULL, email text,
    address_id int NOT NULL, activebool boolean NOT NULL DEFAULT true, create_date date NOT NULL DEFAULT CURRENT_DATE,
    last_update timestamptz DEFAULT now(), active int);
  CREATE TABLE rental (rental_id serial PRIMARY KEY, rental_date timestamptz NOT NULL, inventory_id int NOT NULL REFERENCES inventory,
    customer_id int NOT NULL REFERENCES customer, return_date timestamptz, staff_id int NOT NULL, last_update timestamptz NOT NULL DEFAULT now());
  CREATE TABLE payment (payment_id serial, customer_id int NOT NULL REFERENCES customer, staff_id int NOT NULL, rental_id int NOT NULL REFERENCES rental,
    amount numeric(5,2) NOT NULL, payment_date timestamptz NOT NULL, PRIMARY KEY (payment_date, payment_id)) PARTITION BY RANGE (payment_date);
  DO $$ BEGIN FOR month IN 1..7 LOOP EXECUTE format('CREATE TABLE payment_p2022_%s PARTITION OF payment FOR VALUES FROM (%L) TO (%L)',
    to_char(month, 'FM00'), make_date(2022, month, 1), make_date(2022, month + 1, 1)); END LOOP; END $$`;

/** So many films; the rest in Pagila's proportions. */
export function pagilaRowsSql(films: number): string {
  return `
    INSERT INTO country (country) SELECT 'Country ' || g FROM generate_series(1, 20) g;
    INSERT INTO city (city, country_id) SELECT 'City ' || g, 1 + g % 20 FROM generate_series(1, 100) g;
    INSERT INTO category (name) SELECT 'Category ' || g FROM generate_series(1, 16) g;
    INSERT INTO film (title, description, release_year, language_id, rental_duration, rental_rate, length, replacement_cost, rating, special_features)
      SELECT 'FILM ' || g, CASE WHEN g % 9 > 0 THEN 'A story of ' || md5(g::text) END, 1990 + g % 30, 1 + g % 6, 3 + g % 5, (g % 5) + 0.99, 60 + g % 90,
        10.99 + g % 20, (enum_range(NULL::mpaa_rating))[1 + g % 5], CASE WHEN g % 4 > 0 THEN array['Trailers', 'Deleted "Scenes"'] END
      FROM generate_series(1, ${films}) g;
    INSERT INTO film_category SELECT g, 1 + g % 16 FROM generate_series(1, ${films}) g WHERE g % 50 > 0;
    INSERT INTO inventory (film_id, store_id) SELECT 1 + g % ${films}, 1 + g % 2 FROM generate_series(1, ${films * 4}) g;
    INSERT INTO customer (store_id, first_name, last_name, email, address_id, activebool, active)
      SELECT 1 + g % 2, 'FIRST' || g, 'LAST' || g, 'FIRST' || g || '.LAST@example.org', g, g % 40 > 0, (g % 40 > 0)::int FROM generate_series(1, ${films}) g;
    INSERT INTO rental (rental_date, inventory_id, customer_id, return_date, staff_id)
      SELECT timestamptz '2022-05-24 21:54:33+00' + g * interval '7 minutes', 1 + (g * 7) % ${films * 4}, 1 + (g * 3) % ${films},
        CASE WHEN g % 8 > 0 THEN timestamptz '2022-06-01 00:00:00+00' + g * interval '9 minutes' END, 1 + (g / 3) % 2 FROM generate_series(1, ${films * 8}) g;
    INSERT INTO payment (customer_id, staff_id, rental_id, amount, payment_date)
      SELECT customer_id, staff_id, rental_id, (rental_id % 9) + 0.99, timestamptz '2022-01-05 00:00:00+00' + rental_id % 200 * interval '1 day 1 second'
      FROM rental`;
}

const any = (table: string, key: string): string => `(SELECT ${key} FROM ${table} ORDER BY random() LIMIT 1)`;
const anyDay = `timestamptz '2022-01-05 00:00:00+00' + random() * interval '200 days'`;

/** One transaction each. Some of them Pagila's own constraints may refuse; random() is the server's. */
export const PAGILA_WRITES: readonly string[] = [
  `INSERT INTO rental (rental_date, inventory_id, customer_id, staff_id) SELECT clock_timestamp(), ${any('inventory', 'inventory_id')}, ${any('customer', 'customer_id')}, 1 + (random() < 0.5)::int`,
  `UPDATE rental SET return_date = clock_timestamp() WHERE rental_id = ${any('rental', 'rental_id')}`,
  `UPDATE rental SET staff_id = 3 - staff_id WHERE rental_id = ${any('rental', 'rental_id')}`,
  `INSERT INTO payment (customer_id, staff_id, rental_id, amount, payment_date) SELECT customer_id, staff_id, rental_id, round((random() * 9)::numeric, 2), ${anyDay} FROM rental ORDER BY random() LIMIT 1`,
  `DELETE FROM payment WHERE payment_id = ${any('payment', 'payment_id')}`,
  `UPDATE payment SET payment_date = ${anyDay} WHERE payment_id = ${any('payment', 'payment_id')}`,
  `UPDATE payment SET staff_id = 3 - staff_id, amount = amount + 0.01 WHERE payment_id = ${any('payment', 'payment_id')}`,
  `UPDATE film SET description = left(md5(random()::text), 9), rating = 'NC-17', rental_rate = 2.50, special_features = array['Trailers', md5(random()::text)] WHERE film_id = ${any('film', 'film_id')}`,
  `UPDATE film SET film_id = film_id + 100000 WHERE film_id = ${any('film', 'film_id')} AND film_id < 100000`,
  `WITH f AS (INSERT INTO film (title, language_id, rating, special_features) VALUES ('NEW', 1, 'PG-13', '{Trailers}') RETURNING film_id)
     INSERT INTO film_category SELECT film_id, ${any('category', 'category_id')} FROM f`,
  `UPDATE film_category SET category_id = ${any('category', 'category_id')} WHERE film_id = ${any('film', 'film_id')}`,
  `DELETE FROM film_category WHERE film_id = ${any('film', 'film_id')}`,
  `INSERT INTO film_category SELECT film_id, ${any('category', 'category_id')} FROM film f WHERE NOT EXISTS (SELECT FROM film_category c WHERE c.film_id = f.film_id) LIMIT 1`,
  `DELETE FROM film WHERE title = 'NEW' AND NOT EXISTS (SELECT FROM film_category c WHERE c.film_id = film.film_id)`,
  `UPDATE inventory SET store_id = 3 - store_id WHERE inventory_id = ${any('inventory', 'inventory_id')}`,
  `INSERT INTO inventory (film_id, store_id) SELECT ${any('film', 'film_id')}, 1 FROM generate_series(1, 2)`,
  `DELETE FROM inventory WHERE inventory_id = (SELECT max(inventory_id) FROM inventory)`,
  `INSERT INTO customer (store_id, first_name, last_name, email, address_id, activebool) SELECT 1, 'NEW', 'Ørsted', 'New@Example.org', 5, true FROM generate_series(1, 2)`,
  `UPDATE customer SET last_name = upper(left(md5(random()::text), 8)), activebool = NOT activebool WHERE customer_id = ${any('customer', 'customer_id')}`,
  `DELETE FROM customer WHERE customer_id = (SELECT min(customer_id) FROM customer c WHERE first_name = 'NEW' AND NOT EXISTS (SELECT FROM rental r WHERE r.customer_id = c.customer_id))`,
  `UPDATE city SET city = initcap(left(md5(random()::text), 8)), country_id = ${any('country', 'country_id')} WHERE city_id = ${any('city', 'city_id')}`,
  `INSERT INTO city (city, country_id) SELECT 'New', ${any('country', 'country_id')}`,
  `DELETE FROM city WHERE city_id = (SELECT max(city_id) FROM city WHERE city = 'New')`,
  `UPDATE country SET country = country || '.' WHERE country_id = ${any('country', 'country_id')}`,
  `UPDATE category SET name = 'Genre ' || category_id WHERE category_id = ${any('category', 'category_id')}`,
];

/** What somebody would ask of Pagila and of the store's own schema alike: each pair gives the same. */
export const PAGILA_SAME: readonly (readonly [source: string, target: string])[] = [
  [
    `SELECT coalesce(f.film_id, c.film_id) AS id, title, description AS synopsis, release_year::text AS year, length::text AS minutes, nullif(special_features, '{}') AS extras,
       CASE rating WHEN 'G' THEN 0 WHEN 'PG' THEN 6 WHEN 'PG-13' THEN 13 WHEN 'R' THEN 17 WHEN 'NC-17' THEN 18 END AS age,
       (array['en', 'it', 'ja', 'zh', 'fr', 'de'])[language_id] AS language, category_id AS genre
       FROM film f FULL JOIN film_category c ON c.film_id = f.film_id ORDER BY 1`,
    `SELECT id, title, synopsis, year::text, minutes::text, (SELECT array_agg(name ORDER BY position) FROM store.extra WHERE film_id = film.id) AS extras, age_from AS age, language, genre_id AS genre FROM store.film ORDER BY 1`,
  ],
  [
    `SELECT g.name, count(*) AS films, sum(rental_rate)::text AS rates, sum(replacement_cost)::text AS costs, sum(rental_duration) AS days
       FROM film JOIN film_category USING (film_id) JOIN category g USING (category_id) GROUP BY g.category_id ORDER BY g.category_id`,
    `SELECT g.name, count(*) AS films, (sum(rate_cents) / 100.0)::numeric(12,2)::text AS rates, (sum(replacement_cents) / 100.0)::numeric(12,2)::text AS costs, sum(days) AS days
       FROM store.film f JOIN store.price p ON p.film_id = f.id JOIN store.genre g ON g.id = f.genre_id GROUP BY g.id ORDER BY g.id`,
  ],
  [
    `SELECT country_id AS id, country AS name, array_agg(city ORDER BY city_id) AS cities FROM country LEFT JOIN city USING (country_id) GROUP BY country_id ORDER BY 1`,
    `SELECT l.id, l.name, array_agg(c.name ORDER BY c.id) AS cities FROM store.place l LEFT JOIN store.place c ON c.kind = 'city' AND c.part_of = l.id
       WHERE l.kind = 'country' GROUP BY l.kind, l.id ORDER BY 1`,
  ],
  [
    `SELECT customer_id AS id, first_name || ' ' || last_name AS name, email, activebool AS active, address_id, create_date AS since FROM customer ORDER BY 1`,
    `SELECT legacy_id AS id, name, email, active, address_id, since FROM store.customer WHERE deleted_at IS NULL ORDER BY 1`,
  ],
  [
    `SELECT customer_id AS id, last_name, sum(amount)::text AS paid, count(*) AS payments, min(payment_date) AS first
       FROM payment JOIN customer USING (customer_id) WHERE staff_id = 1 GROUP BY customer_id, last_name ORDER BY 1`,
    `SELECT c.legacy_id AS id, split_part(name, ' ', 2) AS last_name, (sum(cents) / 100.0)::numeric(12,2)::text AS paid, count(*) AS payments, min(paid_at) AS first
       FROM store.receipt r JOIN store.customer c ON c.id = r.customer GROUP BY c.id ORDER BY 1`,
  ],
  [
    `SELECT customer_id AS id, title, count(*) AS loans, count(return_date) AS returned, max(rental_date) AS last
       FROM rental JOIN inventory USING (inventory_id) JOIN film USING (film_id) WHERE staff_id = 1 AND store_id = 1 GROUP BY customer_id, film.film_id ORDER BY customer_id, film.film_id`,
    `SELECT legacy_id AS id, title, count(*) AS loans, count(back_at) AS returned, max(lent_at) AS last
       FROM store.loan l JOIN store.customer c ON c.id = l.customer JOIN store.copy y ON y.id = l.copy_id AND y.state = 'here' JOIN store.film f ON f.id = y.film_id
       GROUP BY legacy_id, f.id ORDER BY legacy_id, f.id`,
  ],
  [
    `SELECT count(*) AS loans FROM rental WHERE staff_id = 1 UNION ALL SELECT count(*) FROM payment WHERE staff_id = 1 UNION ALL SELECT count(*) FROM inventory WHERE store_id = 1`,
    `SELECT count(*) AS loans FROM store.loan UNION ALL SELECT count(*) FROM store.receipt UNION ALL SELECT count(*) FROM store.copy WHERE state = 'here'`,
  ],
];
