-- The demo's rows, of services/demo/shop/load.ts; written anew by: npx vitest run test/scenario/kafka/compose.test.ts -u
set timezone = 'Europe/Berlin';
select setseed(0.000003999988000036);
insert into tbl_cat select 'cat-' || i, case when i > 8 then 'cat-' || (1 + i % 8) end, 'Category ' || i from generate_series(1, 240) i order by i;
insert into tbl_cust (email, full_name, born, created, last_seen, credit, prefs, tags, grid, picture, deleted, crm_blob)
    select 'Customer' || i || '@Example.com', left((array[E'plain', E'tab\there', E'two\nlines\r\nand more', E'back\\slash \\\\ and \\N', E'\\.', E'quote '' and "double"', E'😀 emoji 👩‍👩‍👧 and שלום', E'', E'  spaces  ', E'{"looks": "like json"}', E'{a,"b",\\N}'])[1 + (i) % 11] || ' no. ' || i, 80),
      case i % 997 when 0 then date '0044-03-15 BC' when 1 then date 'infinity' when 2 then date '-infinity' when 3 then null
        else date '1940-01-01' + (random() * 25000)::int end,
      -- Through both changes of the clocks, the doubled and the skipped hour included.
      timestamp '2024-03-31 00:30:00' + i * interval '17 minutes 3.000001 seconds',
      case when i % 5 > 0 then timestamp '2025-10-26 02:30:00' + (random() * 100000)::int * interval '1 second' end,
      case when i % 1499 = 7 then 'NaN'::numeric else round((random() * 20000 - 10000)::numeric, 4) end,
      case when i % 7 > 0 then ('{ "z": ' || i || ', "a": {"list": [1, 2.50, null]},  "note": "' || i || ' \u00e4" }')::json end,
      case i % 4 when 0 then '{}'::text[] when 1 then array['vip', null, 'a"b,c\d'] else array['t' || i % 10] end,
      case when i % 11 = 0 then array[[i, 2], [3, null]] end,
      case when i % 3 = 0 then decode(md5(i::text), 'hex') end,
      case when i % 50 = 0 then timestamp '2025-01-01' + i * interval '1 minute' end,
      'opaque ' || md5(i::text)
    from generate_series(1, 20000) i;
insert into tbl_giro select i, i, 1000 from generate_series(1, 20000) i;
    insert into tbl_savings select i, i, 5000 from generate_series(1, 20000) i;
insert into tbl_ord (cust_id, state, placed, total, remark)
    select 1 + floor(random() * 20000)::int, (array['new','paid','sent','cancelled']::order_state[])[1 + i % 4],
      -- There and back: nobody orders in an hour that the clocks leave out.
      (timestamp '2024-10-27 01:00:00' + i * interval '7 minutes') at time zone 'Europe/Berlin' at time zone 'Europe/Berlin', 0,
      case when i % 3 > 0 then (array[E'plain', E'tab\there', E'two\nlines\r\nand more', E'back\\slash \\\\ and \\N', E'\\.', E'quote '' and "double"', E'😀 emoji 👩‍👩‍👧 and שלום', E'', E'  spaces  ', E'{"looks": "like json"}', E'{a,"b",\\N}'])[1 + (i) % 11] end
    from generate_series(1, 36000) i;
    insert into tbl_ord_pos (ord_id, pos, cat_code, qty, price)
    select i, p, 'cat-' || (1 + (i * 7 + p) % 240), 1 + (i + p) % 9, round((random() * 500)::numeric, 4)
    from generate_series(1, 36000) i, generate_series(1, 1 + i % 3) p;
    update tbl_ord o set total = s.total from (select ord_id, round(sum(qty * price), 2) as total from tbl_ord_pos where ord_id % 2 = 0 group by ord_id) s where s.ord_id = o.ord_id;
insert into tbl_doc select i, 'Document ' || i, 0, (select string_agg(md5(i::text || g), ' ') from generate_series(1, 260 + i % 80) g),
      case when i % 2 = 0 then decode(repeat(md5(i::text), 10), 'hex') end
    from generate_series(1, 1500) i;
insert into tbl_event
    select case i % 499 when 0 then timestamptz 'infinity' when 1 then timestamptz '0001-01-01 00:00:00+00 BC'
        else timestamptz '2025-06-01 00:00:00+00' + i * interval '1 second' end,
      case when i % 3 > 0 then ('10.0.' || i % 250 || '.0/24')::inet end,
      case i % 4 when 0 then interval '1 year -3 days 04:05:06.789' when 1 then interval '-00:00:00.000001' else make_interval(secs => i % 100) end,
      case i % 7 when 0 then 'NaN'::float8 when 1 then '-Infinity'::float8 when 2 then 1e-300 when 3 then 0.1::float8 + 0.2 else i end,
      case i % 5 when 0 then 'Infinity'::real else 0.1::real end, (array[E'plain', E'tab\there', E'two\nlines\r\nand more', E'back\\slash \\\\ and \\N', E'\\.', E'quote '' and "double"', E'😀 emoji 👩‍👩‍👧 and שלום', E'', E'  spaces  ', E'{"looks": "like json"}', E'{a,"b",\\N}'])[1 + (i) % 11]
    from generate_series(1, 6000) i, generate_series(1, 2);
insert into tbl_payment select i, date '2024-01-01' + i % 1000, i, round((random() * 900)::numeric, 4) from generate_series(1, 18000) i;
insert into tbl_session select md5(i::text)::uuid, i, hstore(array['lang', 'k' || i], array['de', null]) from generate_series(1, 40) i;
    insert into tbl_rate select (array['EUR','USD','CHF'])[1 + i % 3], timestamptz '2024-01-01 00:00:00+00' + i * interval '1 day',
      daterange(date '2024-01-01' + i, case when i % 10 > 0 then date '2024-01-02' + i end), 1.0000000000000000000000001 * i, (i % 1024)::bit(10)::bit varying
    from generate_series(1, 600) i;
    insert into "Notes & ""Queries""" select i, (array[E'plain', E'tab\there', E'two\nlines\r\nand more', E'back\\slash \\\\ and \\N', E'\\.', E'quote '' and "double"', E'😀 emoji 👩‍👩‍👧 and שלום', E'', E'  spaces  ', E'{"looks": "like json"}', E'{a,"b",\\N}'])[1 + (i) % 11], i / 3.0 from generate_series(1, 100) i;
insert into tbl_bonus select i, i % 5000, date '2020-01-01' + i % 2000 from generate_series(1, 20000) i where i % 3 = 0;
vacuum analyze;
